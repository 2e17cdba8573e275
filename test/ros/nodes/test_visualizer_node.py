# SPDX-License-Identifier: Apache-2.0
"""Visualizer with images and detections of the test."""

import re

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from mrmllm_ros.msg import Answer, BoundingBox2D, Detection, DetectionArray
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from mrmllm_ros.ros.conversions.camera_info import pinhole_camera_info
from mrmllm_ros.ros.conversions.image_messages import bgr_from_message, image_from_bgr
from mrmllm_ros.ros.nodes.visualizer_node import VisualizerNode

NAMESPACE = "/test_visualizer_node"
SIZE_WH = (160, 120)


class Feed:
    """Publishes inputs of the visualizer and keeps its outputs."""

    def __init__(self, client):
        self.client = client
        node = client.node
        self.images = node.create_publisher(Image, "image_raw", qos_profile_sensor_data)
        self.infos = node.create_publisher(CameraInfo, "camera_info", qos_profile_sensor_data)
        self.detections = node.create_publisher(DetectionArray, "enriched_detections", 10)
        self.detections_3d = node.create_publisher(DetectionArray, "detections_3d", 10)
        self.answers = node.create_publisher(Answer, "answers", 10)
        self.drawn = client.subscribe(Image, "annotated_image")
        self.markers = client.subscribe(MarkerArray, "markers")

    @property
    def publishers(self):
        return (self.images, self.infos, self.detections, self.detections_3d, self.answers)

    def header(self):
        return Header(stamp=self.client.node.get_clock().now().to_msg(), frame_id="optical")

    def array(self, *detections):
        return DetectionArray(
            header=self.header(),
            image_width=SIZE_WH[0],
            image_height=SIZE_WH[1],
            detections=detections,
        )

    def calibrate(self, size_wh=SIZE_WH):
        """Send a calibration and let it arrive."""
        self.infos.publish(pinhole_camera_info(self.header(), size_wh, 60.0))
        self.client.spin_until(lambda: False, 0.2)

    def send_image(self, header, size_wh=SIZE_WH, value=0):
        """Send an image and let it arrive."""
        width, height = size_wh
        self.images.publish(image_from_bgr(np.full((height, width, 3), value, np.uint8), header))
        self.client.spin_until(lambda: False, 0.2)

    def show(self, array, size_wh=SIZE_WH):
        """Send an image and its detections."""
        self.send_image(array.header, size_wh)
        self.detections.publish(array)

    def wait(self, received, header):
        """Wait for the message with this header."""

        def found():
            for message in received:
                first = message.markers[0] if isinstance(message, MarkerArray) else message
                if first.header == header:
                    return message
            return None

        assert self.client.spin_until(lambda: found() is not None, 20)
        return found()


def cat(track_id="", **fields):
    box = BoundingBox2D(center_x=80.0, center_y=60.0, size_x=40.0, size_y=30.0)
    return Detection(id=1, track_id=track_id, label="cat", score=0.5, bbox=box, **fields)


def full_mask():
    """Mask of an object that fills the image."""
    width, height = SIZE_WH
    return {"mask_width": width, "mask_height": height, "mask": [0, width * height]}


@pytest.fixture
def feed(ros, start_node, make_client):
    """Feed that is connected to a running visualizer."""
    feed = Feed(make_client(NAMESPACE))
    with start_node("visualizer_node", NAMESPACE) as node:
        connected = [p.get_subscription_count for p in feed.publishers]
        connected += [lambda: feed.client.node.count_publishers(f"{NAMESPACE}/markers")]
        assert feed.client.spin_until(lambda: all(count() for count in connected), 60)
        # The visualizer may discover its subscribers later.
        feed.client.spin_until(lambda: False, 1.0)
        node.check()
        feed.node = node
        yield feed


def test_boxes_are_drawn_into_the_image_they_belong_to(feed):
    array = feed.array(cat(novelty=0.9))
    feed.show(array)
    drawn = bgr_from_message(feed.wait(feed.drawn, array.header))
    assert drawn.shape == (120, 160, 3)
    assert drawn.any()


def test_markers_stay_with_their_objects_and_end_with_them(feed):
    feed.calibrate()
    for array, expected in (
        (feed.array(cat("1"), cat("2")), [Marker.ADD] * 4),
        (feed.array(cat("2")), [Marker.DELETE] * 2 + [Marker.ADD] * 2),
        (feed.array(), [Marker.DELETE] * 2),
    ):
        feed.show(array)
        sent = feed.wait(feed.markers, array.header).markers
        assert [marker.action for marker in sent] == expected
        assert {marker.header.frame_id for marker in sent} == {"optical"}


def test_boxes_in_space_need_no_calibration(feed):
    array = feed.array(cat("1", has_pose=True), cat("2"))
    feed.detections_3d.publish(array)
    sent = feed.wait(feed.markers, array.header).markers
    assert [marker.ns for marker in sent] == ["boxes_3d", "labels_3d"]
    assert "cat" in sent[1].text


def test_a_camera_without_calibration_has_no_image_plane_and_one_warning(feed):
    for _ in range(3):
        feed.infos.publish(CameraInfo(header=feed.header(), width=160, height=120))
    array = feed.array(cat())
    feed.show(array)
    feed.wait(feed.drawn, array.header)
    assert feed.markers == []
    assert feed.node.log_text().count("not calibrated") == 1


def test_detections_that_arrive_before_their_image_wait_for_it(feed):
    array = feed.array(cat())
    feed.detections.publish(array)
    feed.client.spin_until(lambda: False, 0.2)
    feed.send_image(array.header)
    assert bgr_from_message(feed.wait(feed.drawn, array.header)).any()


def test_images_that_arrive_during_the_drawing_are_kept(make_node, make_client):
    feed = Feed(make_client(""))
    node = make_node(VisualizerNode)
    node.start()
    received = feed.client.subscribe(Image, "image_raw", qos_profile_sensor_data)
    connected = [feed.images, feed.detections]
    assert feed.client.spin_until(
        lambda: (
            all(publisher.get_subscription_count() for publisher in connected)
            and feed.images.get_subscription_count() == 2
            and feed.client.node.count_publishers("annotated_image")
            and node._annotated.get_subscription_count()
        )
    )
    arrays = [feed.array(cat()) for _ in range(5)]
    # The node is not spun, as while it draws.
    for array in arrays:
        feed.send_image(array.header)
    assert len(received) == len(arrays)
    for array in arrays:
        feed.detections.publish(array)

    def are_drawn():
        rclpy.spin_once(node, timeout_sec=0.02)
        return len(feed.drawn) == len(arrays)

    assert feed.client.spin_until(are_drawn, 20)
    assert [image.header for image in feed.drawn] == [array.header for array in arrays]


def test_an_answer_stands_below_the_next_image_and_below_the_image_plane(feed):
    feed.calibrate()
    answer = Answer(header=feed.header(), question="Is there a cat?", text="Yes, a cat [1].")
    feed.answers.publish(answer)
    [written] = feed.wait(feed.markers, answer.header).markers
    assert written.text == "Q: Is there a cat?\nA: Yes, a cat [1]."
    assert written.lifetime.sec == 10
    array = feed.array(cat())
    feed.show(array)
    assert feed.wait(feed.drawn, array.header).height > SIZE_WH[1]


def test_a_camera_info_of_another_shape_is_reported_and_costs_the_image_plane_only(feed):
    feed.calibrate(size_wh=(160, 90))
    array = feed.array(cat())
    feed.show(array)
    feed.wait(feed.drawn, array.header)
    assert feed.markers == []
    log = feed.node.log_text()
    assert re.search(r"no markers on the image plane: /\S+/camera_info: .* 160 x 90 pixels", log)
    assert "the image has 160 x 120" in log

    feed.calibrate()
    again = feed.array(cat())
    feed.show(again)
    feed.wait(feed.markers, again.header)


def test_a_camera_info_without_height_is_reported_and_costs_the_answers_marker_only(feed):
    feed.calibrate(size_wh=(160, 0))
    feed.answers.publish(Answer(header=feed.header(), text="A cat [1]."))
    log = feed.node.log_text
    assert feed.client.spin_until(lambda: "no markers on the image plane" in log(), 20)
    array = feed.array(cat())
    feed.show(array)
    assert feed.wait(feed.drawn, array.header).height > SIZE_WH[1]


@pytest.mark.parametrize("mask", [{}, full_mask()], ids=["boxes", "masks"])
def test_an_image_of_another_size_is_rejected_with_both_sizes_and_the_remedy(feed, mask):
    array = feed.array(cat(**mask))
    feed.show(array, size_wh=(80, 60))
    log = feed.node.log_text
    assert feed.client.spin_until(lambda: "cannot draw" in log(), 20)
    assert "the image has 80 x 60 pixels" in log()
    assert "160 x 120; remap image_raw" in log()

    again = feed.array(cat(**mask))
    feed.show(again)
    feed.wait(feed.drawn, again.header)
    assert array.header not in [image.header for image in feed.drawn]


def test_without_stamps_the_newest_image_is_drawn_into_and_one_warning_says_so(feed):
    array = feed.array(cat())
    array.header.stamp = Time()
    for value in (50, 150, 250):
        feed.send_image(array.header, value=value)
    feed.detections.publish(array)
    drawn = bgr_from_message(feed.wait(feed.drawn, array.header))
    assert drawn[-1, -1].tolist() == [250] * 3
    assert feed.node.log_text().count("image stamps are zero") == 1


def test_masks_are_drawn_and_a_wrong_one_is_reported(feed):
    array = feed.array(cat(**full_mask()))
    feed.show(array)
    drawn = bgr_from_message(feed.wait(feed.drawn, array.header))
    assert drawn.any(axis=2).all()

    wrong = feed.array(cat(), cat())
    wrong.detections[0].mask_width = wrong.detections[0].mask_height = 10
    feed.show(wrong)
    # The other object is drawn.
    assert bgr_from_message(feed.wait(feed.drawn, wrong.header)).any()
    reason = "mask does not fit its rectangle or the image: 1; check its publisher"
    assert feed.client.spin_until(lambda: reason in feed.node.log_text(), 20)


def test_detections_whose_images_never_come_are_named_with_the_topic(feed):
    feed.send_image(feed.header())
    log = feed.node.log_text

    def is_named():
        feed.detections.publish(feed.array(cat()))
        return "a buffered image of" in log()

    assert feed.client.spin_until(is_named, 20)
    assert re.search(r"image of /\S+/image_raw; remap image_raw to the image topic", log())
