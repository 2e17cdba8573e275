# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

pytest.importorskip("sensor_msgs.msg", reason="needs the messages of ROS 2")

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from mrmllm_ros.conversions.cameras import pinhole_camera_info

HEADER = Header(stamp=Time(sec=1, nanosec=2), frame_id="front_optical")


def project(matrix, point):
    """Where a point before the camera is in the image."""
    x, y, w = np.asarray(matrix).reshape(3, -1) @ point
    return x / w, y / w


@pytest.fixture
def info():
    return pinhole_camera_info(HEADER, (640, 480), 60.0)


def test_header_and_size_are_those_of_the_image(info):
    assert info.header == HEADER
    assert (info.width, info.height) == (640, 480)


def test_the_optical_axis_goes_through_the_middle_of_the_pixels(info):
    assert project(info.k, (0, 0, 5)) == (319.5, 239.5)


@pytest.mark.parametrize("fov_deg", [1.0, 60.0, 90.0, 179.0])
def test_the_image_is_as_wide_as_the_angle_of_view(fov_deg):
    info = pinhole_camera_info(HEADER, (640, 480), fov_deg)
    right = math.tan(math.radians(fov_deg / 2))
    x, _ = project(info.k, (right, 0, 1))
    assert x == pytest.approx(319.5 + 320)


def test_pixels_are_square(info):
    assert info.k[0] == info.k[4]


def test_nothing_is_distorted_or_rotated(info):
    assert info.distortion_model == "plumb_bob"
    assert list(info.d) == [0.0] * 5
    np.testing.assert_array_equal(np.reshape(info.r, (3, 3)), np.eye(3))


def test_both_matrices_project_alike(info):
    point = (0.3, -0.2, 2.0)
    assert project(info.p, (*point, 1.0)) == pytest.approx(project(info.k, point))
