# SPDX-License-Identifier: Apache-2.0
"""Pinhole cameras and `CameraInfo`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from mrmllm_ros.errors import MrmllmError


class CameraInfoError(MrmllmError):
    """A `CameraInfo` does not describe an image; the message says why."""


def pinhole_camera_info(
    header: Header, resolution_wh: tuple[int, int], horizontal_fov_deg: float
) -> CameraInfo:
    """Make the `CameraInfo` of an ideal camera: square pixels, centered, without distortion.

    Args:
        header: Header of the message.
        resolution_wh: Width and height of the image in pixels.
        horizontal_fov_deg: Horizontal field of view in degrees.
    """
    width, height = resolution_wh
    focal = width / (2 * math.tan(math.radians(horizontal_fov_deg) / 2))
    center_x, center_y = (width - 1) / 2, (height - 1) / 2
    matrix = np.array([[focal, 0, center_x], [0, focal, center_y], [0, 0, 1]])
    return calibrated_camera_info(header, resolution_wh, matrix)


def calibrated_camera_info(
    header: Header,
    resolution_wh: tuple[int, int],
    matrix: np.ndarray,
    distortion: Sequence[float] = (0.0,) * 5,
    distortion_model: str = "plumb_bob",
) -> CameraInfo:
    """Make the `CameraInfo` of a single calibrated camera.

    Args:
        header: Header of the message.
        resolution_wh: Width and height of the image in pixels.
        matrix: (3, 3) camera matrix.
        distortion: Coefficients of the distortion model.
        distortion_model: See `sensor_msgs/CameraInfo`.
    """
    width, height = resolution_wh
    return CameraInfo(
        header=header,
        width=width,
        height=height,
        distortion_model=distortion_model,
        d=list(distortion),
        k=matrix.ravel().tolist(),
        r=np.eye(3).ravel().tolist(),
        p=np.pad(matrix, ((0, 0), (0, 1))).ravel().tolist(),
    )


def projection(info: CameraInfo) -> np.ndarray:
    """Return the camera matrix of rectified images, (3, 3) float64.

    It is the left part of `p`, or `k` if `p` is not set or the camera is not calibrated.
    """
    matrix = np.array(info.k, float).reshape(3, 3)
    rectified = np.array(info.p, float).reshape(3, 4)[:, :3]
    return rectified if matrix[0, 0] > 0 and rectified[0, 0] > 0 else matrix


def is_calibrated(info: CameraInfo) -> bool:
    """Return whether the matrix is set; it is zero for an uncalibrated camera."""
    matrix = projection(info)
    return bool(np.isfinite(matrix).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0)


def region_size(info: CameraInfo) -> tuple[int, int]:
    """Return width and height of the region of interest, or of the full image, in pixels."""
    if info.roi.width and info.roi.height:
        return info.roi.width, info.roi.height
    return info.width, info.height


def camera_matrix(info: CameraInfo, resolution_wh: tuple[int, int]) -> np.ndarray:
    """Return the camera matrix of a rectified image of any scale.

    Region of interest and binning are taken into account.

    Args:
        info: Calibration of the camera at full resolution.
        resolution_wh: Width and height of the image in pixels.

    Returns:
        (3, 3) float64, with the center of the first pixel at 0.

    Raises:
        CameraInfoError: If the camera is not calibrated, or the aspect ratios differ.
    """
    if not is_calibrated(info):
        raise CameraInfoError("camera_info has no calibration (k); calibrate the camera")
    matrix = projection(info)
    width, height = region_size(info)
    if info.roi.width and info.roi.height:
        matrix[:2, 2] -= (info.roi.x_offset, info.roi.y_offset)
    is_empty = not (width and height and min(resolution_wh))
    # Allows for one pixel of rounding.
    difference = abs(width * resolution_wh[1] - height * resolution_wh[0])
    if is_empty or difference > max(width, height):
        raise CameraInfoError(
            f"camera_info has {width} x {height} pixels, but the image has "
            f"{resolution_wh[0]} x {resolution_wh[1]}, another aspect ratio; publish the "
            "camera_info of that image"
        )
    scale = np.array(resolution_wh) / (width, height)
    matrix[[0, 1], [0, 1]] *= scale
    matrix[:2, 2] = (matrix[:2, 2] + 0.5) * scale - 0.5
    return matrix
