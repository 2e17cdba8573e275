# SPDX-License-Identifier: Apache-2.0
"""Depth images and point clouds, projected to the color camera.

Image coordinates are those of `Detections`: the center of the first pixel is at 0.5. In a camera
matrix it is at 0 (sensor_msgs/CameraInfo).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

# More samples of a region take time without improving accuracy.
_MAX_SAMPLES = 32_000


@dataclass(frozen=True, eq=False)
class DepthSamples:
    """Depth measurements with their positions in the color image.

    Attributes:
        pixels: (N, 2) float32, x and y in the color image.
        depths: (N,) float32, meters along the optical axis, all finite and positive.
        pitch: (2,) float32, distance of samples in pixels of the color image along x and y; zeros
            for scattered points.
    """

    pixels: np.ndarray
    depths: np.ndarray
    pitch: np.ndarray

    def __len__(self) -> int:
        return len(self.depths)

    def take(self, indices: np.ndarray) -> DepthSamples:
        """Select samples by indices or an (N,) mask."""
        return DepthSamples(self.pixels[indices], self.depths[indices], self.pitch)

    def points(self, camera_matrix: np.ndarray) -> np.ndarray:
        """(N, 3) float32 points in the optical frame of the color camera, in meters.

        Args:
            camera_matrix: (3, 3) matrix of the color camera.
        """
        focal, center = pinhole(camera_matrix)
        across = (self.pixels - center) / focal * self.depths[:, None]
        return np.hstack([across, self.depths[:, None]]).astype(np.float32)


class Depths(ABC):
    """Depth measurements at one time."""

    @abstractmethod
    def within(self, xyxy: np.ndarray) -> DepthSamples:
        """Measurements in a region of the color image, subsampled if there are many.

        Args:
            xyxy: (4,) left, top, right, bottom in pixels.
        """


class DepthImage(Depths):
    """Depth image of a camera with the pose of the color camera.

    Example:
        >>> wall = np.full((480, 640), 2.0, np.float32)
        >>> matrix = np.array([[500.0, 0.0, 319.5], [0.0, 500.0, 239.5], [0.0, 0.0, 1.0]])
        >>> len(DepthImage(wall, matrix, matrix).within(np.array([0, 0, 10, 10])))
        100
    """

    def __init__(
        self,
        depth: np.ndarray,
        depth_matrix: np.ndarray,
        camera_matrix: np.ndarray,
        max_depth_m: float = np.inf,
    ) -> None:
        """Wrap an image.

        Args:
            depth: (H, W) float32, meters along the optical axis; values that are not finite and
                positive are holes.
            depth_matrix: (3, 3) matrix of the depth camera for this size of image.
            camera_matrix: (3, 3) matrix of the color camera.
            max_depth_m: Greater depths are holes.
        """
        self._depth = depth
        self._max_depth_m = max_depth_m
        depth_focal, depth_center = pinhole(depth_matrix)
        focal, center = pinhole(camera_matrix)
        # color pixel = depth pixel * scale + offset, because the poses are equal
        self._scale = focal / depth_focal
        self._offset = center - depth_center * self._scale

    def within(self, xyxy: np.ndarray) -> DepthSamples:
        """See `Depths.within`."""
        corners = (np.reshape(xyxy, (2, 2)) - self._offset) / self._scale
        limits = np.array(self._depth.shape[::-1])
        # A pixel belongs to a region if its center is inside.
        (left, top), (right, bottom) = np.ceil(corners - 0.5).clip(0, limits).astype(int)
        area = max(0, right - left) * max(0, bottom - top)
        stride = int(np.ceil(np.sqrt(max(1, area) / _MAX_SAMPLES)))
        region = self._depth[top:bottom:stride, left:right:stride]
        with np.errstate(invalid="ignore"):
            rows, columns = np.nonzero((region > 0) & (region <= self._max_depth_m))
        corners_of_samples = np.stack([columns, rows], 1) * stride + (left, top)
        pixels = (corners_of_samples + 0.5) * self._scale + self._offset
        return DepthSamples(
            pixels.astype(np.float32),
            region[rows, columns].astype(np.float32),
            (self._scale * stride).astype(np.float32),
        )


class PointCloud(Depths):
    """Point cloud in the optical frame of the color camera."""

    def __init__(
        self, points: np.ndarray, camera_matrix: np.ndarray, max_depth_m: float = np.inf
    ) -> None:
        """Project points to the image.

        Args:
            points: (N, 3) meters: x to the right, y down, z forward (REP 103). Points that are
                not finite or are behind the camera are dropped.
            camera_matrix: (3, 3) matrix of the color camera.
            max_depth_m: Points further along the optical axis are dropped.
        """
        depths = points[:, 2]
        with np.errstate(invalid="ignore"):
            valid = np.isfinite(points).all(1) & (depths > 0) & (depths <= max_depth_m)
        focal, center = pinhole(camera_matrix)
        pixels = (points[valid, :2] / depths[valid, None] * focal + center).astype(np.float32)
        samples = DepthSamples(pixels, depths[valid].astype(np.float32), np.zeros(2, np.float32))
        # Sorted from left to right for binary search.
        self._samples = samples.take(np.argsort(pixels[:, 0]))

    def within(self, xyxy: np.ndarray) -> DepthSamples:
        """See `Depths.within`."""
        left, top, right, bottom = xyxy
        x, y = self._samples.pixels.T
        start, end = np.searchsorted(x, (left, right))
        inside = start + np.flatnonzero((y[start:end] >= top) & (y[start:end] < bottom))
        return self._samples.take(inside[:: len(inside) // _MAX_SAMPLES + 1])


def pinhole(camera_matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(2,) focal lengths and (2,) principal point, in the image coordinates of this module."""
    return camera_matrix[[0, 1], [0, 1]], camera_matrix[:2, 2] + 0.5
