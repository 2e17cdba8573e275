# SPDX-License-Identifier: Apache-2.0
"""The visualizer as a process, fed with images and detections."""

import numpy as np
import pytest
from mrmllm_ros.msg import Answer, BoundingBox2D, Detection, DetectionArray
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from mrmllm_ros.conversions.cameras import pinhole_camera_info
from mrmllm_ros.conversions.images import bgr_from_message, image_from_bgr

NAMESPACE = "/test_visualizer_node"
SIZE_WH = (160, 120)


@pytest.fixture
def feed(ros, start_node, make_client):
    """Function that publishes an image with one detection, and what has come of it."""
    client = make_client(NAMESPACE)
    images = client.node.create_publisher(Image, "image_raw", qos_profile_sensor_data)
    infos = client.node.create_publisher(CameraInfo, "camera_info", qos_profile_sensor_data)
    detections = client.node.create_publisher(DetectionArray, "enriched_detections", 10)
    answers = client.node.create_publisher(Answer, "answers", 10)
    client.subscribe(Image, "annotated_image")
    client.subscribe(MarkerArray, "markers")
    publishers = (images, infos, detections, answers)

    def publish_once(answer):
        header = Header(stamp=client.node.get_clock().now().to_msg(), frame_id="optical")
        images.publish(image_from_bgr(np.zeros((120, 160, 3), np.uint8), header))
        infos.publish(pinhole_camera_info(header, SIZE_WH, 60.0))
        if answer is not None:
            answers.publish(answer)
        client.spin_until(lambda: False, 0.1)
        box = BoundingBox2D(center_x=80.0, center_y=60.0, size_x=40.0, size_y=30.0)
        found = Detection(id=1, label="cat", score=0.5, bbox=box)
        detections.publish(
            DetectionArray(
                header=header,
                image_width=SIZE_WH[0],
                image_height=SIZE_WH[1],
                detections=[found],
            )
        )
        return header

    def publish(answer=None):
        """Publish until both outputs have come: the first ones may be lost in discovery."""
        for _ in range(20):
            header = publish_once(answer)
            if client.spin_until(
                lambda header=header: (
                    all(client.received.values())
                    and client.received["annotated_image"][-1].header == header
                ),
                1.0,
            ):
                return header
        raise AssertionError("no annotated image and markers")

    with start_node("visualizer_node", NAMESPACE) as node:
        assert client.spin_until(lambda: all(p.get_subscription_count() for p in publishers), 60)
        node.check()
        yield publish, client.received


def test_boxes_are_drawn_into_the_image_they_belong_to(feed):
    publish, received = feed
    publish()
    drawn = bgr_from_message(received["annotated_image"][-1])
    assert drawn.shape == (120, 160, 3)
    assert drawn.any()
    first, outline, caption = received["markers"][-1].markers
    assert first.action == Marker.DELETEALL
    assert outline.header.frame_id == "optical"
    assert "cat" in caption.text


def test_an_answer_stands_below_the_next_image(feed):
    publish, received = feed
    publish(answer=Answer(question="Is there a cat?", text="Yes, a cat [1]."))
    assert received["annotated_image"][-1].height > SIZE_WH[1]
