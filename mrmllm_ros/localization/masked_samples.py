# SPDX-License-Identifier: Apache-2.0
"""Depth measurements in a mask with an inexact border."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mrmllm_ros.detection.boxes import clip_boxes
from mrmllm_ros.localization.depth import Depths, DepthSamples

# Maximum error of a mask's border, as a share of the width of the image.
_BORDER_ERROR = 0.003
# Relative difference of depths of one surface.
_SAME_DEPTH = 0.025


@dataclass(frozen=True, eq=False)
class MaskedSamples:
    """Depth measurements in a mask.

    Attributes:
        samples: N samples.
        interior: (N,) bool, whether a sample is farther from the border than its error. The border
            of the image is no border of the object.
        background: (N,) bool, whether a sample outside of the interior has the depth of the
            nearest sample beyond the mask, and not that of the nearest one in the interior.
    """

    samples: DepthSamples
    interior: np.ndarray
    background: np.ndarray


def sample_mask(depths: Depths, mask: np.ndarray) -> MaskedSamples:
    """Select the measurements in a mask.

    Args:
        depths: Depth image or point cloud.
        mask: (H, W) bool mask in the color image; not empty.
    """
    image_wh = np.array(mask.shape[::-1])
    error = max(1, round(_BORDER_ERROR * image_wh[0]))
    kernel = np.ones((2 * error + 1,) * 2, np.uint8)
    pixels = mask.astype(np.uint8)
    interior = cv2.erode(pixels, kernel) > 0
    beyond = (cv2.dilate(pixels, kernel) > 0) & ~mask
    margin = error * np.array([-1, -1, 1, 1])
    around = depths.within(clip_boxes(mask_bounds(mask) + margin, image_wh))
    columns, rows = around.pixels.astype(int).clip(0, image_wh - 1).T
    in_mask = mask[rows, columns]
    samples, inner = around.take(in_mask), interior[rows, columns][in_mask]
    is_continued = _has_depth_of_nearest(samples, around.take(beyond[rows, columns]))
    is_attached = _has_depth_of_nearest(samples, samples.take(inner))
    return MaskedSamples(samples, inner, ~inner & is_continued & ~is_attached)


def mask_bounds(mask: np.ndarray) -> np.ndarray:
    """(4,) float64, bounding box of a mask that is not empty."""
    columns, rows = (np.flatnonzero(mask.any(axis)) for axis in (0, 1))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


def _has_depth_of_nearest(samples: DepthSamples, others: DepthSamples) -> np.ndarray:
    """(N,) bool, whether a sample has the depth of the nearest one of the others in the image."""
    if not (len(samples) and len(others)):
        return np.zeros(len(samples), bool)
    corner = np.minimum(samples.pixels.min(0), others.pixels.min(0))
    columns, rows = (samples.pixels - corner).astype(int).T
    other_columns, other_rows = (others.pixels - corner).astype(int).T
    shape = max(rows.max(), other_rows.max()) + 1, max(columns.max(), other_columns.max()) + 1
    is_free = np.ones(shape, np.uint8)
    is_free[other_rows, other_columns] = 0
    _, nearest = cv2.distanceTransformWithLabels(
        is_free, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    depths = np.zeros(nearest.max() + 1, np.float32)
    depths[nearest[other_rows, other_columns]] = others.depths
    return np.abs(depths[nearest[rows, columns]] / samples.depths - 1) <= _SAME_DEPTH
