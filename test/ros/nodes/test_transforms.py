# SPDX-License-Identifier: Apache-2.0
"""tf2, or a stand-in with the few names that are used of it, and its absence."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3

from mrmllm_ros.ros.nodes.transforms import TransformError, Transforms, matrix_from_transform

STAMP = Time(sec=12, nanosec=5)
# From a lidar's axes (x forward, y left, z up) to an optical frame's (x right, y down, z forward).
LIDAR = Transform(
    translation=Vector3(x=0.1, y=-0.2, z=0.3),
    rotation=Quaternion(x=0.5, y=-0.5, z=0.5, w=0.5),
)


class UnknownFrameError(Exception):
    """What tf2 raises."""


class StandIn:
    """Knows one transform."""

    def __init__(self):
        self.looked_up, self.cleared, self.listening = [], False, False

    def lookup_transform(self, target, source, time):
        self.looked_up.append((target, source, time.nanoseconds))
        if source != "lidar":
            raise UnknownFrameError(f"{source} does not exist")
        return TransformStamped(transform=LIDAR)

    def clear(self):
        self.cleared = True

    def unregister(self):
        self.listening = False


@pytest.fixture
def tf2(monkeypatch):
    """The buffer and the listener of a stand-in for tf2_ros."""
    stand_in = StandIn()

    def listen(buffer, node):
        buffer.listening = True
        return buffer

    module = SimpleNamespace(
        Buffer=lambda: stand_in, TransformListener=listen, TransformException=UnknownFrameError
    )
    monkeypatch.setitem(sys.modules, "tf2_ros", module)
    return stand_in


def turn(axis, angle):
    values = dict.fromkeys("xyz", 0.0) | {axis: np.sin(angle / 2)}
    return Transform(rotation=Quaternion(**values, w=np.cos(angle / 2)))


@pytest.mark.parametrize(
    ("axis", "point", "turned"),
    [("x", (0, 1, 0), (0, 0, 1)), ("y", (0, 0, 1), (1, 0, 0)), ("z", (1, 0, 0), (0, 1, 0))],
)
def test_a_quarter_turn_follows_the_right_hand(axis, point, turned):
    matrix = matrix_from_transform(turn(axis, np.pi / 2))
    np.testing.assert_allclose(matrix @ [*point, 1], [*turned, 1], atol=1e-12)


def test_any_rotation_keeps_lengths_and_handedness():
    rng = np.random.default_rng(0)
    x, y, z, w = (values := rng.normal(size=4)) / np.linalg.norm(values)
    rotation = matrix_from_transform(Transform(rotation=Quaternion(x=x, y=y, z=z, w=w)))[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_no_rotation_and_no_translation_change_nothing():
    np.testing.assert_array_equal(matrix_from_transform(Transform()), np.eye(4))


def test_the_same_frame_needs_no_tf2(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    transforms = Transforms(node=None)
    np.testing.assert_array_equal(transforms.matrix("camera", "camera", STAMP), np.eye(4))
    transforms.clear()
    transforms.close()


def test_another_frame_without_tf2_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    with pytest.raises(TransformError, match=r"'lidar'.*'camera'.*apt install ros-jazzy-tf2-ros-"):
        Transforms(node=None).matrix("camera", "lidar", STAMP)


def test_a_transform_is_that_at_the_time_of_the_points(tf2):
    matrix = Transforms(node=None).matrix("camera", "lidar", STAMP)
    assert tf2.looked_up == [("camera", "lidar", 12_000_000_005)]
    # A meter ahead of the lidar is a meter further along the optical axis.
    np.testing.assert_allclose(matrix @ [1, 0, 0, 1], [0.1, -0.2, 1.3, 1], atol=1e-12)
    # To its left is to the left in the image, and up is up.
    np.testing.assert_allclose(matrix[:3, :3] @ [0, 1, 0], [-1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(matrix[:3, :3] @ [0, 0, 1], [0, -1, 0], atol=1e-12)


def test_an_unknown_transform_says_why(tf2):
    with pytest.raises(TransformError, match="from 'odom' to 'camera': odom does not exist"):
        Transforms(node=None).matrix("camera", "odom", STAMP)


def test_it_listens_until_it_is_closed_and_forgets_when_it_is_told_to(tf2):
    transforms = Transforms(node=None)
    assert tf2.listening
    transforms.clear()
    assert tf2.cleared
    transforms.close()
    assert not tf2.listening
