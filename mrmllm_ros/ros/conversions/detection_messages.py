# SPDX-License-Identifier: Apache-2.0
"""Scenes to `DetectionArray` messages, and back to `Detections`."""

from __future__ import annotations

import array
from collections.abc import Iterable

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.detection.masks import Mask
from mrmllm_ros.engine.scene import EnrichedScene, Frame, Scene
from mrmllm_ros.msg import Attribute as AttributeMessage
from mrmllm_ros.msg import BoundingBox2D, Detection, DetectionArray
from mrmllm_ros.ros.conversions.headers import header_of


def detection_array_from_scene(scene: Scene, model: str) -> DetectionArray:
    """Make the message for what the detector reports.

    Args:
        scene: The scene.
        model: Name of the detector.
    """
    detections = EnrichedDetections.unchanged(scene.perception)
    return _detection_array(scene.frame, detections, model, scene.latency_s)


def detection_array_from_enriched(enriched: EnrichedScene, model: str) -> DetectionArray:
    """Make the message for what is reported after fusion.

    Args:
        enriched: The enriched scene.
        model: Name of the models that took part.
    """
    detections = enriched.reading.enriched
    return _detection_array(enriched.scene.frame, detections, model, enriched.latency_s)


def detection_messages(
    detections: EnrichedDetections, indices: Iterable[int], header: Header
) -> list[Detection]:
    """Make messages of the objects at these positions.

    Args:
        detections: The objects.
        indices: Positions of those that are wanted.
        header: The image's, for the masks.
    """
    fused, detector = detections.fused, detections.detector
    xywh = fused.xywh
    return [
        Detection(
            id=i + 1,
            track_id=fused.track_ids[i],
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
            mask=_mask_image(fused, i, header),
        )
        for i in map(int, indices)
    ]


def detections_from_message(message: DetectionArray) -> Detections:
    """Read a message.

    Raises:
        ValueError: If a box, score or mask is not valid, the image's size is zero, or two objects
            have the same track id.
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
        masks=_masks([d.mask for d in message.detections], resolution_wh),
        track_ids=tuple(d.track_id for d in message.detections),
    )


def _detection_array(
    frame: Frame, detections: EnrichedDetections, model: str, latency_s: float
) -> DetectionArray:
    width, height = detections.fused.resolution_wh
    header = header_of(frame)
    return DetectionArray(
        header=header,
        camera=frame.camera,
        image_width=width,
        image_height=height,
        model=model,
        latency=latency_s,
        detections=detection_messages(detections, detections.reported, header),
    )


def _bounding_box(xywh: np.ndarray) -> BoundingBox2D:
    center_x, center_y, size_x, size_y = map(float, xywh)
    return BoundingBox2D(center_x=center_x, center_y=center_y, size_x=size_x, size_y=size_y)


def _mask_image(detections: Detections, index: int, header: Header) -> Image:
    """The silhouette of an object in the size of the image; an empty image where it has none."""
    if detections.masks is None or detections.masks[index].is_empty:
        return Image()
    whole = detections.masks[index].whole(detections.resolution_wh)
    height, width = whole.shape
    image = Image(header=header, height=height, width=width, encoding="mono8", step=width)
    # An array is taken over as it is; bytes would be checked one by one.
    image.data = array.array("B", (whole * np.uint8(255)).tobytes())
    return image


def _masks(images: list[Image], resolution_wh: tuple[int, int]) -> tuple[Mask, ...] | None:
    if not any(image.width for image in images):
        return None
    return tuple(_mask(image, resolution_wh) for image in images)


def _mask(image: Image, resolution_wh: tuple[int, int]) -> Mask:
    if image.width == 0:
        return Mask.empty()
    fits = (image.width, image.height, image.encoding) == (*resolution_wh, "mono8")
    if not fits or image.step < image.width or len(image.data) != image.height * image.step:
        raise ValueError(
            f"a mask of {image.width} x {image.height} pixels of {image.encoding!r} in "
            f"{len(image.data)} bytes; it must be mono8 in the size of the image, "
            f"{resolution_wh[0]} x {resolution_wh[1]}"
        )
    rows = np.frombuffer(image.data, np.uint8).reshape(image.height, image.step)
    return Mask.cut(rows[:, : image.width] > 0)
