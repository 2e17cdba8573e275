# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

pytest.importorskip("mrmllm_ros.msg", reason="needs the built package: run scripts/test")

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose
from mrmllm_ros.msg import Detection, DetectionArray, ObjectDistances
from std_msgs.msg import Header

from mrmllm_ros.localization.localizer import Location
from mrmllm_ros.ros.conversions.location_messages import (
    distances_from_message,
    distances_message,
    matrix_from_quaternion,
    set_location,
)

LOCATION = Location(
    center=np.array([0.5, -0.25, 3.0]),
    size=np.array([0.5, 1.75, 0.25]),
    points=np.zeros((1, 3), np.float32),
)


def test_a_location_becomes_pose_and_size():
    detection = Detection()
    set_location(detection, LOCATION)
    assert detection.has_pose
    position, size = detection.pose.position, detection.size
    assert (position.x, position.y, position.z) == (0.5, -0.25, 3.0)
    assert (size.x, size.y, size.z) == (0.5, 1.75, 0.25)
    assert detection.pose.orientation == Pose().orientation
    assert detection.pose.orientation.w == 1.0


def test_an_unknown_location_leaves_nothing_of_an_earlier_one():
    detection = Detection()
    set_location(detection, LOCATION)
    set_location(detection, None)
    assert detection == Detection()


def test_distances_are_those_of_tracked_objects_whose_pose_is_known():
    pose = Pose(position=Point(x=2.0, y=-1.0, z=2.0))
    header = Header(stamp=Time(sec=7), frame_id="camera")
    located = DetectionArray(
        header=header,
        detections=[
            Detection(track_id="7", has_pose=True, pose=pose),
            Detection(track_id="8", has_pose=False, pose=pose),
            Detection(track_id="", has_pose=True, pose=pose),
            Detection(track_id="9", has_pose=True, pose=pose, distance=4.0),
        ],
    )
    message = distances_message(located)
    assert message.header == header
    assert distances_from_message(message) == {"7": 3.0, "9": 4.0}
    assert distances_from_message(distances_message(DetectionArray())) == {}


@pytest.mark.parametrize(
    ("track_ids", "distances", "reason"),
    [
        (["7"], [], "1 track_ids but 0 distances"),
        ([], [1.0], "0 track_ids but 1 distances"),
        (["7", "7"], [1.0, 2.0], r"\['7', '7'\] contain an empty or duplicate"),
        (["7", ""], [1.0, 2.0], "contain an empty or duplicate"),
        (["7", "8"], [1.0, -2.0], "distance of track '8' is -2.0"),
        (["7"], [float("nan")], "is nan, expected meters"),
        (["7"], [float("inf")], "is inf, expected meters"),
    ],
)
def test_distances_that_are_none_are_rejected(track_ids, distances, reason):
    message = ObjectDistances(track_ids=track_ids, distances=distances)
    with pytest.raises(ValueError, match=reason):
        distances_from_message(message)


# From a camera's axes (x right, y down, z forward) to those of a robot (x forward, y left, z up).
TO_ROBOT = np.array([[0, 0, 1, 0.5], [-1, 0, 0, 0.0], [0, -1, 0, 1.0], [0, 0, 0, 1]])


def test_a_pose_in_another_frame_keeps_size_and_distance():
    detection = Detection(track_id="7")
    set_location(detection, LOCATION, TO_ROBOT)
    position, size = detection.pose.position, detection.size
    assert (position.x, position.y, position.z) == (3.5, -0.5, 1.25)
    assert (size.x, size.y, size.z) == (0.5, 1.75, 0.25)
    rotation = matrix_from_quaternion(detection.pose.orientation)
    np.testing.assert_allclose(rotation, TO_ROBOT[:3, :3], atol=1e-12)
    from_camera = np.linalg.norm(LOCATION.center)
    message = distances_message(DetectionArray(detections=[detection]))
    assert distances_from_message(message) == {"7": pytest.approx(from_camera, rel=1e-6)}
