# SPDX-License-Identifier: Apache-2.0
"""Localizer with detections, depth and camera infos of the test."""

import array
from functools import partial

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from mrmllm_ros.msg import BoundingBox2D, Detection, DetectionArray, ObjectDistances
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from mrmllm_ros.localization.depth import DepthImage
from mrmllm_ros.ros.conversions.camera_info import camera_matrix, pinhole_camera_info
from mrmllm_ros.ros.conversions.location_messages import matrix_from_quaternion
from mrmllm_ros.ros.conversions.point_clouds import cloud_from_objects

NAMESPACE = "/test_localizer_node"
SIZE_WH = (160, 120)
FOV_DEG = 60.0
# A screen of 0.4 m x 0.3 m at 1.5 m, and a wall 3 m behind it.
SCREEN_M, WALL_M = 1.5, 4.5
FOCAL = pinhole_camera_info(Header(), SIZE_WH, FOV_DEG).k[0]
MIDDLE = np.array(SIZE_WH) / 2
HALF_SIZE = np.array([0.4, 0.3]) / SCREEN_M * FOCAL / 2
FRAME = "optical"


def scene(scale=1):
    """Depth (H, W) of the screen in front of the wall, in meters."""
    width, height = SIZE_WH
    depth = np.full((height, width), WALL_M, np.float32)
    left, top, right, bottom = np.round([*(MIDDLE - HALF_SIZE), *(MIDDLE + HALF_SIZE)]).astype(int)
    depth[top:bottom, left:right] = SCREEN_M
    return depth[::scale, ::scale]


def depth_image(header, depth, encoding="32FC1"):
    pixels = (depth * 1000).astype("<u2") if encoding == "16UC1" else depth.astype("<f4")
    height, width = depth.shape
    image = Image(
        header=header, height=height, width=width, encoding=encoding, step=pixels.itemsize * width
    )
    image.data = array.array("B", np.ascontiguousarray(pixels).tobytes())
    return image


def detections(header):
    """Detections of the screen [1] and of a region [2] that may have no depth."""
    screen = BoundingBox2D(
        center_x=80.0, center_y=60.0, size_x=2 * HALF_SIZE[0], size_y=2 * HALF_SIZE[1]
    )
    corner = BoundingBox2D(center_x=8.0, center_y=8.0, size_x=12.0, size_y=12.0)
    return DetectionArray(
        header=header,
        camera="front",
        image_width=SIZE_WH[0],
        image_height=SIZE_WH[1],
        detections=[
            Detection(id=1, track_id="7", label="tv", score=0.5, bbox=screen),
            Detection(id=2, label="cup", score=0.5, bbox=corner),
        ],
    )


class Feed:
    """Publishes inputs of the localizer and waits for its outputs."""

    # Continues from test to test, since they share the node.
    sec = 100

    def __init__(self, client, node):
        self.client, self.node = client, node
        self._read = len(node.log_text())
        make = client.node.create_publisher
        self.detections = make(DetectionArray, "enriched_detections", 10)
        self.infos = make(CameraInfo, "camera_info", qos_profile_sensor_data)
        self.depth_infos = make(CameraInfo, "depth/camera_info", qos_profile_sensor_data)
        self.depths = make(Image, "depth/image_raw", qos_profile_sensor_data)
        self.results = client.subscribe(DetectionArray, "detections_3d")
        self.clouds = client.subscribe(PointCloud2, "object_points")
        self.distances = client.subscribe(ObjectDistances, "object_distances")
        wanted = (self.detections, self.infos, self.depth_infos, self.depths)
        assert client.spin_until(lambda: all(p.get_subscription_count() for p in wanted), 60)

    def header(self, offset_ns=0, frame_id=FRAME):
        return Header(stamp=Time(sec=self.sec, nanosec=500_000_000 + offset_ns), frame_id=frame_id)

    def publish(
        self, make_depths, info_size=SIZE_WH, depth_info=None, depth_first=True, mask=None
    ):
        """Publish the messages of an image, one second after the previous one.

        Args:
            make_depths: Function from this feed to the depth images to publish.
            info_size: Image size in `camera_info`.
            depth_info: Image size in `depth/camera_info`; None for no message.
            depth_first: Whether depth comes before the detections.
            mask: Fields of the screen's mask, where it has one.

        Returns:
            The image's header.
        """
        Feed.sec += 1
        header = self.header()
        self.infos.publish(pinhole_camera_info(header, info_size, FOV_DEG))
        if depth_info is not None:
            self.depth_infos.publish(pinhole_camera_info(header, depth_info, FOV_DEG))
        self.client.spin_until(lambda: False, 0.1)
        message = detections(header)
        for name, value in (mask or {}).items():
            setattr(message.detections[0], name, value)
        publish_all = [partial(self.depths.publish, depth) for depth in make_depths(self)]
        publish_all.insert(
            len(publish_all) if depth_first else 0,
            partial(self.detections.publish, message),
        )
        for publish in publish_all:
            publish()
            self.client.spin_until(lambda: False, 0.02)
        return header

    def ask(self, make_depths, **options):
        """Publish until the output has arrived."""
        for _ in range(30):
            header = self.publish(make_depths, **options)
            if self.client.spin_until(
                lambda header=header: all(
                    arrived and arrived[-1].header.stamp == header.stamp
                    for arrived in (self.results, self.clouds)
                ),
                3.0,
            ):
                return self.results[-1], self.clouds[-1]
        raise AssertionError(f"no detections_3d\n{self.node.log_text()}")

    def locate(self, make_depths, **options):
        """Publish until the screen is located; discovery may lose the first camera infos."""
        for _ in range(30):
            result, cloud = self.ask(make_depths, **options)
            if result.detections[0].has_pose:
                return result, cloud
        raise AssertionError(self.log())

    def log(self):
        """Log of the node since the start of this feed."""
        return self.node.log_text()[self._read :]


@pytest.fixture(scope="module")
def localizer(ros, start_node):
    with start_node("localizer_node", NAMESPACE) as node:
        yield node


@pytest.fixture
def feed(localizer, make_client):
    yield Feed(make_client(NAMESPACE), localizer)
    localizer.check()


def with_hole(feed, encoding="32FC1", scale=1, offset_ns=0, frame_id=FRAME):
    depth = scene(scale)
    depth[: 20 // scale, : 20 // scale] = 0
    return depth_image(feed.header(offset_ns, frame_id), depth, encoding)


def check_screen(result):
    screen, corner = result.detections
    assert screen.has_pose
    position, size = screen.pose.position, screen.size
    np.testing.assert_allclose((position.x, position.y, position.z), (0, 0, SCREEN_M), atol=0.02)
    np.testing.assert_allclose((size.x, size.y), (0.4, 0.3), rtol=0.1)
    assert size.z > 0
    # The region has no depth.
    assert not corner.has_pose
    assert corner.size == Detection().size


def distances_beside(feed, result):
    """Distances of the same image as a message of `detections_3d`."""

    def found():
        stamp = result.header.stamp
        return next((d for d in feed.distances if d.header.stamp == stamp), None)

    assert feed.client.spin_until(lambda: found() is not None, 20)
    return found()


def check_nothing_located(feed, reason, make_depths, **options):
    """Ask until the log gives the reason: it keeps quiet for a while after another one.

    What is published best effort, such as camera_info, may come behind the detections.
    """
    for _ in range(30):
        result, cloud = feed.ask(make_depths, **options)
        if feed.client.spin_until(lambda: reason in feed.log(), 1):
            break
    assert reason in feed.log()
    result, cloud = feed.ask(make_depths, **options)
    assert [d.has_pose for d in result.detections] == [False, False]
    assert cloud.width == 0


def test_objects_get_poses_and_sizes_and_keep_all_else(feed):
    for encoding in ("32FC1", "16UC1"):
        result, cloud = feed.locate(lambda feed, e=encoding: [with_hole(feed, e)])
        check_screen(result)
        expected = detections(result.header)
        screen_m = result.detections[0].distance
        for found, sent in zip(result.detections, expected.detections, strict=True):
            found.has_pose, found.pose, found.size = sent.has_pose, sent.pose, sent.size
            found.distance = sent.distance
        assert result == expected
        distances = distances_beside(feed, result)
        assert distances.header == result.header
        assert distances.track_ids == ["7"]
        assert distances.distances.tolist() == [screen_m]
        assert cloud.header.frame_id == FRAME
        points = np.frombuffer(cloud.data, [("xyz", "3f4"), ("id", "u4")])
        assert set(points["id"]) == {1}
        np.testing.assert_allclose(points["xyz"][:, 2], SCREEN_M, atol=1e-3)
    assert "no certain depth for 1 of 2 objects" in feed.log()


def test_a_mask_says_which_part_of_the_box_is_the_object_and_is_published_again(feed):
    # The left half of the screen.
    half_wide, half_high = map(int, HALF_SIZE)
    left, top = (MIDDLE - HALF_SIZE).astype(int).tolist()
    size = {"mask_width": half_wide, "mask_height": 2 * half_high}
    runs = array.array("I", [0, 2 * half_high * half_wide])
    mask = {"mask_x": left, "mask_y": top, **size, "mask": runs}
    whole, _ = feed.locate(lambda feed: [with_hole(feed)])
    result, _ = feed.locate(lambda feed: [with_hole(feed)], mask=mask)
    half = result.detections[0]
    assert {name: getattr(half, name) for name in mask} == mask
    assert half.size.x == pytest.approx(whole.detections[0].size.x / 2, rel=0.1)
    assert half.size.y == pytest.approx(whole.detections[0].size.y, rel=0.1)
    assert half.pose.position.x < whole.detections[0].pose.position.x


def test_a_smaller_depth_image_is_scaled(feed):
    # With the camera info of the color camera first, then with its own.
    for info in (None, (SIZE_WH[0] // 2, SIZE_WH[1] // 2)):
        result, _ = feed.locate(lambda feed: [with_hole(feed, scale=2)], depth_info=info)
        check_screen(result)


def test_a_calibration_of_a_larger_image_is_scaled(feed):
    result, _ = feed.locate(lambda feed: [with_hole(feed)], info_size=(640, 480))
    check_screen(result)


def test_of_several_depth_images_the_nearest_in_time_is_taken(feed):
    def depths(feed):
        near, far = with_hole(feed, offset_ns=-5_000_000), with_hole(feed, offset_ns=30_000_000)
        far.data = array.array("B", (np.frombuffer(far.data, "f4") * 2).tobytes())
        return [near, far]

    # No message is lost after discovery.
    feed.locate(lambda feed: [with_hole(feed)])
    result, _ = feed.locate(depths)
    check_screen(result)


def test_detections_wait_for_depth_that_comes_later(feed):
    result, _ = feed.locate(lambda feed: [with_hole(feed)], depth_first=False)
    check_screen(result)


def test_detections_do_not_wait_for_depth_for_ever(feed):
    feed.locate(lambda feed: [with_hole(feed)])
    sent = [feed.publish(lambda feed: []) for _ in range(8)]
    assert feed.client.spin_until(lambda: feed.results[-1].header in sent), feed.log()
    assert not feed.results[-1].detections[0].has_pose


def test_depth_of_another_time_is_none_and_the_detections_still_come(feed):
    check_nothing_located(
        feed,
        "/depth/image_raw has a stamp within 0.05 s of the image; the newest is 0.1 s newer",
        lambda feed: [with_hole(feed, offset_ns=100_000_000)],
    )


def test_time_may_jump_back(feed):
    result, _ = feed.locate(lambda feed: [with_hole(feed)])
    check_screen(result)
    before, Feed.sec = Feed.sec, 10
    # The first detections may arrive before the depth with the jump, and remain without.
    result, _ = feed.locate(lambda feed: [with_hole(feed)])
    assert result.header.stamp.sec < before
    check_screen(result)
    assert "time has jumped back" in feed.log()


def test_what_waited_before_a_jump_back_does_not_hold_up_what_comes_after(feed):
    feed.locate(lambda feed: [with_hole(feed)])
    # No newer depth arrives before the jump, so these detections wait.
    waiting = feed.publish(lambda feed: [])
    Feed.sec -= 50
    header = feed.publish(lambda feed: [with_hole(feed)])
    assert feed.client.spin_until(lambda: feed.results[-1].header == header, 5), feed.log()
    assert waiting in [each.header for each in feed.results]


def test_depth_of_another_frame_is_rejected(feed):
    check_nothing_located(
        feed,
        "register depth to color",
        lambda feed: [with_hole(feed, frame_id="depth_optical")],
    )


def test_an_image_that_is_not_depth_is_rejected(feed):
    def colors(feed):
        image = with_hole(feed)
        image.encoding = "rgb8"
        return [image]

    check_nothing_located(feed, "encoding 'rgb8' is not depth", colors)
    # The next image is located.
    result, _ = feed.locate(lambda feed: [with_hole(feed)])
    check_screen(result)


def test_sizes_of_another_shape_are_rejected(feed):
    reason = "640 x 360 pixels, but the image has 160 x 120"
    topic = f"{NAMESPACE}/camera_info: camera_info has"
    check_nothing_located(
        feed, f"{topic} {reason}", lambda feed: [with_hole(feed)], info_size=(640, 360)
    )


def test_a_camera_info_of_the_depth_that_does_not_fit_is_named_by_its_topic(feed):
    reason = f"{NAMESPACE}/depth/camera_info: camera_info has 640 x 360 pixels"
    check_nothing_located(feed, reason, lambda feed: [with_hole(feed)], depth_info=(640, 360))


def test_it_goes_on_after_having_been_deactivated(feed):
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert feed.client.call(ChangeState, "localizer_node/change_state", request).success
    result, _ = feed.locate(lambda feed: [with_hole(feed)])
    check_screen(result)


def test_a_tolerance_and_a_limit_can_change_while_it_works(feed):
    def set_double(name, value):
        value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
        request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
        [result] = feed.client.call(
            SetParameters, "localizer_node/set_parameters", request
        ).results
        return result

    def late(feed):
        return [with_hole(feed, offset_ns=100_000_000)]

    assert set_double("stamp_tolerance_s", 0.2).successful
    result, _ = feed.locate(late)
    check_screen(result)
    assert set_double("max_depth_m", 1.0).successful
    result, _ = feed.ask(late)
    assert not result.detections[0].has_pose
    refused = set_double("max_depth_m", -1.0)
    assert not refused.successful
    for name, value in (("stamp_tolerance_s", 0.05), ("max_depth_m", 100.0)):
        assert set_double(name, value).successful


def test_without_a_camera_info_the_log_names_its_topic(ros, start_node, make_client):
    namespace = f"{NAMESPACE}_uncalibrated"
    client = make_client(namespace)
    with start_node("localizer_node", namespace) as node:
        feed = Feed(client, node)
        feed.infos = feed.client.node.create_publisher(CameraInfo, "elsewhere", 1)
        reason = f"no camera_info received on {namespace}/camera_info"
        check_nothing_located(feed, reason, lambda feed: [with_hole(feed)])


def test_points_without_their_reader_leave_the_node_unconfigured(
    ros, start_node, make_client, monkeypatch, tmp_path
):
    broken = tmp_path / "sensor_msgs_py"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ModuleNotFoundError('hidden')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    namespace = f"{NAMESPACE}_no_reader"
    client = make_client(namespace)
    with start_node("localizer_node", namespace, source="points") as node:
        assert client.spin_until(lambda: "apt install ros-" in node.log_text(), 60)
        state = client.call(GetState, "localizer_node/get_state", GetState.Request())
        assert state.current_state.label == "unconfigured"


def test_points_of_the_camera_frame_locate_objects(ros, start_node, make_client):
    pytest.importorskip("sensor_msgs_py.point_cloud2", reason="sensor_msgs_py is not installed")
    namespace = f"{NAMESPACE}_points"
    client = make_client(namespace)
    matrix = camera_matrix(pinhole_camera_info(Header(), SIZE_WH, FOV_DEG), SIZE_WH)
    with start_node("localizer_node", namespace, source="points") as node:
        points = client.node.create_publisher(PointCloud2, "points", qos_profile_sensor_data)
        infos = client.node.create_publisher(CameraInfo, "camera_info", qos_profile_sensor_data)
        objects = client.node.create_publisher(DetectionArray, "enriched_detections", 10)
        results = client.subscribe(DetectionArray, "detections_3d")
        assert client.spin_until(
            lambda: all(p.get_subscription_count() for p in (points, infos, objects)), 60
        )
        depth = scene()
        depth[:20, :20] = 0
        seen = DepthImage(depth, matrix, matrix).within(np.array([0, 0, *SIZE_WH]))

        def ask(header, frame_id):
            infos.publish(pinhole_camera_info(header, SIZE_WH, FOV_DEG))
            client.spin_until(lambda: False, 0.1)
            cloud_header = Header(stamp=header.stamp, frame_id=frame_id)
            points.publish(cloud_from_objects(cloud_header, {0: seen.points(matrix)}))
            objects.publish(detections(header))
            return client.spin_until(lambda: bool(results) and results[-1].header == header, 3.0)

        assert any(
            ask(Header(stamp=Time(sec=sec), frame_id=FRAME), FRAME)
            and results[-1].detections[0].has_pose
            for sec in range(1, 30)
        ), node.log_text()
        check_screen(results[-1])
        # The log is throttled after another reason.
        assert any(
            ask(Header(stamp=Time(sec=sec), frame_id=FRAME), "lidar")
            and client.spin_until(lambda: "'lidar'" in node.log_text(), 1)
            for sec in range(31, 60)
        ), node.log_text()
        assert not results[-1].detections[0].has_pose


def feed_with_target(client, node):
    """A feed, and a function that publishes until a condition on the newest result holds."""
    feed = Feed(client, node)

    def ask_until(holds):
        for _ in range(30):
            result, cloud = feed.ask(lambda feed: [with_hole(feed)])
            if holds(result):
                return result, cloud
        raise AssertionError(feed.log())

    return feed, ask_until


def test_poses_and_points_are_in_the_target_frame(ros, start_node, make_client):
    tf2_ros = pytest.importorskip("tf2_ros", reason="tf2_ros is not installed")
    namespace = f"{NAMESPACE}_target"
    client = make_client(namespace)
    broadcaster = tf2_ros.StaticTransformBroadcaster(client.node)
    # The camera looks along x of the base, 0.2 m before and 1 m above its origin.
    camera = TransformStamped(header=Header(frame_id="base"), child_frame_id=FRAME)
    camera.transform.translation = Vector3(x=0.2, z=1.0)
    camera.transform.rotation = Quaternion(x=-0.5, y=0.5, z=-0.5, w=0.5)
    with start_node("localizer_node", namespace, target_frame="base") as node:
        broadcaster.sendTransform(camera)
        feed, ask_until = feed_with_target(client, node)
        result, cloud = ask_until(lambda result: result.detections[0].has_pose)
        assert result.header.frame_id == cloud.header.frame_id == "base"
        screen, corner = result.detections
        position, size = screen.pose.position, screen.size
        np.testing.assert_allclose(
            (position.x, position.y, position.z), (SCREEN_M + 0.2, 0, 1.0), atol=0.02
        )
        # Along the axes of the camera, whose rotation is that of the pose.
        np.testing.assert_allclose((size.x, size.y), (0.4, 0.3), rtol=0.1)
        turned, wanted = (
            matrix_from_quaternion(q) for q in (screen.pose.orientation, camera.transform.rotation)
        )
        np.testing.assert_allclose(turned, wanted, atol=1e-6)
        assert screen.distance == pytest.approx(SCREEN_M, abs=0.02)
        # Distances are from the camera, and their header is that of the image.
        distances = distances_beside(feed, result)
        assert distances.header.frame_id == FRAME
        assert distances.distances.tolist() == [screen.distance]
        assert not corner.has_pose
        points = np.frombuffer(cloud.data, [("xyz", "3f4"), ("id", "u4")])["xyz"]
        np.testing.assert_allclose(points[:, 0], SCREEN_M + 0.2, atol=1e-3)


def test_an_unknown_target_frame_leaves_the_header_and_no_pose(ros, start_node, make_client):
    namespace = f"{NAMESPACE}_no_target"
    client = make_client(namespace)
    with start_node("localizer_node", namespace, target_frame="nowhere") as node:
        feed, ask_until = feed_with_target(client, node)
        result, cloud = ask_until(lambda _: "no transform from" in feed.log())
        assert result.header.frame_id == cloud.header.frame_id == FRAME
        assert [d.has_pose for d in result.detections] == [False, False]
        assert cloud.width == 0
        assert "'nowhere'" in feed.log()
