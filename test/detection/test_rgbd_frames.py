# SPDX-License-Identifier: Apache-2.0
import json

import cv2
import numpy as np
import pytest
import rgbd_folder
from rgbd_folder import SCREEN

from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.detection.playback import frames, recorded_frames
from mrmllm_ros.detection.rgbd_frames import rgbd_frames

VIEWS = [((0.0, 0.0, 0.0), [SCREEN]), ((0.1, 0.5, 0.2), [SCREEN]), ((0.2, 0.0, 0.0), [])]


@pytest.fixture
def folder(tmp_path):
    return rgbd_folder.write(tmp_path / "scenes", VIEWS)


def change(folder, **fields):
    """Replace fields of the first image's entry; None removes a field."""
    file = folder / "annotations.json"
    content = json.loads(file.read_text())
    content["images"][0] |= fields
    content["images"][0] = {k: v for k, v in content["images"][0].items() if v is not None}
    file.write_text(json.dumps(content))


def test_depth_comes_in_millimeters_with_the_calibration_and_the_pose(folder):
    first, second, _ = rgbd_frames(folder)
    depth = first.read_depth_mm()
    assert (depth.shape, depth.dtype) == ((120, 160), np.uint16)
    assert set(np.unique(depth)) == {2000, 4000}
    assert first.read_bgr().shape == (120, 160, 3)
    assert first.resolution_wh == (160, 120)
    np.testing.assert_array_equal(first.camera_matrix[[0, 1], 2], rgbd_folder.CENTER)
    assert (first.distortion, first.distortion_model) == ((0.0,) * 5, "plumb_bob")
    np.testing.assert_array_equal(second.pose.position, [0.1, 0.5, 0.2])
    np.testing.assert_allclose(second.pose.xyzw, rgbd_folder.LEVEL)


def test_pose_and_stamp_may_be_unknown(folder):
    change(folder, camera_pose=None)
    [first, *_] = rgbd_frames(folder)
    assert first.pose is None
    assert first.stamp_s is None


def test_a_folder_of_scenes_is_played_with_depth(folder):
    played = list(recorded_frames(folder))
    assert [frame.path.name for frame in played] == ["000000.jpg", "000001.jpg", "000002.jpg"]
    assert [frame.depth.duration_s for frame in played] == [None] * 3
    assert played[0].depth.millimeters.max() == 4000
    assert len(list(frames(folder))) == 3


def test_a_sequence_is_played_at_the_spacing_of_its_stamps(tmp_path):
    folder = rgbd_folder.write(tmp_path / "scenes", VIEWS * 2, [0.1, 0.3, 0.6, 0.0, 0.1, 0.1])
    durations = [frame.depth.duration_s for frame in recorded_frames(folder)]
    # A step back begins another sequence.
    assert durations == [0.2, 0.3, None, 0.1, None, None]


def test_images_beside_the_annotations_are_played_without_depth(folder):
    cv2.imwrite(str(folder / "photo.png"), np.zeros((48, 64, 3), np.uint8))
    [frame] = recorded_frames(folder)
    assert (frame.path.name, frame.depth) == ("photo.png", None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", r"annotations\.json is not JSON: .*line 1 column 2"),
        ("[]", 'annotations.json has no list "images"'),
        ('{"images": []}', 'has no list "images" with at least one entry'),
        ('{"images": [3]}', r"images\[0\] is 3; it must be an object"),
    ],
)
def test_annotations_of_another_format_are_rejected(folder, text, reason):
    (folder / "annotations.json").write_text(text)
    with pytest.raises(ImageError, match=reason):
        recorded_frames(folder)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"depth_file": None}, r"images\[0\] has no depth_file; use the folder of its images"),
        ({"depth_file": 3}, r'images\[0\] has depth_file 3; "depth_file" must be a text'),
        ({"width": 0}, '"width" must be a number of pixels above 0'),
        ({"camera_info": None}, "camera_info is None; it must be an object"),
        ({"camera_info": {"k": [1, 2]}}, '"k" must be 9 numbers'),
        ({"camera_info": {"k": [0] * 9}}, '"k" must be the camera matrix'),
        ({"camera_pose": {"orientation": [0, 0, 0, 2]}}, "must be a unit quaternion"),
        ({"stamp": "now"}, '"stamp" must be a number'),
    ],
)
def test_a_wrong_field_is_named(folder, fields, reason):
    change(folder, **fields)
    with pytest.raises(ImageError, match=reason):
        rgbd_frames(folder)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (None, r"cannot read the depth image .*000000\.png: No such file"),
        (b"not an image", r"cannot read the depth image .*000000\.png: 12 bytes are not"),
        (np.zeros((60, 80), np.uint16), "has 80 x 60 pixels, but its annotations say 160 x 120"),
        (np.zeros((120, 160), np.uint8), "type uint8; it must have one channel of 16 bits"),
    ],
)
def test_a_depth_image_that_cannot_be_used_is_named_and_the_next_one_is_played(
    folder, pixels, reason
):
    file = folder / "depth" / "000000.png"
    file.unlink()
    if isinstance(pixels, bytes):
        file.write_bytes(pixels)
    elif pixels is not None:
        cv2.imwrite(str(file), pixels)
    source = recorded_frames(folder)
    with pytest.raises(ImageError, match=reason):
        next(source)
    assert next(source).path.name == "000001.jpg"


def test_a_color_image_of_another_size_is_rejected(folder):
    cv2.imwrite(str(folder / "images" / "000000.jpg"), np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(ImageError, match=r"000000\.jpg has 80 x 60 pixels"):
        next(recorded_frames(folder))
