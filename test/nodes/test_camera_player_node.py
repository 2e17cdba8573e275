# SPDX-License-Identifier: Apache-2.0
"""The player as a process: what it publishes, and what it says when it cannot."""

import cv2
import numpy as np
import pytest
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mrmllm_ros.conversions.images import bgr_from_message

NAMESPACE = "/test_camera_player_node"


@pytest.fixture
def folder(tmp_path):
    """Three pictures of 64 x 48: black, grey, white."""
    for name, value in (("a.png", 0), ("b.png", 128), ("c.png", 255)):
        cv2.imwrite(str(tmp_path / name), np.full((48, 64, 3), value, np.uint8))
    return tmp_path


def test_it_plays_a_folder_over_and_over_with_matching_headers(
    ros, start_node, make_client, folder
):
    client = make_client(NAMESPACE)
    images = client.subscribe(Image, "image_raw", qos_profile_sensor_data)
    infos = client.subscribe(CameraInfo, "camera_info", qos_profile_sensor_data)
    compressed = client.subscribe(CompressedImage, "image_raw/compressed", qos_profile_sensor_data)
    with start_node(
        "camera_player_node", NAMESPACE, path=folder, rate_hz=30.0, frame_id="left"
    ) as node:
        assert client.spin_until(lambda: min(map(len, client.received.values())) >= 8)
        node.check()
    pictures = {int(bgr_from_message(image).mean()) for image in images}
    assert pictures == {0, 128, 255}
    assert all(image.header.frame_id == "left" for image in images)
    stamps = [(i.header.stamp.sec, i.header.stamp.nanosec) for i in images]
    assert stamps == sorted(set(stamps))
    by_stamp = {(i.header.stamp.sec, i.header.stamp.nanosec): i for i in infos}
    matched = [by_stamp[stamp] for stamp in stamps if stamp in by_stamp]
    assert matched
    assert all((info.width, info.height) == (64, 48) for info in matched)
    assert bgr_from_message(compressed[-1]).shape == (48, 64, 3)


def test_without_loop_it_stops_at_the_end(ros, start_node, make_client, folder):
    with start_node(
        "camera_player_node", NAMESPACE, path=folder, rate_hz=50.0, loop=False
    ) as node:
        client = make_client(NAMESPACE)
        assert client.spin_until(lambda: "the end" in node.log_text())
        images = client.subscribe(Image, "image_raw", qos_profile_sensor_data)
        assert not client.spin_until(lambda: images, 0.5)
        node.check()


def test_a_file_that_cannot_be_read_is_named_and_skipped(ros, start_node, make_client, folder):
    (folder / "b.png").write_bytes(b"not an image")
    client = make_client(NAMESPACE)
    images = client.subscribe(Image, "image_raw", qos_profile_sensor_data)
    with start_node("camera_player_node", NAMESPACE, path=folder, rate_hz=30.0) as node:
        assert client.spin_until(lambda: len(images) >= 8)
        assert "b.png" in node.log_text()
    assert {int(bgr_from_message(image).mean()) for image in images} == {0, 255}


@pytest.mark.parametrize("path", ["", "/nonexistent.mp4", "/etc/passwd"])
def test_what_cannot_be_played_is_named_and_the_node_stays_up(ros, start_node, make_client, path):
    with start_node("camera_player_node", NAMESPACE, path=f'"{path}"') as node:
        client = make_client(NAMESPACE)
        assert client.spin_until(lambda: "cannot configure" in node.log_text())
        assert path in node.log_text()
        assert "Traceback" not in node.log_text()
        node.check()
