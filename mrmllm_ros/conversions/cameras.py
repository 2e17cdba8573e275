# SPDX-License-Identifier: Apache-2.0
"""Pinhole cameras and `CameraInfo`."""

from __future__ import annotations

import math

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header


def pinhole_camera_info(
    header: Header, resolution_wh: tuple[int, int], horizontal_fov_deg: float
) -> CameraInfo:
    """Describe an ideal camera: square pixels, centred, without distortion.

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
