# SPDX-License-Identifier: Apache-2.0
"""Contact sheet of a folder of scenes: images with their boxes and labels."""

from __future__ import annotations

import numpy as np

from mrmllm_ros.datasets.coco import CocoDataset, CocoImage
from mrmllm_ros.detection.annotation import draw_caption, draw_detections
from mrmllm_ros.detection.images import read_image

_GAP = 6  # pixels between the images


def draw_sheet(dataset: CocoDataset, columns: int, rows: int) -> np.ndarray:
    """Draw the first images of a folder of scenes with their annotations.

    Args:
        dataset: Annotations of the folder.
        columns: Maximum number of images in a row.
        rows: Maximum number of rows.

    Returns:
        (H, W, 3) uint8 in BGR order.

    Raises:
        ImageError: If an image cannot be read.
    """
    images = [_drawn(each) for each in dataset.images[: columns * rows]]
    columns = min(columns, len(images))
    height = max(each.shape[0] for each in images)
    width = max(each.shape[1] for each in images)
    count = -(-len(images) // columns)
    sheet = np.full(
        (count * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), 255, np.uint8
    )
    for index, image in enumerate(images):
        top = _GAP + index // columns * (height + _GAP)
        left = _GAP + index % columns * (width + _GAP)
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet


def _drawn(item: CocoImage) -> np.ndarray:
    kept = [
        index
        for index, annotation in enumerate(item.annotations)
        if not annotation.get("ignore") and not annotation.get("iscrowd")
    ]
    objects = item.objects.take(np.array(kept, int))
    drawn = draw_detections(read_image(item.path), objects, objects.labels)
    return draw_caption(drawn, _lines(item))


def _lines(item: CocoImage) -> list[str]:
    context = item.entry.get("context")
    return [str(item.entry.get("place", item.name)) + (f': "{context}"' if context else "")]
