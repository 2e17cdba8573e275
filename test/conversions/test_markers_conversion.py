# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

pytest.importorskip("mrmllm_ros.msg", reason="needs the built package: run scripts/test")

from visualization_msgs.msg import Marker

from mrmllm_ros.conversions.cameras import pinhole_camera_info
from mrmllm_ros.conversions.detections import detection_array_from_scene
from mrmllm_ros.conversions.markers import image_plane_markers

DISTANCE_M = 2.5
OBJECTS = (("bus", 0.8, (100, 50, 500, 450)), ("cup", 0.25, (0, 470, 8, 480)))


@pytest.fixture
def make_markers(make_scene):
    def make(*objects):
        detections = detection_array_from_scene(make_scene(*objects), "nanodet-g")
        camera_info = pinhole_camera_info(detections.header, (640, 480), 60.0)
        markers = image_plane_markers(detections, camera_info, DISTANCE_M).markers
        return markers, camera_info

    return make


def pixels(points, camera_info):
    matrix = np.reshape(camera_info.k, (3, 3))
    x, y, w = matrix @ np.array([(p.x, p.y, p.z) for p in points]).T
    return np.stack([x / w, y / w], axis=1)


def test_the_first_marker_removes_all_earlier_ones(make_markers):
    markers, _ = make_markers(*OBJECTS)
    assert markers[0].action == Marker.DELETEALL
    assert {marker.action for marker in markers[1:]} == {Marker.ADD}


def test_without_objects_earlier_markers_are_only_removed(make_markers):
    markers, _ = make_markers()
    assert [marker.action for marker in markers] == [Marker.DELETEALL]


def test_every_marker_has_the_header_of_the_image(make_markers, make_scene):
    markers, camera_info = make_markers(*OBJECTS)
    assert camera_info.header.frame_id == "front_optical"
    assert all(marker.header == camera_info.header for marker in markers)


def test_each_object_has_an_outline_and_a_caption_of_its_number(make_markers):
    markers, _ = make_markers(*OBJECTS)
    assert [(m.ns, m.id, m.type) for m in markers[1:]] == [
        ("boxes", 1, Marker.LINE_STRIP),
        ("labels", 1, Marker.TEXT_VIEW_FACING),
        ("boxes", 2, Marker.LINE_STRIP),
        ("labels", 2, Marker.TEXT_VIEW_FACING),
    ]
    assert [m.text for m in markers[2::2]] == ["[1] bus 0.80", "[2] cup 0.25"]


def test_the_outline_goes_round_the_box_when_seen_through_the_camera(make_markers):
    markers, camera_info = make_markers(*OBJECTS)
    for marker, (_, _, (left, top, right, bottom)) in zip(markers[1::2], OBJECTS, strict=True):
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        np.testing.assert_allclose(pixels(marker.points, camera_info), corners, atol=1e-3)


def test_the_outline_is_at_the_distance_asked_for(make_markers):
    markers, _ = make_markers(*OBJECTS)
    assert {point.z for marker in markers[1::2] for point in marker.points} == {DISTANCE_M}


def test_the_caption_is_above_the_top_left_corner(make_markers):
    markers, _ = make_markers(*OBJECTS)
    for outline, caption in zip(markers[1::2], markers[2::2], strict=True):
        corner, position = outline.points[0], caption.pose.position
        assert (position.x, position.z) == (corner.x, corner.z)
        assert position.y < corner.y


def test_markers_can_be_seen_and_stand_upright(make_markers):
    markers, _ = make_markers(*OBJECTS)
    for outline, caption in zip(markers[1::2], markers[2::2], strict=True):
        assert outline.scale.x > 0
        assert caption.scale.z > 0
        for marker in (outline, caption):
            assert marker.color.a == 1.0
            orientation = marker.pose.orientation
            assert (orientation.x, orientation.y, orientation.z, orientation.w) == (0, 0, 0, 1)
