# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

pytest.importorskip("mrmllm_ros.msg", reason="needs the built package: run scripts/test")

from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from mrmllm_ros.msg import Answer, Attribute, DetectionArray
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from mrmllm_ros.detection.captions import label_color
from mrmllm_ros.ros.conversions.camera_info import CameraInfoError, pinhole_camera_info
from mrmllm_ros.ros.conversions.detection_messages import detection_array_from_scene
from mrmllm_ros.ros.conversions.markers import (
    MarkerUpdates,
    answer_marker,
    box_markers,
    detection_caption,
    image_plane_markers,
)

DISTANCE_M = 2.5
NOVEL_FROM = 0.5
OBJECTS = (("bus", 0.8, (100, 50, 500, 450)), ("cup", 0.25, (0, 470, 8, 480)))
HEADER = Header(frame_id="front_optical")


@pytest.fixture
def make_array(make_scene):
    """Makes the message of objects as `make_scene` takes them."""
    return lambda *objects: detection_array_from_scene(make_scene(*objects), "nanodet-g")


@pytest.fixture
def array(make_array):
    """A bus and a cup."""
    return make_array(*OBJECTS)


@pytest.fixture
def array_3d(array):
    """A bus 12 m away, and a cup of which no pose is known."""
    bus = array.detections[0]
    bus.has_pose = True
    bus.pose.position = Point(x=3.0, y=0.0, z=4.0)
    bus.size = Vector3(x=8.0, y=3.0, z=2.0)
    return array


@pytest.fixture
def camera_info(array):
    return pinhole_camera_info(array.header, (640, 480), 60.0)


def on_plane(array, camera_info):
    """Outlines and captions on the image plane."""
    markers = image_plane_markers(array, camera_info, DISTANCE_M, NOVEL_FROM)
    return markers[::2], markers[1::2]


def coordinates(points):
    return np.array([(p.x, p.y, p.z) for p in points])


def pixels(points, camera_info):
    """(N, 2), where points are in the image, whose first pixel reaches from 0 to 1."""
    matrix = np.reshape(camera_info.k, (3, 3))
    x, y, w = matrix @ coordinates(points).T
    return np.stack([x / w, y / w], axis=1) + 0.5


def set_region(camera_info, x_offset, y_offset, width, height):
    roi = camera_info.roi
    roi.x_offset, roi.y_offset, roi.width, roi.height = x_offset, y_offset, width, height


def keys(markers):
    return [(marker.ns, marker.id) for marker in markers]


def test_without_objects_there_are_no_markers(make_array, camera_info):
    assert image_plane_markers(make_array(), camera_info, DISTANCE_M, NOVEL_FROM) == []
    assert box_markers(make_array(), NOVEL_FROM) == []


def test_each_object_has_an_outline_and_a_caption(array, camera_info):
    outlines, captions = on_plane(array, camera_info)
    assert {marker.type for marker in outlines} == {Marker.LINE_LIST}
    assert {marker.type for marker in captions} == {Marker.TEXT_VIEW_FACING}
    assert [m.text for m in captions] == ["[1] bus 0.80", "[2] cup 0.25"]
    assert keys(outlines) == [("boxes", 1), ("boxes", 2)]
    assert keys(captions) == [("labels", 1), ("labels", 2)]


def test_every_marker_has_the_header_of_the_image(array_3d, camera_info):
    markers = [
        *image_plane_markers(array_3d, camera_info, DISTANCE_M, NOVEL_FROM),
        *box_markers(array_3d, NOVEL_FROM),
    ]
    assert camera_info.header.frame_id == "front_optical"
    assert camera_info.header.stamp.sec > 0
    assert all(marker.header == camera_info.header for marker in markers)


def test_the_outline_goes_round_the_box_when_seen_through_the_camera(array, camera_info):
    outlines, _ = on_plane(array, camera_info)
    for marker, (_, _, (left, top, right, bottom)) in zip(outlines, OBJECTS, strict=True):
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        ends = np.repeat(corners, 2, axis=0)[1:-1]
        np.testing.assert_allclose(pixels(marker.points, camera_info), ends, atol=1e-3)


def test_the_outline_of_a_scaled_image_goes_where_that_of_the_whole_image_does(array, camera_info):
    sensor = pinhole_camera_info(array.header, (1280, 960), 60.0)
    [outline, _], [scaled, _] = (on_plane(array, info)[0] for info in (camera_info, sensor))
    np.testing.assert_allclose(coordinates(scaled.points), coordinates(outline.points), atol=1e-9)


def test_an_object_is_outlined_alike_through_the_whole_sensor_and_a_region_of_it(make_array):
    whole = make_array(("bus", 0.8, (300, 200, 700, 500)))
    whole.image_width, whole.image_height = 1280, 960
    sensor = pinhole_camera_info(whole.header, (1280, 960), 60.0)
    [expected], _ = on_plane(whole, sensor)

    part = make_array(("bus", 0.8, (300 - 200, 200 - 100, 700 - 200, 500 - 100)))
    set_region(sensor, 200, 100, 640, 480)
    [outline], _ = on_plane(part, sensor)
    np.testing.assert_allclose(
        coordinates(outline.points), coordinates(expected.points), atol=1e-9
    )


def test_the_outline_of_a_rectified_image_uses_the_matrix_of_rectified_images(array, camera_info):
    rectified = pinhole_camera_info(array.header, (640, 480), 50.0)
    [expected, _], _ = on_plane(array, rectified)
    camera_info.p = rectified.p
    [outline, _], _ = on_plane(array, camera_info)
    assert outline == expected


@pytest.mark.parametrize("size", [(640, 360), (480, 640), (0, 0)])
def test_an_image_of_another_shape_is_rejected_with_both_sizes(size, array, camera_info):
    array.image_width, array.image_height = size
    with pytest.raises(CameraInfoError, match=rf"640 x 480 .* {size[0]} x {size[1]}"):
        on_plane(array, camera_info)


@pytest.mark.parametrize("size", [(640, 480), (0, 0)])
def test_a_camera_that_is_not_calibrated_is_rejected(size, array, camera_info):
    camera_info.width, camera_info.height = size
    camera_info.k = [0.0] * 9
    with pytest.raises(CameraInfoError, match="calibrate"):
        on_plane(array, camera_info)
    with pytest.raises(CameraInfoError, match="calibrate"):
        answer_marker(Answer(), camera_info, DISTANCE_M)


def test_a_driver_that_leaves_the_size_out_means_the_size_of_the_image(array, camera_info):
    [outline, _], _ = on_plane(array, camera_info)
    camera_info.width = camera_info.height = 0
    [again, _], _ = on_plane(array, camera_info)
    assert again == outline


def test_the_outline_is_at_the_distance_asked_for(array, camera_info):
    outlines, _ = on_plane(array, camera_info)
    assert {point.z for marker in outlines for point in marker.points} == {DISTANCE_M}


def test_lines_and_text_look_alike_at_any_distance(array, camera_info):
    near, far = (
        image_plane_markers(array, camera_info, distance_m, NOVEL_FROM) for distance_m in (1, 10)
    )
    assert far[0].scale.x == pytest.approx(10 * near[0].scale.x)
    assert far[1].scale.z == pytest.approx(10 * near[1].scale.z)


def test_the_caption_is_above_the_middle_of_the_upper_edge(array, camera_info):
    for outline, caption in zip(*on_plane(array, camera_info), strict=True):
        upper, position = coordinates(outline.points[:2]), caption.pose.position
        assert position.x == pytest.approx(upper[:, 0].mean())
        assert position.y < upper[0, 1]
        assert position.z == DISTANCE_M


def test_markers_can_be_seen_and_stand_upright(array_3d, camera_info):
    outlines, captions = on_plane(array_3d, camera_info)
    box, label = box_markers(array_3d, NOVEL_FROM)
    for outline, caption in zip((*outlines, box), (*captions, label), strict=True):
        assert outline.scale.x > 0
        assert caption.scale.z > 0
        for marker in (outline, caption):
            assert (marker.color.a, marker.action) == (1.0, Marker.ADD)
            orientation = marker.pose.orientation
            assert (orientation.x, orientation.y, orientation.z, orientation.w) == (0, 0, 0, 1)


def test_markers_have_the_color_of_the_label(array_3d, camera_info):
    for marker in (
        *image_plane_markers(array_3d, camera_info, DISTANCE_M, NOVEL_FROM)[:2],
        *box_markers(array_3d, NOVEL_FROM),
    ):
        color = (marker.color.r, marker.color.g, marker.color.b)
        assert color == pytest.approx(label_color("bus"))


def test_a_tracked_object_keeps_its_marker_whatever_its_number_is(array, camera_info):
    array.detections[0].track_id = array.detections[1].track_id = ""
    array.detections[1].track_id = "front/12"
    before, _ = on_plane(array, camera_info)
    array.detections[1].id = 7
    after, captions = on_plane(array, camera_info)
    assert keys(after) == keys(before)
    assert captions[1].text == "[7] cup 0.25 #front/12"


def test_ids_of_tracks_differ_and_fit_what_rviz_takes(make_array, camera_info):
    array = make_array(*[("cup", 0.5, (0, 0, 9, 9))] * 300)
    for i, detection in enumerate(array.detections):
        detection.track_id = str(i) if i % 2 else ""
    outlines, _ = on_plane(array, camera_info)
    ids = {marker.id for marker in outlines}
    assert len(ids) == 300
    assert max(ids) < 2**31


@pytest.mark.parametrize(("novelty", "dashed"), [(0.0, False), (0.49, False), (0.5, True)])
def test_a_novel_object_is_dashed_and_says_how_novel_it_is(novelty, dashed, array_3d, camera_info):
    bus = array_3d.detections[0]
    bus.novelty = novelty
    [outline, _], [caption, _] = on_plane(array_3d, camera_info)
    box, label = box_markers(array_3d, NOVEL_FROM)
    assert len(outline.points) == 2 * 4 * (5 if dashed else 1)
    assert len(box.points) == 2 * 12 * (5 if dashed else 1)
    for marker in (caption, label):
        assert (f"novel {novelty:.2f}" in marker.text) == dashed


def test_a_caption_names_track_and_novelty(array):
    [bus, _] = array.detections
    bus.track_id, bus.novelty = "12", 0.75
    assert detection_caption(bus, 0.5) == "[1] bus 0.80 #12 novel 0.75"
    assert detection_caption(bus, 0.8) == "[1] bus 0.80 #12"


def test_the_caption_of_a_corrected_label_says_what_the_object_looks_like(array, camera_info):
    [bus, _] = array.detections
    bus.detector_label = "train"
    assert detection_caption(bus, 0.5) == "[1] bus 0.80, not train"
    bus.attributes = [Attribute(name="looks_like", value="minibus", score=0.75)]
    expected = "[1] bus 0.80, not train: looks like minibus 0.75"
    assert detection_caption(bus, 0.5) == expected
    _, [caption, _] = on_plane(array, camera_info)
    assert caption.text == expected


def test_objects_without_a_pose_have_no_box_in_space(array, array_3d):
    assert keys(box_markers(array_3d, NOVEL_FROM)) == [("boxes_3d", 1), ("labels_3d", 1)]
    array_3d.detections[0].has_pose = False
    assert box_markers(array_3d, NOVEL_FROM) == []


def test_a_box_in_space_has_twelve_edges_of_the_objects_size(array_3d):
    box, _ = box_markers(array_3d, NOVEL_FROM)
    assert box.pose == array_3d.detections[0].pose
    ends = coordinates(box.points).reshape(12, 2, 3)
    np.testing.assert_allclose(np.abs(ends), np.broadcast_to([4, 1.5, 1], (12, 2, 3)))
    lengths = np.abs(np.diff(ends, axis=1)[:, 0])
    assert (np.count_nonzero(lengths, axis=1) == 1).all()
    assert sorted(lengths.sum(axis=1)) == [2] * 4 + [3] * 4 + [8] * 4
    assert len(np.unique(ends, axis=0)) == 12


def test_the_caption_in_space_is_above_the_box_and_says_how_far_it_is(array_3d):
    _, label = box_markers(array_3d, NOVEL_FROM)
    assert label.text == "[1] bus 0.80\n5.0 m"
    position = label.pose.position
    assert (position.x, position.z) == (3.0, 4.0)
    assert -1.8 < position.y < -1.5


def test_a_turned_box_reaches_up_as_far_as_it_does(array_3d):
    # A quarter turn about the axis that points forward: its longest side is upright.
    half = np.sqrt(0.5)
    pose = Pose(position=Point(z=4.0), orientation=Quaternion(z=half, w=half))
    array_3d.detections[0].pose = pose
    _, label = box_markers(array_3d, NOVEL_FROM)
    assert label.pose.position.y == pytest.approx(-4.1)


def marker(namespace, marker_id):
    return Marker(ns=namespace, id=marker_id)


def changes(updates, *shown):
    """(action, namespace, id) of what is sent when these are to be seen."""
    array = updates.update(HEADER, [marker(*each) for each in shown], 5.0)
    return [(m.action, m.ns, m.id) for m in array.markers]


def test_what_stays_is_replaced_and_nothing_else_is_touched():
    updates = MarkerUpdates()
    for _ in range(3):
        assert changes(updates, ("boxes", 1), ("labels", 1)) == [
            (Marker.ADD, "boxes", 1),
            (Marker.ADD, "labels", 1),
        ]


def test_what_is_gone_is_deleted_once():
    updates = MarkerUpdates()
    changes(updates, ("boxes", 1), ("boxes", 2))
    assert changes(updates, ("boxes", 2)) == [
        (Marker.DELETE, "boxes", 1),
        (Marker.ADD, "boxes", 2),
    ]
    assert changes(updates, ("boxes", 2)) == [(Marker.ADD, "boxes", 2)]


def test_all_may_go_and_one_may_come_back():
    updates = MarkerUpdates()
    changes(updates, ("boxes", 1))
    assert changes(updates) == [(Marker.DELETE, "boxes", 1)]
    assert changes(updates) == []
    assert changes(updates, ("boxes", 1)) == [(Marker.ADD, "boxes", 1)]


def test_objects_that_come_and_go_are_never_all_deleted(make_array, camera_info):
    updates, numbers = MarkerUpdates(), np.random.default_rng(0)
    seen = set()
    for _ in range(20):
        array = make_array(*[OBJECTS[0]] * numbers.integers(0, 4))
        for detection in array.detections:
            detection.track_id = str(detection.id + numbers.integers(0, 2) * 10)
        markers = image_plane_markers(array, camera_info, DISTANCE_M, NOVEL_FROM)
        sent = updates.update(array.header, markers, 5.0).markers
        assert len({*keys(sent)}) == len(sent), "RViz takes each marker of an array once"
        for each in sent:
            assert each.action in (Marker.ADD, Marker.DELETE)
            (seen.add if each.action == Marker.ADD else seen.remove)((each.ns, each.id))
        assert seen == {*keys(markers)}


def test_markers_end_by_themselves():
    added = MarkerUpdates().update(HEADER, [marker("boxes", 1)], 2.25).markers[0]
    assert (added.lifetime.sec, added.lifetime.nanosec) == (2, 250_000_000)


def test_deletions_have_the_header_of_the_image():
    updates = MarkerUpdates()
    changes(updates, ("boxes", 1))
    assert updates.update(HEADER, [], 5.0).markers[0].header == HEADER


def test_the_answer_is_written_below_the_image(array, camera_info):
    answer = Answer(header=array.header, question="What is there?", text="A bus [1]. " * 20)
    written = answer_marker(answer, camera_info, DISTANCE_M)
    assert (written.ns, written.type) == ("answer", Marker.TEXT_VIEW_FACING)
    assert written.header == array.header
    first, *rest = written.text.splitlines()
    assert first == "Q: What is there?"
    assert " ".join(rest) == "A: " + answer.text.strip()
    assert max(map(len, rest)) <= 60
    [(x, y)] = pixels([written.pose.position], camera_info)
    # Text is centerd on its position: its upper edge is half of it higher.
    height = written.scale.z / DISTANCE_M * camera_info.k[4] * len(written.text.splitlines())
    assert x == pytest.approx(320)
    assert 480 < y - height / 2 < 520


def test_the_answer_stands_below_the_middle_of_a_region_of_the_sensor(camera_info):
    answer = Answer(question="What is there?", text="A bus [1].")
    whole = answer_marker(answer, camera_info, DISTANCE_M).pose.position
    set_region(camera_info, 100, 60, 320, 240)
    part = answer_marker(answer, camera_info, DISTANCE_M).pose.position
    # From (320, 480) to (100 + 160, 60 + 240).
    meters = np.array([320 - 260, 480 - 300]) / camera_info.k[0] * DISTANCE_M
    np.testing.assert_allclose((whole.x - part.x, whole.y - part.y), meters, atol=1e-9)


def test_where_the_size_is_left_out_the_answer_goes_below_the_optical_axis(camera_info):
    answer = Answer(question="What is there?", text="A bus [1].")
    written = answer_marker(answer, camera_info, DISTANCE_M)
    camera_info.width = camera_info.height = 0
    again = answer_marker(answer, camera_info, DISTANCE_M).pose.position
    np.testing.assert_allclose(coordinates([again]), coordinates([written.pose.position]))


def test_an_empty_question_asks_for_a_description(array, camera_info):
    written = answer_marker(Answer(text="A bus."), camera_info, DISTANCE_M)
    assert written.text == "Q: (describe)\nA: A bus."


def test_an_array_without_a_header_is_shown_all_the_same():
    assert box_markers(DetectionArray(), NOVEL_FROM) == []


def test_a_label_in_the_frame_of_a_robot_is_above_its_box_and_says_the_distance(array_3d):
    bus = array_3d.detections[0]
    # The camera's axes seen from a robot: x right is -y, y down is -z, z forward is x.
    bus.pose.orientation = Quaternion(x=-0.5, y=0.5, z=-0.5, w=0.5)
    bus.distance = 7.25
    _, label = box_markers(array_3d, NOVEL_FROM)
    assert label.text.endswith("\n7.2 m")
    position, center = label.pose.position, bus.pose.position
    assert (position.x, position.y) == (center.x, center.y)
    assert position.z > center.z + bus.size.y / 2
