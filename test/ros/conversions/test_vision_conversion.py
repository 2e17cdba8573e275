# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip("mrmllm_ros.msg", reason="needs the built package: run scripts/test")
pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed: it has no wheels")

from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from mrmllm_ros.msg import DetectionArray
from rclpy.serialization import deserialize_message, serialize_message
from vision_msgs.msg import Detection2DArray, Detection3DArray, LabelInfo

from mrmllm_ros.ros.conversions.detection_messages import detection_array_from_enriched
from mrmllm_ros.ros.conversions.vision_messages import (
    detection_2d_array,
    detection_3d_array,
    label_info,
)

POSE = Pose(position=Point(x=0.5, y=-0.25, z=3.0), orientation=Quaternion(z=1.0, w=0.0))
SIZE = Vector3(x=0.5, y=1.75, z=0.25)


@pytest.fixture
def detections(enriched_scene):
    """A bus and a forklift [3], of which the forklift has a track and a pose."""
    message = detection_array_from_enriched(enriched_scene, "nanodet-g+mrmllm")
    forklift = message.detections[1]
    forklift.track_id = "7"
    forklift.has_pose, forklift.pose, forklift.size = True, POSE, SIZE
    return message


@pytest.mark.parametrize("convert", [detection_2d_array, detection_3d_array])
def test_no_objects_are_an_array_of_nothing_with_the_header_of_the_image(convert, detections):
    message = convert(DetectionArray(header=detections.header))
    assert list(message.detections) == []
    assert message.header == detections.header


def test_a_2d_box_is_center_and_full_size_in_pixels(detections):
    bus, forklift = detection_2d_array(detections).detections
    assert (bus.bbox.center.position.x, bus.bbox.center.position.y) == (300.0, 200.0)
    assert (bus.bbox.size_x, bus.bbox.size_y) == (600.0, 400.0)
    assert bus.bbox.center.theta == 0.0
    assert (forklift.bbox.size_x, forklift.bbox.size_y) == (220.0, 120.0)


def test_the_one_hypothesis_is_the_label_as_text_with_the_score_after_fusion(detections):
    for array in (detection_2d_array(detections), detection_3d_array(detections)):
        [result] = array.detections[-1].results
        assert result.hypothesis.class_id == "forklift"
        assert result.hypothesis.score == 0.625


def test_the_id_is_the_track_and_empty_where_nothing_tracks(detections):
    assert [d.id for d in detection_2d_array(detections).detections] == ["", "7"]
    assert [d.id for d in detection_3d_array(detections).detections] == ["7"]


def test_array_and_detections_carry_the_header_of_the_image(detections):
    for array in (detection_2d_array(detections), detection_3d_array(detections)):
        headers = [array.header, *(d.header for d in array.detections)]
        assert all(header == detections.header for header in headers)


def test_objects_without_a_pose_are_not_in_the_3d_array(detections):
    [forklift] = detection_3d_array(detections).detections
    assert (forklift.bbox.center, forklift.bbox.size) == (POSE, SIZE)
    assert forklift.results[0].pose.pose == POSE


def test_the_pose_of_a_2d_hypothesis_is_ours_or_the_identity(detections):
    bus, forklift = detection_2d_array(detections).detections
    assert bus.results[0].pose.pose == Pose()
    assert forklift.results[0].pose.pose == POSE
    assert not forklift.results[0].pose.covariance.any()


def test_labels_are_numbered_and_stand_beside_the_threshold():
    message = label_info(["person", "forklift"], 0.25)
    classes = [(c.class_id, c.class_name) for c in message.class_map]
    assert classes == [(0, "person"), (1, "forklift")]
    assert message.threshold == 0.25
    assert list(label_info([], 0.25).class_map) == []


def test_every_message_goes_over_the_wire(detections):
    for message, kind in (
        (detection_2d_array(detections), Detection2DArray),
        (detection_3d_array(detections), Detection3DArray),
        (label_info(["person"], 0.5), LabelInfo),
    ):
        assert deserialize_message(serialize_message(message), kind) == message
