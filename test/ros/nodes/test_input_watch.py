# SPDX-License-Identifier: Apache-2.0
"""Warnings about inputs without messages."""

import pytest

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from mrmllm_ros.msg import DetectionArray
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mrmllm_ros.ros.nodes import input_watch
from mrmllm_ros.ros.nodes.camera_player_node import CameraPlayerNode
from mrmllm_ros.ros.nodes.image_input import subscribe_to_images
from mrmllm_ros.ros.nodes.input_watch import InputWatch
from mrmllm_ros.ros.nodes.localizer_node import LocalizerNode
from mrmllm_ros.ros.nodes.visualizer_node import VisualizerNode

NAMESPACE = "/test_input_watch"
TOPIC = f"{NAMESPACE}/eye"
TIMEOUT_S = 5.0


class Log:
    """Fake logger that keeps warnings."""

    def __init__(self):
        self.warnings = []

    def warning(self, text, **_):
        self.warnings.append(text)

    def info(self, text, **_):
        pass

    def error(self, text, **_):
        raise AssertionError(text)


class Watched:
    """Watch with a fake clock."""

    def __init__(self, client, log):
        self.client = client
        self.node = client.node
        self.log = log
        self.now_s = 100.0
        self.watch = InputWatch(self.node, lambda: TIMEOUT_S, lambda: self.now_s)
        self.publishers = []

    def images(self, transport="raw", **options):
        def ignore(message):
            pass

        subscription = subscribe_to_images(self.node, transport, ignore, TOPIC)
        return self.watch.add("image", subscription, **options)

    def publish_by(self, node, message_type, topic=TOPIC, qos=qos_profile_sensor_data):
        """Create a publisher in another node and wait until it is discovered."""
        publisher = node.create_publisher(message_type, topic, qos)
        known = self.node.get_publishers_info_by_topic
        assert self.client.spin_until(
            lambda: [endpoint.node_name for endpoint in known(topic)] == [node.get_name()]
        )
        return publisher

    def after(self, seconds):
        """Advance the clock, check, and return the warnings."""
        self.log.warnings.clear()
        self.now_s += seconds
        self.watch.check()
        return list(self.log.warnings)


@pytest.fixture
def watched(make_client, monkeypatch):
    client, log = make_client(NAMESPACE), Log()
    monkeypatch.setattr(client.node, "get_logger", lambda: log)
    published = input_watch._published
    # Ignores other nodes of the domain.
    monkeypatch.setattr(
        input_watch,
        "_published",
        lambda node: {k: v for k, v in published(node).items() if k.startswith(NAMESPACE)},
    )
    watched = Watched(client, log)
    # Only the tests call `check`.
    watched.watch.destroy()
    return watched


@pytest.fixture
def camera(ros):
    """Node `driver` of another participant."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("driver", namespace=NAMESPACE, context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def receive(watched, publisher, message):
    """Publish until a message is received."""
    own = watched.watch._inputs["image"]
    assert watched.client.spin_until(publisher.get_subscription_count)

    def has_come():
        publisher.publish(message)
        return own.has_received

    own.has_received = False
    assert watched.client.spin_until(has_come)


def test_a_topic_that_nobody_publishes_is_named_after_the_timeout(watched):
    watched.images()
    assert watched.after(TIMEOUT_S - 0.1) == []
    [warning] = watched.after(0.1)
    assert warning.startswith(f"no image for 5 s: {TOPIC} has no publisher; ")


def test_a_silence_that_lasts_is_named_again_every_half_minute(watched):
    watched.images()
    assert len(watched.after(TIMEOUT_S)) == 1
    assert watched.after(29.0) == []
    [warning] = watched.after(1.0)
    assert "no image for 35 s" in warning


def test_images_on_the_compressed_twin_are_found(watched, camera):
    watched.images()
    watched.publish_by(camera, CompressedImage, f"{TOPIC}/compressed")
    [warning] = watched.after(TIMEOUT_S)
    assert f"{TOPIC}/compressed has one: set image_transport to compressed" in warning


def test_images_on_the_raw_twin_are_found(watched, camera):
    watched.images("compressed")
    watched.publish_by(camera, Image)
    [warning] = watched.after(TIMEOUT_S)
    assert f"{TOPIC}/compressed has no publisher" in warning
    assert f"{TOPIC} has one: set image_transport to raw" in warning


def test_a_compressed_topic_with_one_compressed_too_many_is_found(watched, camera):
    watched.images("compressed")
    watched.publish_by(camera, CompressedImage)
    [warning] = watched.after(TIMEOUT_S)
    assert f"{TOPIC} has one: remove the last /compressed" in warning


def test_topics_of_the_same_type_are_listed(watched, camera):
    watched.images()
    watched.publish_by(camera, Image, f"{NAMESPACE}/other")
    [warning] = watched.after(TIMEOUT_S)
    assert f"topics with sensor_msgs/msg/Image: {NAMESPACE}/other" in warning


def test_compressed_images_elsewhere_are_listed_where_there_are_no_raw_ones(watched, camera):
    watched.images()
    watched.publish_by(camera, CompressedImage, f"{NAMESPACE}/other/compressed")
    [warning] = watched.after(TIMEOUT_S)
    assert f"(image_transport: compressed): {NAMESPACE}/other/compressed" in warning


@pytest.mark.parametrize(
    ("transport", "message_type", "hint"),
    [
        ("raw", CompressedImage, "must end with /compressed"),
        ("raw", CameraInfo, "remap to a topic of the right type"),
    ],
)
def test_a_publisher_of_another_type_is_named_with_both_types(
    transport, message_type, hint, watched, camera
):
    watched.images(transport)
    watched.publish_by(camera, message_type)
    [warning] = watched.after(TIMEOUT_S)
    kind = message_type.__name__
    assert f"{TOPIC} is published as sensor_msgs/msg/{kind}, but sensor_msgs/msg/Im" in warning
    assert hint in warning


def test_a_publisher_that_sends_nothing_is_named(watched, camera):
    watched.images()
    watched.publish_by(camera, Image)
    [warning] = watched.after(TIMEOUT_S)
    assert f"{TOPIC} is published by {NAMESPACE}/driver; check that it sends" in warning


def test_incompatible_qos_is_named(watched, camera):
    subscription = watched.node.create_subscription(
        DetectionArray, "found", lambda _: None, QoSProfile(depth=5)
    )
    watched.watch.add("enriched_detections", subscription, results=True)
    best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    watched.publish_by(camera, DetectionArray, f"{NAMESPACE}/found", best_effort)
    [warning] = watched.after(60.0)
    assert f"the QoS of the publisher {NAMESPACE}/driver" in warning
    assert "Best effort" in warning


def test_there_is_no_warning_while_messages_come_and_one_when_they_stop(watched, camera):
    watched.images()
    publisher = watched.publish_by(camera, Image)
    for _ in range(3):
        receive(watched, publisher, Image())
        assert watched.after(TIMEOUT_S - 1) == []
    [warning] = watched.after(1.0)
    assert "no image for 5 s" in warning
    receive(watched, publisher, Image())
    assert watched.after(TIMEOUT_S - 1) == []
    assert len(watched.after(1.0)) == 1


def test_of_what_is_needed_once_one_message_is_enough(watched, camera):
    watched.images(once=True)
    assert len(watched.after(TIMEOUT_S)) == 1
    receive(watched, watched.publish_by(camera, Image), Image())
    assert watched.after(1000.0) == []


def test_results_may_pause_and_their_publisher_may_come_late(watched, camera):
    watched.images(results=True)
    assert watched.after(59.0) == []
    [warning] = watched.after(1.0)
    assert f"{TOPIC} has no publisher; mrmllm_node publishes it after" in warning
    watched.publish_by(camera, Image)
    assert watched.after(1000.0) == []


def test_what_nobody_needs_is_not_missed(watched):
    needed = []
    watched.images(needed=lambda: bool(needed))
    assert watched.after(1000.0) == []
    needed.append(True)
    assert watched.after(TIMEOUT_S - 0.1) == []
    assert len(watched.after(0.1)) == 1


def test_a_simulated_clock_without_time_is_named_until_it_comes(watched, camera):
    watched.node.set_parameters([rclpy.Parameter("use_sim_time", value=True)])
    [warning] = watched.after(TIMEOUT_S)
    assert (
        "no time on /clock for 5 s: use_sim_time is true, and /clock has no publisher" in warning
    )
    publisher = watched.publish_by(camera, Clock, "/clock")

    def has_time():
        publisher.publish(Clock(clock=rclpy.time.Time(seconds=7).to_msg()))
        return watched.node.get_clock().now().nanoseconds

    assert watched.client.spin_until(has_time)
    assert watched.after(1000.0) == []


def test_without_a_simulated_clock_none_is_missed(watched):
    assert watched.after(1000.0) == []


@pytest.fixture
def warnings_of(make_node, monkeypatch):
    """Function that activates a node and returns its warnings after the timeouts."""

    def warn(node_class, **parameters):
        node, log = make_node(node_class, **parameters), Log()
        monkeypatch.setattr(input_watch, "_LOADING_S", 0.0)
        monkeypatch.setattr(node, "get_logger", lambda: log)
        now_s = [0.0]
        monkeypatch.setattr(InputWatch.__init__, "__defaults__", (lambda: now_s[0],))
        node.start()
        now_s[0] = 1000.0
        node._watch.check()
        return log.warnings

    return warn


def names_in(warnings):
    return {warning.split(" for ")[0].removeprefix("no ") for warning in warnings}


@pytest.mark.parametrize(
    ("source", "topic"), [("depth", "/depth/image_raw"), ("points", "/points")]
)
def test_the_localizer_names_every_input_that_is_missing(source, topic, warnings_of):
    if source == "points":
        pytest.importorskip("sensor_msgs_py", reason="sensor_msgs_py is not installed")
    warnings = warnings_of(LocalizerNode, source=source)
    assert names_in(warnings) == {"enriched_detections", "camera_info", source}
    text = "\n".join(warnings)
    for name in ("/enriched_detections", "/camera_info", topic):
        assert f"{name} has no publisher" in text


def test_the_visualizer_names_every_input_that_is_missing(warnings_of, make_client):
    warnings = warnings_of(VisualizerNode, image_transport="compressed")
    assert names_in(warnings) == {"image", "enriched_detections"}
    assert any("/image_raw/compressed has no publisher" in warning for warning in warnings)


def test_the_player_says_that_a_clock_is_missing_without_which_it_plays_nothing(
    warnings_of, picture
):
    [warning] = warnings_of(CameraPlayerNode, path=picture, use_sim_time=True)
    assert warning.startswith("no time on /clock")
