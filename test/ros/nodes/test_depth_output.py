# SPDX-License-Identifier: Apache-2.0
"""Transforms of the camera, with a stand-in for tf2_msgs and without it."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import rgbd_folder

pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from mrmllm_ros.detection.playback import recorded_frames
from mrmllm_ros.ros.nodes.depth_output import DepthOutput
from mrmllm_ros.ros.nodes.transforms import matrix_from_transform

HEADER = Header(stamp=Time(sec=12, nanosec=5), frame_id="left_optical")


class RecordingNode:
    """Node that records published messages by topic, and the lines of its log."""

    def __init__(self):
        self.published, self.warnings = {}, []

    def create_lifecycle_publisher(self, kind, topic, *qos, **options):
        messages = self.published[topic] = []
        return SimpleNamespace(msg_type=kind, publish=messages.append, topic=topic)

    def destroy_lifecycle_publisher(self, publisher):
        del self.published[publisher.topic]

    def get_logger(self):
        return SimpleNamespace(warning=self.warnings.append)


@pytest.fixture
def node():
    return RecordingNode()


@pytest.fixture
def depths(tmp_path):
    views = [((1.0, 0.5, 1.2), [rgbd_folder.SCREEN]), ((2.0, 0.5, 1.2), [])]
    folder = rgbd_folder.write(tmp_path / "scenes", views)
    return [frame.depth for frame in recorded_frames(folder)]


@pytest.fixture
def tf2_msgs(monkeypatch):
    messages = SimpleNamespace(TFMessage=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "tf2_msgs", SimpleNamespace(msg=messages))
    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", messages)


def test_the_pose_is_a_transform_from_the_room_to_the_camera(node, depths, tf2_msgs):
    output = DepthOutput(node, {})
    for depth in depths:
        output.publish(depth, HEADER)
    first, second = (transform for m in node.published["/tf"] for transform in m.transforms)
    assert (first.header.frame_id, first.child_frame_id) == ("room", "left_optical")
    assert first.header.stamp == HEADER.stamp
    # A point 2 m before the camera is 2 m further along y, and down is down.
    matrix = matrix_from_transform(first.transform)
    np.testing.assert_allclose(matrix @ [0, 0, 2, 1], [1, 2.5, 1.2, 1], atol=1e-9)
    np.testing.assert_allclose(matrix @ [0, 1, 0, 1], [1, 0.5, 0.2, 1], atol=1e-9)
    assert second.transform.translation.x == 2
    assert len(node.published["depth/image_raw"]) == len(node.published["depth/camera_info"]) == 2
    assert node.warnings == []
    output.destroy()
    assert node.published == {}


def test_without_tf2_msgs_there_is_depth_and_one_line_that_says_what_to_do(
    node, depths, monkeypatch
):
    monkeypatch.setitem(sys.modules, "tf2_msgs", None)
    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", None)
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    output = DepthOutput(node, {})
    for depth in depths:
        output.publish(depth, HEADER)
    assert len(node.published["depth/image_raw"]) == 2
    assert "/tf" not in node.published
    [line] = node.warnings
    assert "apt install ros-jazzy-tf2-msgs" in line
    output.destroy()
