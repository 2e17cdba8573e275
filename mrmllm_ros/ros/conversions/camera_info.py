# SPDX-License-Identifier: Apache-2.0
"""Pinhole cameras and `CameraInfo`."""

from __future__ import annotations

import math

import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from mrmllm_ros.errors import MrmllmError


class CameraInfoError(MrmllmError):
    """A `CameraInfo` does not describe an image; the message says why."""


def pinhole_camera_info(
    header: Header, resolution_wh: tuple[int, int], horizontal_fov_deg: float
) -> CameraInfo:
    """Describe an ideal camera: square pixels, centerd, without distortion.

    Args:
        header: Taken over as it is.
        resolution_wh: Size of the image in pixels.
        horizontal_fov_deg: Horizontal angle of view in degrees.
    """
    width, height = resolution_wh
    focal = width / (2 * math.tan(math.radians(horizontal_fov_deg) / 2))
    center_x, center_y = (width - 1) / 2, (height - 1) / 2
    return CameraInfo(
        header=header,
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[focal, 0.0, center_x, 0.0, focal, center_y, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, center_x, 0.0, 0.0, focal, center_y, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def projection(info: CameraInfo) -> np.ndarray:
    """(3, 3) float64, the camera's matrix once its images are rectified, which `p` holds.

    Where `p` is not filled in, or the camera is not calibrated, it is `k`.
    """
    matrix = np.array(info.k, float).reshape(3, 3)
    rectified = np.array(info.p, float).reshape(3, 4)[:, :3]
    return rectified if matrix[0, 0] > 0 and rectified[0, 0] > 0 else matrix


def is_calibrated(info: CameraInfo) -> bool:
    """Whether there is a matrix; an uncalibrated camera has zeros (sensor_msgs/CameraInfo)."""
    matrix = projection(info)
    return bool(np.isfinite(matrix).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0)


def region_size(info: CameraInfo) -> tuple[int, int]:
    """Width and height in pixels of the region of interest, or of all where none is set."""
    if info.roi.width and info.roi.height:
        return info.roi.width, info.roi.height
    return info.width, info.height


def camera_matrix(info: CameraInfo, resolution_wh: tuple[int, int]) -> np.ndarray:
    """The pinhole model of an image that may be larger or smaller than what `info` is about.

    The image is taken to be rectified, as those of `image_proc` are.

    A region of interest is taken into account, and so is binning, which makes an image smaller.

    Args:
        info: The camera's calibration, for its full resolution (sensor_msgs/CameraInfo).
        resolution_wh: Size of the image in pixels.

    Returns:
        (3, 3) float64, with the center of the first pixel at 0.

    Raises:
        CameraInfoError: If the camera is not calibrated, or the image has another shape.
    """
    if not is_calibrated(info):
        raise CameraInfoError("camera_info holds no calibration (k); calibrate the camera")
    matrix = projection(info)
    width, height = region_size(info)
    if info.roi.width and info.roi.height:
        matrix[:2, 2] -= (info.roi.x_offset, info.roi.y_offset)
    is_empty = not (width and height and min(resolution_wh))
    # A pixel may be lost to rounding.
    lost = abs(width * resolution_wh[1] - height * resolution_wh[0])
    if is_empty or lost > max(width, height):
        raise CameraInfoError(
            f"camera_info is about {width} x {height} pixels and the image has "
            f"{resolution_wh[0]} x {resolution_wh[1]}, another shape; publish the camera_info of "
            "that image"
        )
    scale = np.array(resolution_wh) / (width, height)
    matrix[[0, 1], [0, 1]] *= scale
    matrix[:2, 2] = (matrix[:2, 2] + 0.5) * scale - 0.5
    return matrix
