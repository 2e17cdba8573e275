# SPDX-License-Identifier: Apache-2.0
import array

import numpy as np
import pytest

pytest.importorskip("mrmllm_ros.msg", reason="needs the built package: run scripts/test")

from geometry_msgs.msg import Point, Pose
from mrmllm_ros.msg import Detection, DetectionArray
from sensor_msgs.msg import Image

from mrmllm_ros.conversions.locations import distances_of, set_location, silhouette
from mrmllm_ros.perception.images import ImageError
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


def mask_image(mask, padding=0):
    height, width = mask.shape
    rows = np.hstack([mask.astype(np.uint8) * 255, np.full((height, padding), 255, np.uint8)])
    image = Image(height=height, width=width, encoding="mono8", step=width + padding)
    image.data = array.array("B", rows.tobytes())
    return image


@pytest.mark.parametrize("padding", [0, 3])
def test_a_mask_is_read_as_it_was(padding):
    mask = np.random.default_rng(0).random((4, 6)) > 0.5
    read = silhouette(Detection(mask=mask_image(mask, padding)), (6, 4))
    assert read.dtype == bool
    np.testing.assert_array_equal(read, mask)


def test_where_the_detector_gives_no_mask_there_is_none():
    assert silhouette(Detection(), (6, 4)) is None


def test_a_mask_of_another_size_or_encoding_names_its_object():
    detection = Detection(id=7, mask=mask_image(np.ones((4, 6), bool)))
    with pytest.raises(ImageError, match=r"object 7 is 'mono8' of 6 x 4 pixels, not .* 640 x 480"):
        silhouette(detection, (640, 480))
    detection.mask.encoding = "rgb8"
    with pytest.raises(ImageError, match="object 7 is 'rgb8'"):
        silhouette(detection, (6, 4))


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
