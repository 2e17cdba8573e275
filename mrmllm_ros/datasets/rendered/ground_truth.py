# SPDX-License-Identifier: Apache-2.0
"""Annotations of rendered objects: box, mask, occlusion, distance and color."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrmllm_ros.detection.colors import dominant_color
from mrmllm_ros.detection.masks import Mask

# Objects with fewer visible pixels, or with more hidden, have `ignore`: detectors may miss them.
MIN_VISIBLE_PIXELS = 40
MAX_OCCLUSION = 0.9


@dataclass(frozen=True, eq=False, kw_only=True)
class VisibleObject:
    """An object in an image with its truth.

    Attributes:
        instance: Number of the object in its scene.
        noun: Label.
        family: Family of its model.
        model: Key of its model.
        visible: (H, W) bool, its visible pixels.
        own_pixels: Number of its pixels inside the image without other objects.
        all_pixels: The same, pixels outside the image included.
    """

    instance: int
    noun: str
    family: str
    model: str
    visible: np.ndarray
    own_pixels: int
    all_pixels: int


def annotate(
    found: VisibleObject,
    image_bgr: np.ndarray,
    points: np.ndarray | None = None,
) -> dict[str, Any]:
    """Describe an object as an entry of COCO's annotations, without ids.

    Args:
        found: The object.
        image_bgr: (H, W, 3) uint8.
        points: (N, 3) visible points in the optical frame in meters, or None if unknown.
    """
    mask = found.visible
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    width, height = int(columns[-1]) - left + 1, int(rows[-1]) - top + 1
    pixels = int(mask.sum())
    occlusion = max(1 - pixels / max(found.own_pixels, pixels), 0.0)
    truncation = max(1 - found.own_pixels / max(found.all_pixels, 1), 0.0)
    entry: dict[str, Any] = {
        "bbox": [left, top, width, height],
        "area": pixels,
        "segmentation": {"size": list(mask.shape), "counts": column_runs(mask)},
        "iscrowd": 0,
        "occlusion": round(occlusion, 3),
        "truncation": round(truncation, 3),
        "color": dominant_color(image_bgr[mask]) or None,
        "family": found.family,
        "model": found.model,
        "instance": found.instance,
    }
    if pixels < MIN_VISIBLE_PIXELS or occlusion > MAX_OCCLUSION:
        entry["ignore"] = 1
    if points is not None and len(points):
        entry |= _position(points)
    return entry


def column_runs(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed run lengths of an (H, W) bool mask: by columns, background first."""
    # `Mask` counts by rows, and has no runs for an empty mask.
    return Mask(mask.T).run_lengths.tolist() or [mask.size]


def _position(points: np.ndarray) -> Mapping[str, Any]:
    low, high = points.min(axis=0), points.max(axis=0)
    center = (low + high) / 2
    return {
        "distance": round(float(np.linalg.norm(center)), 3),
        "visible_3d": {
            "center": np.round(center, 4).tolist(),
            "size": np.round(high - low, 4).tolist(),
        },
    }
