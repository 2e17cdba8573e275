# SPDX-License-Identifier: Apache-2.0
"""Pinhole camera with a pose in a room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation


@dataclass(frozen=True, eq=False)
class PinholeCamera:
    """Pinhole camera; pixel centers have whole coordinates, as in OpenCV and ROS.

    Attributes:
        matrix: (3, 3) camera matrix K in pixels.
        resolution_wh: Width and height of the image.
        pose: (4, 4) from the optical frame (x right, y down, z forward; REP 103) to the room
            (z up), in meters.
    """

    matrix: np.ndarray
    resolution_wh: tuple[int, int]
    pose: np.ndarray

    @classmethod
    def looking(
        cls,
        position: Sequence[float],
        yaw: float,
        pitch: float,
        horizontal_fov: float,
        resolution_wh: tuple[int, int],
    ) -> PinholeCamera:
        """Create a camera from its direction of view.

        Args:
            position: x, y, z in the room in meters.
            yaw: Direction in the room in radians, 0 along x, counterclockwise.
            pitch: Angle above the horizon in radians.
            horizontal_fov: Horizontal field of view in radians.
            resolution_wh: Width and height of the image in pixels.
        """
        width, height = resolution_wh
        focal = width / 2 / np.tan(horizontal_fov / 2)
        matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
        forward = np.array(
            [np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)]
        )
        right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
        pose[:3, 3] = position
        return cls(matrix, resolution_wh, pose)

    @property
    def position(self) -> np.ndarray:
        """(3,) position in the room in meters."""
        return self.pose[:3, 3]

    @property
    def quaternion(self) -> np.ndarray:
        """(4,) orientation x, y, z, w of the optical frame in the room."""
        return Rotation.from_matrix(self.pose[:3, :3]).as_quat()

    @property
    def room_to_optical(self) -> np.ndarray:
        """(4, 4) from the room to the optical frame."""
        return np.linalg.inv(self.pose)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project points of the room.

        Args:
            points: (N, 3) in meters.

        Returns:
            (N, 3) columns u and v in pixels and depth z in meters; u and v have no meaning where
            z is not positive.
        """
        optical = points @ self.room_to_optical[:3, :3].T + self.room_to_optical[:3, 3]
        z = optical[:, 2:]
        uv = optical @ self.matrix.T / np.where(np.abs(z) < 1e-9, 1e-9, z)
        return np.concatenate([uv[:, :2], z], axis=1)

    def points(self, depth: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Points of pixels in the optical frame.

        Args:
            depth: (H, W) meters along the optical axis.
            mask: (H, W) bool, selected pixels.

        Returns:
            (N, 3) float64 in meters.
        """
        rows, columns = np.nonzero(mask)
        z = depth[rows, columns].astype(np.float64)
        pixels = np.stack([columns, rows, np.ones_like(rows)]).astype(np.float64)
        return (np.linalg.inv(self.matrix) @ pixels * z).T
