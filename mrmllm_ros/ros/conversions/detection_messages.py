# SPDX-License-Identifier: Apache-2.0
"""Convert scenes to `DetectionArray` messages, and these to `Detections`."""

from __future__ import annotations

import array
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.detection.masks import Mask, check_run_lengths
from mrmllm_ros.detection.raw_objects import BAD_SCORE, INVERTED, NOT_FINITE
from mrmllm_ros.engine.scene import EnrichedScene, Frame, Scene
from mrmllm_ros.msg import Attribute as AttributeMessage
from mrmllm_ros.msg import BoundingBox2D, Detection, DetectionArray

_NS_PER_S = 1_000_000_000

_BAD_MASK = "mask does not fit its rectangle or the image"
_DUPLICATE_TRACK_ID = "track id is not unique"


def nanoseconds(stamp: Time) -> int:
    """Convert a stamp to nanoseconds."""
    return stamp.sec * _NS_PER_S + stamp.nanosec


def header_of(frame: Frame) -> Header:
    """Make the header of the image of a frame."""
    sec, nanosec = divmod(frame.stamp_ns, _NS_PER_S)
    return Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=frame.frame_id)


def detection_array_from_scene(scene: Scene, model: str) -> DetectionArray:
    """Convert the detections of the detector.

    Args:
        scene: Scene with the detections.
        model: Name of the detector.
    """
    detections = EnrichedDetections.unchanged(scene.perception)
    return _detection_array(scene.frame, detections, model, scene.latency_s)


def detection_array_from_enriched(enriched: EnrichedScene, model: str) -> DetectionArray:
    """Convert the detections after fusion.

    Args:
        enriched: Enriched scene.
        model: Names of the models.
    """
    detections = enriched.encoded.enriched
    return _detection_array(enriched.scene.frame, detections, model, enriched.latency_s)


def detection_messages(detections: EnrichedDetections, indices: Iterable[int]) -> list[Detection]:
    """Convert selected objects to messages.

    Args:
        detections: Objects.
        indices: Indices of the objects to convert.
    """
    fused, detector = detections.fused, detections.detector
    xywh = fused.xywh
    return [
        Detection(
            id=i + 1,
            track_id=fused.track_ids[i],
            kind=Detection.KIND_OBJECT,
            label=fused.labels[i],
            score=float(fused.scores[i]),
            detector_label=detector.labels[i],
            detector_score=float(detector.scores[i]),
            bbox=_bounding_box(xywh[i]),
            attributes=[
                AttributeMessage(name=a.name, value=a.value, score=a.score)
                for a in detections.attributes[i]
            ],
            novelty=float(detections.novelty[i]),
            **_mask_fields(fused, i),
        )
        for i in map(int, indices)
    ]


def detections_from_message(message: DetectionArray) -> Detections:
    """Convert a message to `Detections`.

    Raises:
        ValueError: If a box, score or mask is invalid, the size of the image is zero, or two
            objects have the same track id.
    """
    resolution_wh = (message.image_width, message.image_height)
    boxes = [d.bbox for d in message.detections]
    centers = np.array([(b.center_x, b.center_y) for b in boxes], np.float32).reshape(-1, 2)
    half_sizes = np.array([(b.size_x, b.size_y) for b in boxes], np.float32).reshape(-1, 2) / 2
    return Detections(
        xyxy=np.hstack([centers - half_sizes, centers + half_sizes]),
        scores=np.array([d.score for d in message.detections], np.float32),
        labels=tuple(d.label for d in message.detections),
        resolution_wh=resolution_wh,
        masks=_masks(message),
        track_ids=tuple(d.track_id for d in message.detections),
    )


def drop_invalid(message: DetectionArray) -> Counter[str]:
    """Remove detections that `detections_from_message` cannot read, which may come from others.

    Args:
        message: The message; its detections are replaced.

    Returns:
        Number of removed detections by reason.
    """
    resolution_wh = (message.image_width, message.image_height)
    dropped: Counter[str] = Counter()
    valid: list[Detection] = []
    track_ids: set[str] = set()
    for detection in message.detections:
        if fault := _fault(detection, resolution_wh):
            dropped[fault] += 1
        elif detection.track_id in track_ids:
            dropped[_DUPLICATE_TRACK_ID] += 1
        else:
            valid.append(detection)
            track_ids |= {detection.track_id} - {""}
    if dropped:
        message.detections = valid
    return dropped


def _fault(detection: Detection, resolution_wh: tuple[int, int]) -> str:
    """Reason why a detection cannot be used; empty if it can."""
    box = detection.bbox
    if not np.isfinite([box.center_x, box.center_y, box.size_x, box.size_y]).all():
        return NOT_FINITE
    if min(box.size_x, box.size_y) < 0:
        return INVERTED
    if not 0 <= detection.score <= 1:
        return BAD_SCORE
    try:
        check_run_lengths(*_encoded_mask(detection), resolution_wh)
    except ValueError:
        return _BAD_MASK
    return ""


def mask_from_message(detection: Detection, resolution_wh: tuple[int, int]) -> Mask:
    """Decode the mask of an object.

    Args:
        detection: Object.
        resolution_wh: Width and height of the image in pixels, from its `DetectionArray`.

    Returns:
        The mask, empty if the message has none; `Mask.whole` returns it in the size of the image.

    Raises:
        ValueError: If the rectangle of the mask exceeds the image, or its runs do not fill it.
    """
    return Mask.from_run_lengths(*_encoded_mask(detection), resolution_wh)


def _encoded_mask(
    detection: Detection,
) -> tuple[array.array[int], tuple[int, int], tuple[int, int]]:
    """Run lengths, left top and size of the mask of an object."""
    return (
        detection.mask,
        (detection.mask_x, detection.mask_y),
        (detection.mask_width, detection.mask_height),
    )


def _detection_array(
    frame: Frame, detections: EnrichedDetections, model: str, latency_s: float
) -> DetectionArray:
    width, height = detections.fused.resolution_wh
    return DetectionArray(
        header=header_of(frame),
        camera=frame.camera,
        image_width=width,
        image_height=height,
        model=model,
        latency=latency_s,
        detections=detection_messages(detections, detections.reported),
    )


def _bounding_box(xywh: np.ndarray) -> BoundingBox2D:
    center_x, center_y, size_x, size_y = map(float, xywh)
    return BoundingBox2D(center_x=center_x, center_y=center_y, size_x=size_x, size_y=size_y)


def _mask_fields(detections: Detections, index: int) -> dict[str, Any]:
    """Fields of `Detection` for the mask of an object; empty without mask."""
    if detections.masks is None or detections.masks[index].is_empty:
        return {}
    mask = detections.masks[index]
    height, width = mask.inside.shape
    return {
        "mask_x": mask.left,
        "mask_y": mask.top,
        "mask_width": width,
        "mask_height": height,
        # rclpy checks every value of other sequences.
        "mask": array.array("I", mask.run_lengths.tobytes()),
    }


def _masks(message: DetectionArray) -> tuple[Mask, ...] | None:
    resolution_wh = (message.image_width, message.image_height)
    masks = tuple(mask_from_message(d, resolution_wh) for d in message.detections)
    return None if all(mask.is_empty for mask in masks) else masks
