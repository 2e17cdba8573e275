# SPDX-License-Identifier: Apache-2.0
"""Scenes to `DetectionArray` messages, and back to `Detections`."""

from __future__ import annotations

import numpy as np

from mrmllm_ros.conversions.headers import header_of
from mrmllm_ros.engine.scene import Scene
from mrmllm_ros.msg import BoundingBox2D, Detection, DetectionArray
from mrmllm_ros.perception.detections import Detections


def detection_array_from_scene(scene: Scene, model: str) -> DetectionArray:
    """Make the message for a scene.

    Args:
        scene: The scene.
        model: Name of the model that made the detections.
    """
    detections = scene.perception.detections
    width, height = detections.resolution_wh
    return DetectionArray(
        header=header_of(scene.frame),
        camera=scene.frame.camera,
        image_width=width,
        image_height=height,
        model=model,
        latency=scene.latency_s,
        detections=detection_messages(detections, range(len(detections))),
    )


def detection_messages(detections: Detections, indices: range | list[int]) -> list[Detection]:
    """Make messages of the objects at these positions."""
    xywh = detections.xywh
    return [
        Detection(
            id=i + 1,
            label=detections.labels[i],
            score=float(detections.scores[i]),
            detector_label=detections.labels[i],
            detector_score=float(detections.scores[i]),
            bbox=_bounding_box(xywh[i]),
        )
        for i in indices
    ]


def detections_from_message(message: DetectionArray) -> Detections:
    """Read a message.

    Raises:
        ValueError: If a box or score is not valid, or the image's size is zero.
    """
    boxes = [d.bbox for d in message.detections]
    centers = np.array([(b.center_x, b.center_y) for b in boxes], np.float32).reshape(-1, 2)
    half_sizes = np.array([(b.size_x, b.size_y) for b in boxes], np.float32).reshape(-1, 2) / 2
    return Detections(
        xyxy=np.hstack([centers - half_sizes, centers + half_sizes]),
        scores=np.array([d.score for d in message.detections], np.float32),
        labels=tuple(d.label for d in message.detections),
        resolution_wh=(message.image_width, message.image_height),
    )


def _bounding_box(xywh: np.ndarray) -> BoundingBox2D:
    center_x, center_y, size_x, size_y = map(float, xywh)
    return BoundingBox2D(center_x=center_x, center_y=center_y, size_x=size_x, size_y=size_y)
