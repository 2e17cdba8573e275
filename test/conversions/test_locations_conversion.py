# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

pytest.importorskip("mrmllm_ros.msg", reason="needs the built package: run scripts/test")

from geometry_msgs.msg import Point, Pose
from mrmllm_ros.msg import Detection, DetectionArray

from mrmllm_ros.conversions.locations import distances_of, set_location
from mrmllm_ros.perception.localization import Location

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
    message = DetectionArray(
        detections=[
            Detection(track_id="7", has_pose=True, pose=pose),
            Detection(track_id="8", has_pose=False, pose=pose),
            Detection(track_id="", has_pose=True, pose=pose),
        ]
    )
    assert distances_of(message) == {"7": 3.0}
    assert distances_of(DetectionArray()) == {}


@pytest.mark.parametrize("x", [float("nan"), float("inf"), 1e300])
def test_a_pose_that_is_no_place_has_no_distance(x):
    message = DetectionArray(
        detections=[
            Detection(track_id="7", has_pose=True, pose=Pose(position=Point(x=x))),
            Detection(track_id="8", has_pose=True, pose=Pose(position=Point(z=2.0))),
        ]
    )
    assert distances_of(message) == {"8": 2.0}
