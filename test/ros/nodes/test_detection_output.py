# SPDX-License-Identifier: Apache-2.0
"""Detections as vision_msgs."""

import sys

import pytest
from mrmllm_ros.msg import Detection, DetectionArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header

from mrmllm_ros.ros.nodes.detection_output import (
    DetectionOutput,
    LabelOutput,
    VisionMessagesMissingError,
)

NAMESPACE = "/test_detection_output"
MESSAGE = DetectionArray(
    header=Header(frame_id="optical"),
    detections=[Detection(id=1, label="cat", score=0.5), Detection(id=2, has_pose=True)],
)


@pytest.fixture
def make_node(ros):
    """Function that creates an active lifecycle node with remappings."""
    nodes = []

    def make(*remaps):
        arguments = ["--ros-args", *(word for remap in remaps for word in ("-r", remap))]
        nodes.append(LifecycleNode("detector", namespace=NAMESPACE, cli_args=arguments))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def activate(node):
    node.trigger_configure()
    node.trigger_activate()


def topics(node):
    names = node.get_publisher_names_and_types_by_node(node.get_name(), node.get_namespace())
    return {name for name, _ in names if not name.startswith(f"{NAMESPACE}/detector/")}


def publish_until(client, publish, received):
    def publish_and_see():
        publish()
        return received

    assert client.spin_until(publish_and_see)


@pytest.fixture
def no_vision_msgs(monkeypatch):
    """Simulate that vision_msgs is not installed."""
    monkeypatch.setitem(sys.modules, "vision_msgs", None)
    monkeypatch.setitem(sys.modules, "vision_msgs.msg", None)
    monkeypatch.delitem(sys.modules, "mrmllm_ros.ros.conversions.vision_messages", raising=False)
    monkeypatch.delattr("mrmllm_ros.ros.conversions.vision_messages", raising=False)
    monkeypatch.setenv("ROS_DISTRO", "jazzy")


@pytest.fixture
def vision_msgs():
    return pytest.importorskip(
        "vision_msgs.msg", reason="vision_msgs is not installed: it has no wheels"
    )


def test_unless_asked_for_there_is_our_own_topic_only(make_node, make_client, no_vision_msgs):
    node = make_node()
    output = DetectionOutput(node, "detections", vision_msgs=False)
    labels = LabelOutput(node, vision_msgs=False)
    activate(node)
    labels.publish(["cat"], 0.5)
    client = make_client(NAMESPACE)
    received = client.subscribe(DetectionArray, "detections")
    publish_until(client, lambda: output.publish(MESSAGE), received)
    assert received[0] == MESSAGE
    assert not {name for name in topics(node) if "vision" in name or "label" in name}


@pytest.mark.parametrize(
    "make_output",
    [
        lambda node: DetectionOutput(node, "detections", vision_msgs=True),
        lambda node: LabelOutput(node, vision_msgs=True),
    ],
    ids=["detections", "labels"],
)
def test_without_the_package_the_error_names_the_one_to_install(
    make_node, no_vision_msgs, make_output
):
    node = make_node()
    before = topics(node)
    with pytest.raises(VisionMessagesMissingError, match="apt install ros-jazzy-vision-msgs"):
        make_output(node)
    # Discovery of the topics of the node may take a moment.
    own = {"/parameter_events", "/rosout"}
    assert topics(node) - own == before - own


@pytest.mark.parametrize(("in_3d", "kind", "count"), [(False, "2D", 2), (True, "3D", 1)])
def test_the_counterpart_follows_the_topic_wherever_it_is_remapped(
    make_node, make_client, vision_msgs, in_3d, kind, count
):
    node = make_node("detections:=/stack/objects")
    output = DetectionOutput(node, "detections", vision_msgs=True, in_3d=in_3d)
    activate(node)
    client = make_client(NAMESPACE)
    message_type = getattr(vision_msgs, f"Detection{kind}Array")
    received = client.subscribe(message_type, "/stack/objects/vision_msgs")
    publish_until(client, lambda: output.publish(MESSAGE), received)
    assert received[0].header == MESSAGE.header
    assert len(received[0].detections) == count
    output.destroy()
    assert not {name for name in topics(node) if name.startswith("/stack")}


def test_subscribers_are_seen_on_the_topic_itself(make_node, make_client):
    output = DetectionOutput(make_node(), "detections", vision_msgs=False)
    assert not output.has_subscribers
    client = make_client(NAMESPACE)
    client.subscribe(DetectionArray, "detections")
    assert client.spin_until(lambda: output.has_subscribers)
    output.destroy()


def test_subscribers_are_seen_on_the_topic_of_vision_msgs(make_node, make_client, vision_msgs):
    output = DetectionOutput(make_node(), "detections", vision_msgs=True)
    assert not output.has_subscribers
    client = make_client(NAMESPACE)
    client.subscribe(vision_msgs.Detection2DArray, "detections/vision_msgs")
    assert client.spin_until(lambda: output.has_subscribers)
    output.destroy()


def test_who_comes_late_still_gets_the_newest_labels(make_node, make_client, vision_msgs):
    node = make_node()
    output = LabelOutput(node, vision_msgs=True)
    activate(node)
    output.publish(["cat"], 0.5)
    output.publish(["cat", "forklift"], 0.25)
    client = make_client(NAMESPACE)
    late = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    received = client.subscribe(vision_msgs.LabelInfo, "label_info", late)
    assert client.spin_until(lambda: received)
    assert [c.class_name for c in received[-1].class_map] == ["cat", "forklift"]
    output.destroy()
    assert f"{NAMESPACE}/label_info" not in topics(node)


def test_a_node_that_is_not_active_publishes_nothing(make_node, make_client, vision_msgs):
    node = make_node()
    output = DetectionOutput(node, "detections", vision_msgs=True)
    client = make_client(NAMESPACE)
    own = client.subscribe(DetectionArray, "detections")
    counterpart = client.subscribe(vision_msgs.Detection2DArray, "detections/vision_msgs")
    counted = f"{NAMESPACE}/detections/vision_msgs"
    assert client.spin_until(lambda: node.count_subscribers(counted))
    output.publish(MESSAGE)
    assert not client.spin_until(lambda: own or counterpart, 0.5)
