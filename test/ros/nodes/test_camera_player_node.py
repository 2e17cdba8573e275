# SPDX-License-Identifier: Apache-2.0
"""Messages and errors of the camera player."""

import cv2
import numpy as np
import pytest
import rclpy
import rgbd_folder
from mrmllm_ros.msg import BoundingBox2D, Detection, DetectionArray
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mrmllm_ros.ros.conversions.image_messages import bgr_from_message, depth_from_image
from mrmllm_ros.ros.nodes.camera_player_node import CameraPlayerNode

NAMESPACE = "/test_camera_player_node"
NAMES, VALUES = ("a.png", "b.png", "c.png"), (0, 128, 255)


@pytest.fixture
def folder(tmp_path):
    """Folder with three images of 64 x 48: black, gray, white."""
    for name, value in zip(NAMES, VALUES, strict=True):
        cv2.imwrite(str(tmp_path / name), np.full((48, 64, 3), value, np.uint8))
    return tmp_path


def values(images):
    """The brightness of each image."""
    return {int(bgr_from_message(image).mean()) for image in images}


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
    assert values(images) == {*VALUES}
    assert all(image.header.frame_id == "left" for image in images)
    stamps = [(i.header.stamp.sec, i.header.stamp.nanosec) for i in images]
    assert stamps == sorted(set(stamps))
    by_stamp = {(i.header.stamp.sec, i.header.stamp.nanosec): i for i in infos}
    matched = [by_stamp[stamp] for stamp in stamps if stamp in by_stamp]
    assert matched
    assert all((info.width, info.height) == (64, 48) for info in matched)
    assert bgr_from_message(compressed[-1]).shape == (48, 64, 3)


@pytest.fixture
def scenes(tmp_path):
    """Folder with two images of a screen 2 m and 1.5 m in front of the camera."""
    views = [((0.0, y, 0.0), [rgbd_folder.SCREEN]) for y in (0.0, 0.5)]
    return rgbd_folder.write(tmp_path / "scenes", views, d=[0.1, 0.0, 0.0, 0.0, 0.0])


def stamp_of(message):
    return message.header.stamp.sec, message.header.stamp.nanosec


def test_rendered_scenes_come_with_depth_and_their_calibration(
    ros, start_node, make_client, scenes
):
    client = make_client(NAMESPACE)
    kinds = {
        "image_raw": Image,
        "camera_info": CameraInfo,
        "depth/image_raw": Image,
        "depth/camera_info": CameraInfo,
    }
    received = [
        client.subscribe(kind, topic, qos_profile_sensor_data) for topic, kind in kinds.items()
    ]
    with start_node("camera_player_node", NAMESPACE, path=scenes, frame_id="left") as node:
        assert client.spin_until(lambda: min(map(len, received)) >= 8)
        node.check()
    by_stamp = [{stamp_of(message): message for message in messages} for messages in received]
    common = set.intersection(*map(set, by_stamp))
    assert len(common) >= 4
    nearest = set()
    for stamp in common:
        image, info, depth_image, depth_info = (messages[stamp] for messages in by_stamp)
        assert {m.header.frame_id for m in (image, info, depth_image, depth_info)} == {"left"}
        assert (depth_image.encoding, depth_image.width, depth_image.height) == ("16UC1", 160, 120)
        assert info == depth_info
        assert (info.k[0], info.d[0], info.width) == (rgbd_folder.FOCAL, 0.1, 160)
        depth = depth_from_image(depth_image)
        assert depth.max() == pytest.approx(rgbd_folder.WALL_M)
        # The color of the image is that of the depth.
        assert depth.min() == pytest.approx(2.0 if bgr_from_message(image).mean() < 20 else 1.5)
        nearest.add(round(float(depth.min()), 3))
    assert nearest == {2.0, 1.5}


def test_the_localizer_finds_an_object_of_a_rendered_scene(ros, start_node, make_client, scenes):
    client = make_client(NAMESPACE)
    images = client.subscribe(Image, "image_raw", qos_profile_sensor_data)
    located = client.subscribe(DetectionArray, "detections_3d")
    publisher = client.node.create_publisher(DetectionArray, "enriched_detections", 10)
    size = np.array(rgbd_folder.SCREEN.size) * rgbd_folder.FOCAL / 2

    def detect():
        """Publish the box of the screen in each black image, 2 m away."""
        for image in images:
            if bgr_from_message(image).mean() < 20:
                box = BoundingBox2D(center_x=80.0, center_y=60.0, size_x=size[0], size_y=size[1])
                message = DetectionArray(header=image.header, image_width=160, image_height=120)
                message.detections = [Detection(id=1, label="tv", score=0.9, bbox=box)]
                publisher.publish(message)
        images.clear()
        return any(message.detections[0].has_pose for message in located)

    with (
        start_node("localizer_node", NAMESPACE),
        start_node("camera_player_node", NAMESPACE, path=scenes),
    ):
        assert client.spin_until(detect)
    poses = [d.pose.position for m in located for d in m.detections if d.has_pose]
    assert [poses[0].x, poses[0].y] == pytest.approx([0, 0], abs=0.02)
    assert poses[0].z == pytest.approx(2.0, abs=0.02)


def test_a_sequence_is_played_at_the_spacing_of_its_stamps(make_node, tmp_path):
    views = [((0.0, 0.1 * n, 0.0), [rgbd_folder.SCREEN]) for n in range(3)]
    folder = rgbd_folder.write(tmp_path / "scenes", views, [0.0, 20.0, 50.0])
    node = make_node(CameraPlayerNode, path=str(folder))
    node.start()
    periods_s = []
    for _ in views:
        node._play()
        periods_s.append(node._timer.timer_period_ns / 1e9)
    assert periods_s == pytest.approx([20, 30, 0.1])
    node.set_parameters([rclpy.Parameter("rate_hz", value=0.5)])
    node._play()
    assert node._timer.timer_period_ns == 2_000_000_000


def test_other_images_are_played_at_ten_a_second(make_node, folder):
    node = make_node(CameraPlayerNode, path=str(folder))
    node.start()
    node._play()
    assert node._timer.timer_period_ns == 100_000_000


def test_a_rate_next_to_zero_is_rejected(make_node):
    node = make_node(CameraPlayerNode)
    [result] = node.set_parameters([rclpy.Parameter("rate_hz", value=1e-9)])
    assert not result.successful
    assert "below the minimum of 0.01; 0 selects" in result.reason


def test_a_missing_depth_image_is_named_and_skipped(ros, start_node, make_client, scenes):
    (scenes / "depth" / "000000.png").unlink()
    client = make_client(NAMESPACE)
    images = client.subscribe(Image, "image_raw", qos_profile_sensor_data)
    with start_node("camera_player_node", NAMESPACE, path=scenes, rate_hz=30.0) as node:
        assert client.spin_until(lambda: len(images) >= 4)
        missing = f"cannot read the depth image {scenes}/depth/000000.png: No such file"
        assert missing in node.log_text()
    assert all(bgr_from_message(image).mean() > 20 for image in images)


def test_annotations_that_are_not_json_are_named(ros, start_node, scenes):
    (scenes / "annotations.json").write_text("{")
    with start_node("camera_player_node", NAMESPACE, path=scenes) as node:
        assert f"cannot configure: {scenes}/annotations.json is not JSON" in node.log_text()
        node.check()


def test_without_loop_it_stops_at_the_end(ros, start_node, make_client, folder):
    with start_node(
        "camera_player_node", NAMESPACE, path=folder, rate_hz=50.0, loop=False
    ) as node:
        client = make_client(NAMESPACE)
        assert client.spin_until(lambda: "playback ended" in node.log_text())
        images = client.subscribe(Image, "image_raw", qos_profile_sensor_data)
        assert not client.spin_until(lambda: images, 0.5)
        node.check()


def test_a_rate_that_is_raised_counts_from_now_on(ros, start_node, make_client, folder):
    client = make_client(NAMESPACE)
    images = client.subscribe(Image, "image_raw", qos_profile_sensor_data)
    with start_node("camera_player_node", NAMESPACE, path=folder, rate_hz=0.01):
        value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=20.0)
        request = SetParameters.Request(parameters=[Parameter(name="rate_hz", value=value)])
        [result] = client.call(SetParameters, "camera_player_node/set_parameters", request).results
        assert result.successful
        # With the initial rate, the first image is due after 100 s.
        assert client.spin_until(lambda: len(images) >= 3, 30)


def test_another_parameter_does_not_put_off_the_next_image(make_node, folder):
    node = make_node(CameraPlayerNode, path=str(folder), rate_hz=0.01)
    node.start()
    # The other timer watches the clock.
    timer = max(node.timers, key=lambda timer: timer.timer_period_ns)
    before_ns = timer.time_until_next_call()
    node.set_parameters([rclpy.Parameter("jpeg_quality", value=50)])
    assert timer.time_until_next_call() < before_ns


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_cannot_be_read_is_named_and_skipped(
    ros, start_node, make_client, folder, name
):
    (folder / name).write_bytes(b"not an image")
    client = make_client(NAMESPACE)
    images = client.subscribe(Image, "image_raw", qos_profile_sensor_data)
    with start_node("camera_player_node", NAMESPACE, path=folder, rate_hz=30.0) as node:
        assert client.spin_until(lambda: len(images) >= 8)
        assert name in node.log_text()
    assert values(images) == {*VALUES} - {VALUES[NAMES.index(name)]}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_becomes_unreadable_while_it_plays_is_named_and_skipped(
    ros, start_node, make_client, folder, name
):
    client = make_client(NAMESPACE)
    images = client.subscribe(Image, "image_raw", qos_profile_sensor_data)
    with start_node("camera_player_node", NAMESPACE, path=folder, rate_hz=30.0) as node:
        assert client.spin_until(lambda: values(images) == {*VALUES})
        (folder / name).write_bytes(b"not an image")
        assert client.spin_until(lambda: name in node.log_text())
        # Messages in queues were read before.
        client.spin_until(lambda: False, 0.5)
        images.clear()
        assert client.spin_until(lambda: len(images) >= 8)
    assert values(images) == {*VALUES} - {VALUES[NAMES.index(name)]}


def test_each_file_that_cannot_be_read_is_named(ros, start_node, make_client, folder):
    for name in NAMES[:2]:
        (folder / name).write_bytes(b"not an image")
    client = make_client(NAMESPACE)
    images = client.subscribe(Image, "image_raw", qos_profile_sensor_data)
    with start_node("camera_player_node", NAMESPACE, path=folder, rate_hz=30.0) as node:
        assert client.spin_until(lambda: len(images) >= 3)
        assert all(name in node.log_text() for name in NAMES[:2])
        assert NAMES[2] not in node.log_text()


def test_a_folder_of_which_nothing_can_be_read_is_rejected(ros, start_node, folder):
    for name in NAMES:
        (folder / name).write_bytes(b"not an image")
    with start_node("camera_player_node", NAMESPACE, path=folder) as node:
        assert "cannot configure: none of 3 images can be read" in node.log_text()
        assert str(folder / NAMES[0]) in node.log_text()
        node.check()


def test_an_empty_folder_is_rejected(ros, start_node, tmp_path):
    with start_node("camera_player_node", NAMESPACE, path=tmp_path) as node:
        assert f"cannot configure: the folder {tmp_path} holds no images" in node.log_text()
        node.check()


@pytest.mark.parametrize("path", ["", "/nonexistent.mp4", "/etc/passwd"])
def test_what_cannot_be_played_is_named_and_the_node_stays_up(ros, start_node, make_client, path):
    with start_node("camera_player_node", NAMESPACE, path=f'"{path}"') as node:
        client = make_client(NAMESPACE)
        assert client.spin_until(lambda: "cannot configure" in node.log_text())
        assert path in node.log_text()
        assert "Traceback" not in node.log_text()
        node.check()


def test_an_image_too_large_for_a_jpeg_is_named_once_and_goes_on_raw(
    ros, start_node, make_client, folder
):
    cv2.imwrite(str(folder / "wide.png"), np.full((2, 65536, 3), 7, np.uint8))
    client = make_client(NAMESPACE)
    images = client.subscribe(Image, "image_raw", qos_profile_sensor_data)
    compressed = client.subscribe(CompressedImage, "image_raw/compressed", qos_profile_sensor_data)
    with start_node("camera_player_node", NAMESPACE, path=folder, rate_hz=30.0) as node:
        assert client.spin_until(
            lambda: sum(image.width == 65536 for image in images) >= 2 and len(compressed) >= 8
        )
        node.check()
        wanted = f"cannot compress {folder}/wide.png: the image has 65536 x 2 pixels"
        assert node.log_text().count(wanted) == 1
    assert {int(image.width) for image in images} == {64, 65536}
    assert values(compressed) == {*VALUES}


def test_a_folder_that_becomes_empty_is_named_and_played_again_once_it_is_not(
    make_node, folder, monkeypatch
):
    node = make_node(CameraPlayerNode, path=str(folder), rate_hz=0.01)
    node.start()
    published = []
    monkeypatch.setattr(node, "_publish", lambda frame: published.append(frame.path.name))
    contents = {name: (folder / name).read_bytes() for name in NAMES}
    for _ in NAMES:
        node._play()
    for name in NAMES:
        (folder / name).unlink()
    node._play()
    node._play()
    assert published == [*NAMES]
    assert f"the folder {folder} holds no images" in node._reported
    (folder / NAMES[1]).write_bytes(contents[NAMES[1]])
    node._play()
    assert published == [*NAMES, NAMES[1]]


def test_a_folder_that_goes_away_is_named_and_the_node_stays_up(make_node, folder):
    node = make_node(CameraPlayerNode, path=str(folder), rate_hz=0.01)
    node.start()
    for name in NAMES:
        (folder / name).unlink()
    folder.rmdir()
    for _ in range(2 * len(NAMES)):
        node._play()
    assert f"there is no file or folder {folder}" in node._reported
