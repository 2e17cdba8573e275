# SPDX-License-Identifier: Apache-2.0
"""Draw detections and answers into images."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import cv2
import numpy as np

from mrmllm_ros.detection.boxes import box_intersections
from mrmllm_ros.detection.captions import dashes, label_color
from mrmllm_ros.detection.detections import Detections

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DARK, _LIGHT = (24, 24, 24), (240, 240, 240)
_MASK_OPACITY = 0.35
_PADDING = 3  # pixels around the text of a label


def draw_detections(
    image: np.ndarray,
    detections: Detections,
    captions: Sequence[str],
    novel: Sequence[bool] | None = None,
) -> np.ndarray:
    """Draw mask, box and caption of each object in the color of its label.

    A caption without free space is shortened to its first word.

    Args:
        image: (H, W, 3) uint8 in BGR order; not changed.
        detections: N objects in the image.
        captions: N texts; the first ones are placed first.
        novel: N flags; novel objects get a dashed outline.

    Returns:
        (H, W, 3) uint8 in BGR order.

    Raises:
        ValueError: If the numbers of captions, flags and objects differ.
    """
    novel = [False] * len(detections) if novel is None else novel
    if not len(detections) == len(captions) == len(novel):
        raise ValueError(
            f"{len(captions)} captions and {len(novel)} novelty flags, but {len(detections)} "
            "objects"
        )
    drawn = image.copy()
    colors = [_bgr(label) for label in detections.labels]
    # Large objects first, so that they do not hide small ones.
    for i in np.argsort(-detections.areas, kind="stable"):
        if detections.masks is not None:
            region = drawn[detections.masks[i].region]
            _tint(region, detections.masks[i].inside, colors[i])
        _outline(drawn, detections.xyxy[i], colors[i], novel[i])
    _draw_captions(drawn, detections.xyxy, captions, colors)
    return drawn


def draw_caption(image: np.ndarray, lines: list[str]) -> np.ndarray:
    """Write lines of text into a dark bar below an image.

    Args:
        image: (H, W, 3) uint8 in BGR order; not changed.
        lines: Text; long lines are wrapped, characters missing in the font become `?`.

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


def _bgr(label: str) -> tuple[int, int, int]:
    red, green, blue = (round(255 * channel) for channel in label_color(label))
    return blue, green, red


def _tint(region: np.ndarray, inside: np.ndarray, color: tuple[int, int, int]) -> None:
    if inside.size:
        solid = np.full_like(region, color)
        mixed = cv2.addWeighted(region, 1 - _MASK_OPACITY, solid, _MASK_OPACITY, 0)
        cv2.copyTo(mixed, inside.astype(np.uint8), region)


def _outline(
    drawn: np.ndarray, xyxy: np.ndarray, color: tuple[int, int, int], dashed: bool
) -> None:
    left, top, right, bottom = xyxy
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    edges = np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)  # (4, 2, 2)
    thickness = max(1, round(min(drawn.shape[:2]) / 300))
    _draw_lines(drawn, edges, _DARK, thickness + 2)
    _draw_lines(drawn, dashes(edges) if dashed else edges, color, thickness)


def _draw_lines(
    drawn: np.ndarray, lines: np.ndarray, color: tuple[int, int, int], thickness: int
) -> None:
    """Draw (L, 2, 2) lines, given by start and end points."""
    cv2.polylines(drawn, list(lines.round().astype(np.int32)), False, color, thickness)


def _draw_captions(
    drawn: np.ndarray,
    xyxy: np.ndarray,
    captions: Sequence[str],
    colors: Sequence[tuple[int, int, int]],
) -> None:
    """Draw each caption at its box, where it covers the least of the captions before it."""
    scale = max(0.4, min(drawn.shape[:2]) / 1500)
    occupied = np.zeros((0, 4), int)
    for box, caption, color in zip(xyxy, captions, colors, strict=True):
        texts = (caption, caption.split(" ", 1)[0])
        places = np.vstack([_text_boxes(box, text, scale, drawn.shape[:2]) for text in texts])
        best = int(box_intersections(places, occupied).sum(axis=1).argmin())
        occupied = np.vstack([occupied, places[best]])
        text = texts[best // (len(places) // 2)]
        _draw_text(drawn, places[best], text, scale, color)


def _text_boxes(
    xyxy: np.ndarray, text: str, scale: float, shape_hw: tuple[int, int]
) -> np.ndarray:
    """(8, 4) possible boxes of a text at the corners of an object's box, the preferred one first.

    All are inside the image unless the text is larger than the image.
    """
    (width, height), baseline = cv2.getTextSize(text, _FONT, scale, 1)
    size = np.array([width + 2 * _PADDING, height + baseline + _PADDING])
    left, top, right, bottom = xyxy.round().astype(int)
    rows = (top - size[1], top, bottom - size[1], bottom)
    corners = np.array([(x, y) for y in rows for x in (left, right - size[0])])
    corners = np.maximum(0, np.minimum(corners, shape_hw[::-1] - size))
    return np.hstack([corners, corners + size])


def _draw_text(
    drawn: np.ndarray, xyxy: np.ndarray, text: str, scale: float, color: tuple[int, int, int]
) -> None:
    left, top, right, bottom = xyxy.tolist()
    cv2.rectangle(drawn, (left, top), (right - 1, bottom - 1), color, cv2.FILLED)
    blue, green, red = color
    # The luminance of ITU-R BT.601.
    text_color = _DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else _LIGHT
    _, baseline = cv2.getTextSize(text, _FONT, scale, 1)
    origin = (left + _PADDING, bottom - baseline)
    cv2.putText(drawn, text, origin, _FONT, scale, text_color, 1, cv2.LINE_AA)
