# SPDX-License-Identifier: Apache-2.0
import os
import threading
import time

import numpy as np
import pytest

os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from builtin_interfaces.msg import Time
from mrmllm_ros.msg import DetectionArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mrmllm_ros.cli.demo_client import DemoClient
from mrmllm_ros.ros.conversions.image_messages import image_from_bgr

HEADER = Header(stamp=Time(sec=7), frame_id="camera")
STAMP_NS = 7_000_000_000
HEIGHT = 48
# With the caption of an earlier answer at the bottom.
PICTURE = np.full((HEIGHT + 20, 64, 3), 90, np.uint8)


@pytest.fixture
def client():
    rclpy.init()
    client = DemoClient("/demo_client_test")
    yield client
    client.destroy_node()
    rclpy.shutdown()


@pytest.fixture
def publish(client):
    """Function that publishes detections and an annotated image from another thread."""
    node = rclpy.create_node("visualizer", namespace="/demo_client_test")
    publishers = (
        (
            node.create_publisher(DetectionArray, "enriched_detections", 10),
            DetectionArray(header=HEADER, image_width=64, image_height=HEIGHT),
        ),
        (
            node.create_publisher(Image, "annotated_image", 10),
            image_from_bgr(PICTURE, HEADER),
        ),
    )
    until = time.monotonic() + 30
    while not all(publisher.get_subscription_count() for publisher, _ in publishers):
        assert time.monotonic() < until, "the client has not subscribed"
        time.sleep(0.02)

    def all_of_it():
        for publisher, message in publishers:
            publisher.publish(message)

    yield all_of_it
    node.destroy_node()


def test_a_picture_that_comes_after_the_answer_is_waited_for(client, publish):
    assert client.annotated(STAMP_NS, 0.0) is None
    late = threading.Timer(0.3, publish)
    late.start()
    picture = client.annotated(STAMP_NS, 30.0)
    late.join()
    np.testing.assert_array_equal(picture, PICTURE[:HEIGHT])


def test_an_annotated_image_with_another_stamp_is_not_returned(client, publish):
    publish()
    assert client.annotated(STAMP_NS, 30.0) is not None
    assert client.annotated(STAMP_NS + 1, 0.3) is None
