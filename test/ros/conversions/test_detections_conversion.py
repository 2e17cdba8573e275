# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("mrmllm_ros.msg", reason="needs the built package: run scripts/test")

from builtin_interfaces.msg import Time
from mrmllm_ros.msg import BoundingBox2D, Detection, DetectionArray
from rclpy.serialization import deserialize_message, serialize_message

from mrmllm_ros.answering.answerer import EncodedImage
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.detection.masks import Mask
from mrmllm_ros.engine.scene import EnrichedScene
from mrmllm_ros.ros.conversions.detection_messages import (
    detection_array_from_enriched,
    detection_array_from_scene,
    detection_messages,
    detections_from_message,
    drop_invalid,
    header_of,
    mask_from_message,
    nanoseconds,
)

OBJECTS = (
    ("bus", 0.8, (28.25, 216.5, 806.125, 735.75)),
    ("traffic light", 0.7, (0, 0, 640, 480)),
    ("person", 0.301, (-3.5, 10, 0.001, 700)),
    ("dot", 0.0, (5, 5, 5, 5)),
)


def test_no_objects_survive_the_way_into_a_message_and_back(make_scene):
    scene = make_scene()
    message = detection_array_from_scene(scene, "nanodet-g")
    assert message.detections == []
    assert (message.image_width, message.image_height) == (640, 480)
    back = detections_from_message(message)
    assert back.xyxy.shape == (0, 4)
    assert back.scores.shape == (0,)
    assert back.labels == ()
    assert back.resolution_wh == (640, 480)


def test_objects_survive_the_way_into_a_message_and_back(make_scene):
    scene = make_scene(*OBJECTS)
    detections = scene.perception.detections
    back = detections_from_message(detection_array_from_scene(scene, "nanodet-g"))
    np.testing.assert_allclose(back.xyxy, detections.xyxy, atol=1e-3)
    np.testing.assert_array_equal(back.scores, detections.scores)
    assert back.labels == detections.labels
    assert back.resolution_wh == detections.resolution_wh


def test_the_array_says_which_image_camera_and_model_it_comes_from(make_scene):
    scene = make_scene(*OBJECTS)
    message = detection_array_from_scene(scene, "nanodet-g")
    assert message.header == header_of(scene.frame)
    assert (message.camera, message.model, message.latency) == ("front", "nanodet-g", 0.25)


def test_objects_are_numbered_from_one_in_their_order(make_scene):
    message = detection_array_from_scene(make_scene(*OBJECTS), "nanodet-g")
    assert [(d.id, d.label) for d in message.detections] == [
        (1, "bus"),
        (2, "traffic light"),
        (3, "person"),
        (4, "dot"),
    ]


def test_a_box_is_center_and_full_size_in_pixels(make_scene):
    [message] = detection_array_from_scene(
        make_scene(("cup", 0.5, (10, 20, 110, 220))), ""
    ).detections
    assert message.bbox == BoundingBox2D(center_x=60.0, center_y=120.0, size_x=100.0, size_y=200.0)


def test_the_detectors_own_label_and_score_stand_beside_the_best_ones(make_scene):
    [message] = detection_array_from_scene(make_scene(("cup", 0.5, (0, 0, 9, 9))), "").detections
    assert (message.label, message.score) == ("cup", 0.5)
    assert (message.detector_label, message.detector_score) == ("cup", 0.5)


def test_what_is_not_known_is_left_unset(make_scene):
    [message] = detection_array_from_scene(make_scene(("cup", 0.5, (0, 0, 9, 9))), "").detections
    assert message.track_id == ""
    assert list(message.attributes) == []
    assert not message.has_pose
    assert message.kind == Detection.KIND_OBJECT
    assert (message.mask_width, message.mask_height, list(message.mask)) == (0, 0, [])


def test_doubtful_candidates_are_not_in_the_array(make_scene):
    message = detection_array_from_scene(make_scene(*OBJECTS, score_threshold=0.5), "nanodet-g")
    assert [(d.id, d.label) for d in message.detections] == [(1, "bus"), (2, "traffic light")]


def test_without_fusion_nothing_is_novel(make_scene):
    [message] = detection_array_from_scene(make_scene(("cup", 0.5, (0, 0, 9, 9))), "").detections
    assert message.novelty == 0.0


def test_single_objects_keep_their_numbers(make_scene):
    scene = make_scene(*OBJECTS)
    detections = EnrichedDetections.unchanged(scene.perception)
    messages = detection_messages(detections, [2, 0])
    assert [(d.id, d.label) for d in messages] == [(3, "person"), (1, "bus")]


def test_the_array_of_a_fusion_pass_holds_what_is_reported_and_ids_may_have_gaps(enriched_scene):
    message = detection_array_from_enriched(enriched_scene, "nanodet-g+mrmllm")
    assert [(d.id, d.label) for d in message.detections] == [(1, "bus"), (3, "forklift")]


def test_both_arrays_of_a_scene_number_the_same_objects_alike(enriched_scene):
    of_detector = detection_array_from_scene(enriched_scene.scene, "").detections
    of_fusion = detection_array_from_enriched(enriched_scene, "").detections
    assert [(d.id, d.detector_label) for d in of_detector] == [(1, "bus"), (2, "person")]
    assert [(d.id, d.detector_label) for d in of_fusion] == [(1, "bus"), (3, "box")]


def test_after_fusion_the_best_label_score_and_box_stand_beside_what_the_detector_said(
    enriched_scene,
):
    message = detection_array_from_enriched(enriched_scene, "").detections[1]
    assert (message.label, message.score) == ("forklift", 0.625)
    assert (message.detector_label, message.detector_score) == ("box", 0.125)
    assert message.bbox == BoundingBox2D(
        center_x=210.0, center_y=160.0, size_x=220.0, size_y=120.0
    )


def test_every_object_has_its_own_novelty_and_attributes(enriched_scene):
    bus, forklift = detection_array_from_enriched(enriched_scene, "").detections
    assert (bus.novelty, forklift.novelty) == (0.0, 0.75)
    assert [(a.name, a.value, a.score) for a in bus.attributes] == [
        ("color", "red", 0.5),
        ("state", "parked", 0.25),
    ]
    assert [(a.name, a.value, a.score) for a in forklift.attributes] == [("color", "yellow", 0.75)]


def test_the_array_of_a_fusion_pass_says_where_it_comes_from_and_how_long_it_took(enriched_scene):
    message = detection_array_from_enriched(enriched_scene, "nanodet-g+mrmllm")
    assert message.header == header_of(enriched_scene.scene.frame)
    assert (message.camera, message.model) == ("front", "nanodet-g+mrmllm")
    assert (message.image_width, message.image_height) == (640, 480)
    assert message.latency == 0.5


def test_a_fusion_pass_that_reports_nothing_gives_an_array_of_nothing(make_scene):
    scene = make_scene()
    encoded = EncodedImage(EnrichedDetections.unchanged(scene.perception))
    message = detection_array_from_enriched(EnrichedScene(scene, encoded, 0.5), "")
    assert message.detections == []
    assert message.header == header_of(scene.frame)


def test_track_ids_survive_the_way_into_a_message_and_back(make_scene):
    scene = make_scene(*OBJECTS)
    ids = ("12", "", "7", "")
    candidates = replace(scene.perception.candidates, track_ids=ids)
    message = detection_array_from_scene(
        replace(scene, perception=replace(scene.perception, candidates=candidates)), ""
    )
    assert [d.track_id for d in message.detections] == ["12", "", "7", ""]
    assert detections_from_message(message).track_ids == ids


def test_after_fusion_an_object_keeps_the_track_id_of_its_candidate(enriched_scene):
    detections = enriched_scene.encoded.enriched
    ids = ("12", "8", "7")
    tracked = replace(detections, fused=replace(detections.fused, track_ids=ids))
    messages = detection_messages(tracked, [0, 2])
    assert [d.track_id for d in messages] == ["12", "7"]


def test_a_message_that_gives_a_track_id_to_two_objects_is_rejected(make_scene):
    message = detection_array_from_scene(make_scene(*OBJECTS), "")
    for detection in message.detections[:2]:
        detection.track_id = "5"
    with pytest.raises(ValueError, match="track_ids"):
        detections_from_message(message)


@pytest.mark.parametrize(
    ("field", "value"),
    [("size_x", -1.0), ("size_y", -0.5), ("center_x", float("nan")), ("size_x", float("inf"))],
)
def test_a_message_with_a_box_that_is_none_is_rejected(field, value, make_scene):
    message = detection_array_from_scene(make_scene(*OBJECTS), "")
    setattr(message.detections[1].bbox, field, value)
    with pytest.raises(ValueError, match="xyxy"):
        detections_from_message(message)


@pytest.mark.parametrize("score", [-0.5, 1.5, float("nan")])
def test_a_message_with_a_score_that_is_none_is_rejected(score, make_scene):
    message = detection_array_from_scene(make_scene(*OBJECTS), "")
    message.detections[1].score = score
    with pytest.raises(ValueError, match="scores"):
        detections_from_message(message)


def test_a_message_about_an_image_without_size_is_rejected(make_scene):
    message = detection_array_from_scene(make_scene(*OBJECTS), "")
    message.image_width = 0
    with pytest.raises(ValueError, match="resolution_wh"):
        detections_from_message(message)


@pytest.fixture
def masked_scene(make_scene):
    """A bus with a mask of 2 x 3 pixels, a cup without one, in an image of 640 x 480 pixels."""
    scene = make_scene(("bus", 0.8, (10, 20, 13, 22)), ("cup", 0.7, (50, 60, 80, 90)))
    inside = np.array([[True, False, True], [True, True, True]])
    masks = (Mask(inside, left=10, top=20), Mask.empty())
    candidates = replace(scene.perception.candidates, masks=masks)
    return replace(scene, perception=replace(scene.perception, candidates=candidates))


def test_a_mask_is_encoded_in_runs_within_its_own_rectangle(masked_scene):
    bus, cup = detection_array_from_scene(masked_scene, "").detections
    assert (bus.mask_x, bus.mask_y, bus.mask_width, bus.mask_height) == (10, 20, 3, 2)
    # Row by row: inside, outside, inside; inside, inside, inside.
    assert list(bus.mask) == [0, 1, 1, 4]
    assert (cup.mask_x, cup.mask_y, cup.mask_width, cup.mask_height) == (0, 0, 0, 0)
    assert list(cup.mask) == []


def test_a_mask_is_read_with_numpy_alone_as_the_changelog_says(masked_scene):
    message = detection_array_from_scene(masked_scene, "")
    d = message.detections[0]
    inside = np.repeat(np.arange(len(d.mask)) % 2 == 1, d.mask)
    whole = np.zeros((message.image_height, message.image_width), bool)
    rows = slice(d.mask_y, d.mask_y + d.mask_height)
    columns = slice(d.mask_x, d.mask_x + d.mask_width)
    whole[rows, columns] = inside.reshape(d.mask_height, d.mask_width)
    np.testing.assert_array_equal(whole, mask_from_message(d, (640, 480)).whole((640, 480)))
    assert whole.sum() == 5


def test_a_mask_of_a_person_takes_a_few_kilobytes_instead_of_a_whole_image(masked_scene):
    inside = np.zeros((600, 300), np.uint8)
    cv2.ellipse(inside, (150, 300), (140, 290), 0, 0, 360, 1, cv2.FILLED)
    [bus, cup] = masked_scene.perception.candidates.masks
    masks = (replace(bus, inside=inside > 0), cup)
    candidates = replace(
        masked_scene.perception.candidates, masks=masks, resolution_wh=(1280, 720)
    )
    scene = replace(
        masked_scene, perception=replace(masked_scene.perception, candidates=candidates)
    )
    assert len(serialize_message(detection_array_from_scene(scene, ""))) < 8_000


def test_masks_survive_the_way_into_a_message_and_back(masked_scene):
    sent = serialize_message(detection_array_from_scene(masked_scene, ""))
    back = detections_from_message(deserialize_message(sent, DetectionArray))
    before = masked_scene.perception.detections
    for one, other in zip(before.masks, back.masks, strict=True):
        np.testing.assert_array_equal(one.whole((640, 480)), other.whole((640, 480)))
    assert back.masks[1].is_empty


def test_without_masks_none_come_back(make_scene):
    assert detections_from_message(detection_array_from_scene(make_scene(), "")).masks is None
    array_ = detection_array_from_scene(make_scene(*OBJECTS), "")
    assert detections_from_message(array_).masks is None


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("mask_x", 638, "mask of 3 x 2 pixels at 638, 20 is not inside the image of 640 x 480"),
        ("mask_y", 479, "at 10, 479 is not inside"),
        ("mask_x", 2**32 - 1, "at 4294967295, 20 is not inside"),
        ("mask_width", 4, "add up to 6, expected 8"),
        ("mask_height", 1, "add up to 6, expected 3"),
        ("mask_width", 0, "mask of 0 x 2 pixels"),
        ("mask_height", 2**32 - 1, "is not inside"),
        ("mask", [], "add up to 0, expected 6"),
        ("mask", [0, 1, 1, 5], "add up to 7, expected 6"),
        ("mask", [2**32 - 1, 7], "add up to 4294967302, expected 6"),
    ],
)
def test_a_mask_that_does_not_fit_is_rejected(field, value, reason, masked_scene):
    message = detection_array_from_scene(masked_scene, "")
    setattr(message.detections[0], field, value)
    with pytest.raises(ValueError, match=reason):
        detections_from_message(message)


def test_runs_without_a_rectangle_are_rejected(make_scene):
    message = detection_array_from_scene(make_scene(*OBJECTS), "")
    message.detections[1].mask = [0, 6]
    with pytest.raises(ValueError, match="mask of 0 x 0 pixels at 0, 0 is not inside"):
        detections_from_message(message)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("bbox.size_x", -1.0, "box is inverted"),
        ("bbox.center_y", float("nan"), "box edge is NaN or infinite"),
        ("bbox.size_y", float("inf"), "box edge is NaN or infinite"),
        ("score", 1.5, "score is not between 0 and 1"),
        ("score", float("nan"), "score is not between 0 and 1"),
        ("mask", [0, 6], "mask does not fit its rectangle or the image"),
        ("track_id", "7", "track id is not unique"),
    ],
)
def test_one_invalid_detection_of_a_message_is_dropped_and_the_others_stay(
    path, value, reason, make_scene
):
    message = detection_array_from_scene(make_scene(*OBJECTS), "")
    message.detections[0].track_id = "7"
    owner = message.detections[1]
    *parents, field = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, field, value)
    labels = [d.label for d in message.detections]
    assert drop_invalid(message) == {reason: 1}
    assert [d.label for d in message.detections] == [labels[0], *labels[2:]]
    assert detections_from_message(message).labels == (labels[0], *labels[2:])


def test_nothing_is_dropped_from_a_valid_or_an_empty_message(make_scene, masked_scene):
    for scene in (make_scene(*OBJECTS), masked_scene, make_scene()):
        message = detection_array_from_scene(scene, "")
        count = len(message.detections)
        assert not drop_invalid(message)
        assert len(message.detections) == count


def test_the_array_of_a_fusion_pass_has_masks_too(masked_scene):
    enriched = EnrichedDetections.unchanged(masked_scene.perception)
    message = detection_array_from_enriched(
        EnrichedScene(masked_scene, EncodedImage(enriched), 0.5), ""
    )
    assert message.detections[0].mask_width == 3
    assert list(message.detections[0].mask) == [0, 1, 1, 4]


@pytest.mark.parametrize(
    "stamp",
    [
        Time(sec=1_700_000_000, nanosec=123_456_789),
        Time(sec=1, nanosec=999_999_999),
        Time(sec=0, nanosec=1),
        Time(sec=2**31 - 1, nanosec=1),
        Time(),
    ],
    ids=str,
)
def test_a_stamp_is_kept_to_the_nanosecond(stamp, make_scene):
    frame = make_scene(stamp_ns=nanoseconds(stamp)).frame
    assert header_of(frame).stamp == stamp


def test_nanoseconds_count_from_the_epoch():
    assert nanoseconds(Time(sec=3, nanosec=7)) == 3_000_000_007


def test_an_image_without_stamp_keeps_its_zero_stamp(make_scene):
    frame = make_scene(stamp_ns=0).frame
    assert frame.captured_ns > 0
    assert header_of(frame).stamp == Time()


@pytest.mark.parametrize("frame_id", ["", "front_optical", "robot1/camera optical"])
def test_the_coordinate_frame_is_kept(frame_id, make_scene):
    assert header_of(make_scene(frame_id=frame_id).frame).frame_id == frame_id
