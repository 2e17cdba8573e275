# SPDX-License-Identifier: Apache-2.0
"""Diagnostics and vision_msgs of a node in this process with fake models."""

import threading

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from mrmllm_ros.msg import DetectionArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mrmllm_ros.ros.conversions.image_messages import image_from_bgr
from mrmllm_ros.ros.nodes.mrmllm_node import MrmllmNode


@pytest.fixture
def start(make_node):
    """Function that creates an active node with an executor thread."""
    executor = SingleThreadedExecutor()
    threads = []

    def make(**parameters):
        node = make_node(MrmllmNode, **parameters)
        node.start()
        executor.add_node(node)
        threads.append(threading.Thread(target=executor.spin))
        threads[-1].start()
        return node

    yield make
    executor.shutdown()
    for thread in threads:
        thread.join()


def play(client, topic):
    """Function that publishes one image."""
    publisher = client.node.create_publisher(Image, topic, qos_profile_sensor_data)
    assert client.spin_until(publisher.get_subscription_count)

    def publish():
        header = Header(stamp=client.node.get_clock().now().to_msg(), frame_id="optical")
        publisher.publish(image_from_bgr(np.full((8, 8, 3), 10, np.uint8), header))

    return publish


def test_every_camera_the_questions_and_the_models_have_a_status(start, make_client):
    client = make_client("/")
    reports = client.subscribe(DiagnosticArray, "/diagnostics")
    node = start(cameras=["front", "rear"], **{"diagnostics.period_s": 0.2})
    publish = play(client, "front/image_raw")

    def front_is_ok():
        publish()
        return reports and reports[-1].status[0].level == DiagnosticStatus.OK

    assert client.spin_until(front_is_ok)
    levels = {status.name: status.level for status in reports[-1].status}
    assert levels == {
        "mrmllm_node: camera front": DiagnosticStatus.OK,
        "mrmllm_node: camera rear": DiagnosticStatus.STALE,
        "mrmllm_node: questions": DiagnosticStatus.OK,
        "mrmllm_node: models": DiagnosticStatus.OK,
    }
    assert "; /rear/image_raw has no publisher; " in reports[-1].status[1].message
    node.trigger_deactivate()
    client.spin_until(lambda: False, 0.2)
    reports.clear()
    assert not client.spin_until(lambda: reports, 1.0)


def test_vision_msgs_come_beside_our_own_with_the_labels(start, make_client):
    vision_msgs = pytest.importorskip(
        "vision_msgs.msg", reason="vision_msgs is not installed: it has no wheels"
    )
    client = make_client("/")
    kinds = ("detections", "enriched_detections")
    for kind in kinds:
        client.subscribe(DetectionArray, kind)
        client.subscribe(vision_msgs.Detection2DArray, f"{kind}/vision_msgs")
    late = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    start(vision_msgs=True)
    labels = client.subscribe(vision_msgs.LabelInfo, "label_info", late)
    publish = play(client, "image_raw")

    def all_have_come():
        publish()
        return all(client.received.values())

    assert client.spin_until(all_have_come)
    assert [c.class_name for c in labels[-1].class_map] == ["object"]
    for kind in kinds:
        vision = client.received[f"{kind}/vision_msgs"][-1]
        client.spin_until(lambda kind=kind, v=vision: v.header in headers(client.received[kind]))
        assert vision.header in headers(client.received[kind])
        assert vision.detections[0].results[0].hypothesis.class_id == "object 10"


def headers(messages):
    return [message.header for message in messages]
