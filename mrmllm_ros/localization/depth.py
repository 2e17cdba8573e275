# SPDX-License-Identifier: Apache-2.0
"""Measurements of a depth sensor, seen from the color camera.

Coordinates in images are those of `Detections`: the first pixel reaches from 0 to 1, so its center
is at 0.5. A camera matrix puts that center at 0 (sensor_msgs/CameraInfo).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

# More of a region adds time and no accuracy.
_MOST_SAMPLES = 32_000


@dataclass(frozen=True, eq=False)
class DepthSamples:
    """Measured surface points and where the color camera sees them.

    Attributes:
        pixels: (N, 2) float32, x and y in the color image.
        depths: (N,) float32, meters along the optical axis, all finite and positive.
        pitch: (2,) float32, width and height of a sample in pixels of the color image; zeros
            where samples are scattered points.
    """

    pixels: np.ndarray
    depths: np.ndarray
    pitch: np.ndarray

    def __len__(self) -> int:
        return len(self.depths)

    def take(self, which: np.ndarray) -> DepthSamples:
        """The samples at these positions, or where this (N,) mask is true."""
        return DepthSamples(self.pixels[which], self.depths[which], self.pitch)

    def points(self, camera_matrix: np.ndarray) -> np.ndarray:
        """(N, 3) float32, the samples in the color camera's optical frame, in meters.

        Args:
            camera_matrix: (3, 3), the color camera's.
        """
        focal, center = pinhole(camera_matrix)
        across = (self.pixels - center) / focal * self.depths[:, None]
        return np.hstack([across, self.depths[:, None]]).astype(np.float32)


class Depths(ABC):
    """Depth measurements of one moment."""

    @abstractmethod
    def within(self, xyxy: np.ndarray) -> DepthSamples:
        """The measurements in a region of the color image, thinned out where there are many.

        Args:
            xyxy: (4,), left, top, right, bottom in pixels.
        """


class DepthImage(Depths):
    """A depth image whose camera stands where the color camera does and looks the same way.

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
        """Take over an image.

        Args:
            depth: (H, W) float32, meters along the optical axis; what is not finite and positive
                is a hole.
            depth_matrix: (3, 3), the depth camera's matrix for an image of that size.
            camera_matrix: (3, 3), the color camera's matrix.
            max_depth_m: Greater depths are holes.
        """
        self._depth = depth
        self._max_depth_m = max_depth_m
        depth_focal, depth_center = pinhole(depth_matrix)
        focal, center = pinhole(camera_matrix)
        # Color pixels = depth pixels * scale + offset: both see along the same rays.
        self._scale = focal / depth_focal
        self._offset = center - depth_center * self._scale

    def within(self, xyxy: np.ndarray) -> DepthSamples:
        """See `Depths.within`."""
        corners = (np.reshape(xyxy, (2, 2)) - self._offset) / self._scale
        limits = np.array(self._depth.shape[::-1])
        # A pixel belongs to the region that its center is in.
        (left, top), (right, bottom) = np.ceil(corners - 0.5).clip(0, limits).astype(int)
        area = max(0, right - left) * max(0, bottom - top)
        stride = int(np.ceil(np.sqrt(max(1, area) / _MOST_SAMPLES)))
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
    """A point cloud in the color camera's optical frame."""

    def __init__(
        self, points: np.ndarray, camera_matrix: np.ndarray, max_depth_m: float = np.inf
    ) -> None:
        """Look at the points through the camera.

        Args:
            points: (N, 3), meters: x to the right, y down, z forward (REP 103). Points that are
                not finite or not before the camera are left out.
            camera_matrix: (3, 3), the color camera's matrix.
            max_depth_m: Points further along the optical axis are left out.
        """
        depths = points[:, 2]
        with np.errstate(invalid="ignore"):
            seen = np.isfinite(points).all(1) & (depths > 0) & (depths <= max_depth_m)
        focal, center = pinhole(camera_matrix)
        pixels = (points[seen, :2] / depths[seen, None] * focal + center).astype(np.float32)
        samples = DepthSamples(pixels, depths[seen].astype(np.float32), np.zeros(2, np.float32))
        # From left to right: a region then need not look at all of them.
        self._samples = samples.take(np.argsort(pixels[:, 0]))

    def within(self, xyxy: np.ndarray) -> DepthSamples:
        """See `Depths.within`."""
        left, top, right, bottom = xyxy
        x, y = self._samples.pixels.T
        start, end = np.searchsorted(x, (left, right))
        inside = start + np.flatnonzero((y[start:end] >= top) & (y[start:end] < bottom))
        return self._samples.take(inside[:: len(inside) // _MOST_SAMPLES + 1])


def pinhole(camera_matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Focal lengths and principal point, (2,) each, in pixels whose first reaches from 0 to 1."""
    return camera_matrix[[0, 1], [0, 1]], camera_matrix[:2, 2] + 0.5
