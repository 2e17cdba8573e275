# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

pytest.importorskip("sensor_msgs.msg", reason="needs the messages of ROS 2")

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from mrmllm_ros.ros.conversions.camera_info import (
    CameraInfoError,
    camera_matrix,
    pinhole_camera_info,
)

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


def test_the_matrix_is_that_of_rectified_images(info):
    info.p[0], info.p[2] = 500.0, 300.0
    matrix = camera_matrix(info, (640, 480))
    assert (matrix[0, 0], matrix[0, 2]) == (500, 300)


def test_without_one_for_rectified_images_it_is_that_of_the_raw_ones(info):
    info.p = [0.0] * 12
    np.testing.assert_allclose(camera_matrix(info, (640, 480)), np.reshape(info.k, (3, 3)))


def test_the_matrix_of_an_image_of_full_size_is_that_of_its_calibration(info):
    np.testing.assert_array_equal(camera_matrix(info, (640, 480)), np.reshape(info.k, (3, 3)))


@pytest.mark.parametrize("size", [(320, 240), (1280, 960), (160, 120)])
def test_the_matrix_of_a_scaled_image_is_that_of_a_camera_of_its_size(size, info):
    expected = pinhole_camera_info(HEADER, size, 60.0)
    np.testing.assert_allclose(camera_matrix(info, size), np.reshape(expected.k, (3, 3)))


def test_a_size_rounded_to_whole_pixels_is_the_same_shape(info):
    assert camera_matrix(info, (213, 160))[0, 0] == pytest.approx(info.k[0] / 3, rel=0.002)


def test_a_region_of_interest_moves_the_principal_point(info):
    info.roi.x_offset, info.roi.y_offset = 100, 60
    info.roi.width, info.roi.height = 320, 240
    x, y = project(camera_matrix(info, (320, 240)), (0, 0, 5))
    assert (x, y) == (219.5, 179.5)


def test_binning_makes_the_image_smaller(info):
    info.binning_x = info.binning_y = 2
    expected = pinhole_camera_info(HEADER, (320, 240), 60.0)
    np.testing.assert_allclose(camera_matrix(info, (320, 240)), np.reshape(expected.k, (3, 3)))


@pytest.mark.parametrize("size", [(640, 360), (480, 640), (1280, 720), (0, 0), (1, 0)])
def test_an_image_of_another_shape_is_rejected_with_both_sizes(size, info):
    with pytest.raises(CameraInfoError, match=rf"640 x 480 .* {size[0]} x {size[1]}"):
        camera_matrix(info, size)


def test_a_camera_info_without_size_is_rejected(info):
    info.width = 0
    with pytest.raises(CameraInfoError, match="0 x 480"):
        camera_matrix(info, (640, 480))


@pytest.mark.parametrize("focal", [0.0, -1.0, float("nan")])
def test_a_camera_that_is_not_calibrated_is_rejected(focal, info):
    info.k[0] = focal
    with pytest.raises(CameraInfoError, match="calibrate"):
        camera_matrix(info, (640, 480))
