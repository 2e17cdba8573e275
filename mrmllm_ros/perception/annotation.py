# SPDX-License-Identifier: Apache-2.0
"""Detections and answers drawn into images."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import cv2
import numpy as np
import supervision

from mrmllm_ros.perception.detections import Detections

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_detections(image: np.ndarray, detections: Detections, ids: Sequence[int]) -> np.ndarray:
    """Draw each box with its id, label and score, one colour for each label.

    Args:
        image: (H, W, 3) uint8 in BGR order; it is left as it is.
        detections: N objects in that image.
        ids: N numbers, as answers cite them.

    Returns:
        (H, W, 3) uint8 in BGR order.
    """
    boxes = supervision.Detections(
        xyxy=detections.xyxy,
        confidence=detections.scores,
        # A label has the same colour in every image.
        class_id=np.array([sum(label.encode()) for label in detections.labels], int),
    )
    captions = [
        f"[{i}] {label} {score:.2f}"
        for i, label, score in zip(ids, detections.labels, detections.scores, strict=True)
    ]
    thickness = supervision.calculate_optimal_line_thickness(detections.resolution_wh)
    scale = supervision.calculate_optimal_text_scale(detections.resolution_wh)
    boxed = supervision.BoxAnnotator(thickness=thickness).annotate(image.copy(), boxes)
    labels = supervision.LabelAnnotator(text_scale=scale, text_padding=4, smart_position=True)
    return labels.annotate(boxed, boxes, captions)


def draw_caption(image: np.ndarray, lines: list[str]) -> np.ndarray:
    """Write lines of text into a dark bar below an image.

    Args:
        image: (H, W, 3) uint8 in BGR order; it is left as it is.
        lines: The text; long lines are wrapped, and what the font lacks becomes a question mark.

    Returns:
        (H + bar, W, 3) uint8 in BGR order.
    """
    width = image.shape[1]
    scale = max(0.4, width / 1600)
    line_height = round(34 * scale)
    columns = max(20, int(width / (19 * scale)))
    wrapped = [part for line in lines for part in textwrap.wrap(line, columns)]
    bar = np.full((line_height * len(wrapped) + line_height // 2, width, 3), 32, np.uint8)
    for row, text in enumerate(wrapped, start=1):
        origin = (line_height // 3, row * line_height)
        cv2.putText(bar, text, origin, _FONT, scale, (240, 240, 240), 1, cv2.LINE_AA)
    return np.vstack([image, bar])
