# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from mrmllm_ros.datasets.rendered.camera_model import PinholeCamera

RESOLUTION = (640, 480)


@pytest.fixture
def camera():
    return PinholeCamera.looking((1.0, 2.0, 1.3), 0.7, -0.3, np.radians(70), RESOLUTION)


@pytest.fixture
def points(camera):
    """(200, 3) points of the room in front of the camera."""
    rng = np.random.default_rng(0)
    optical = rng.uniform((-1, -1, 0.5), (1, 1, 6), (200, 3))
    return optical @ camera.pose[:3, :3].T + camera.position


def test_points_project_as_opencv_projects_them(camera, points):
    to_optical = camera.room_to_optical
    rotation, _ = cv2.Rodrigues(to_optical[:3, :3])
    expected, _ = cv2.projectPoints(points, rotation, to_optical[:3, 3], camera.matrix, None)
    assert np.allclose(camera.project(points)[:, :2], expected[:, 0], atol=1e-6)


def test_a_depth_image_has_the_points_that_project_onto_its_pixels(camera):
    rng = np.random.default_rng(1)
    depth = rng.uniform(0.5, 6, RESOLUTION[::-1])
    mask = rng.random(RESOLUTION[::-1]) < 0.001
    optical = camera.points(depth, mask)
    u, v, z = camera.project(optical @ camera.pose[:3, :3].T + camera.position).T
    rows, columns = np.nonzero(mask)
    assert np.allclose(np.stack([u, v, z]), [columns, rows, depth[mask]], atol=1e-6)


def test_an_empty_mask_has_no_points(camera):
    empty = np.zeros(RESOLUTION[::-1], bool)
    assert camera.points(np.ones(empty.shape), empty).shape == (0, 3)


def test_the_optical_frame_has_x_right_y_down_and_z_forward():
    camera = PinholeCamera.looking((0, 0, 1), 0.0, 0.0, 1.0, RESOLUTION)
    assert np.allclose(camera.pose[:3, :3], [[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    pitched = PinholeCamera.looking((0, 0, 1), 2.0, 0.5, 1.0, RESOLUTION).pose[:3, :3]
    assert np.allclose(pitched @ pitched.T, np.eye(3))
    assert np.linalg.det(pitched) == pytest.approx(1)


def test_the_field_of_view_reaches_the_edges_of_the_outer_pixels(camera):
    half = np.tan(np.radians(35))
    edge = np.array([[half, 0, 1.0], [-half, 0, 1.0]]) @ camera.pose[:3, :3].T + camera.position
    assert camera.project(edge)[:, 0] == pytest.approx([RESOLUTION[0] - 0.5, -0.5])


def test_the_quaternion_rotates_as_the_pose(camera):
    x, y, z, w = camera.quaternion
    vector, axis = np.array([0.3, -0.2, 0.9]), np.array([x, y, z])
    turned = vector + 2 * np.cross(axis, np.cross(axis, vector) + w * vector)
    assert np.allclose(turned, camera.pose[:3, :3] @ vector)


def test_points_in_the_plane_of_the_camera_do_not_divide_by_zero(camera):
    [[_, _, z]] = camera.project(camera.position[None])
    assert z == pytest.approx(0)
