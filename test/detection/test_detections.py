# SPDX-License-Identifier: Apache-2.0
import doctest
from dataclasses import replace

import numpy as np
import pytest

from mrmllm_ros.detection import detections as detections_module
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.detection.masks import Mask


def ranked(detections):
    """All fields of the objects, largest first."""
    return Perception.ranked(detections, score_threshold=0.0).candidates


@pytest.fixture
def empty():
    return Detections.empty((640, 480))


@pytest.fixture
def three(make_detections):
    return make_detections(
        ("cup", 0.9, (0, 0, 10, 10)),
        ("bus", 0.8, (100, 50, 500, 450)),
        ("person", 0.6, (20, 40, 120, 440)),
    )


def test_no_objects_are_an_empty_table_of_four_columns(empty):
    assert len(empty) == 0
    assert empty.xyxy.shape == (0, 4)
    assert empty.scores.shape == (0,)
    assert empty.labels == ()
    assert empty.resolution_wh == (640, 480)
    assert (empty.xyxy.dtype, empty.scores.dtype) == (np.float32, np.float32)


def test_no_objects_can_be_measured_sorted_and_taken_from(empty):
    assert empty.xywh.shape == (0, 4)
    assert empty.areas.shape == (0,)
    assert len(ranked(empty)) == 0
    assert len(empty.take(np.zeros(0, int))) == 0


def test_length_is_the_number_of_objects(three):
    assert len(three) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xyxy": np.zeros((2, 4), np.float32)}, r"xyxy has shape \(2, 4\), expected \(3, 4\)"),
        ({"xyxy": np.zeros((3, 5), np.float32)}, r"xyxy has shape \(3, 5\), expected \(3, 4\)"),
        ({"xyxy": np.zeros(12, np.float32)}, r"xyxy has shape \(12,\), expected \(3, 4\)"),
        ({"scores": np.zeros(2, np.float32)}, r"scores has shape \(2,\), expected \(3,\)"),
        ({"scores": np.zeros((3, 1), np.float32)}, r"scores has shape \(3, 1\)"),
        ({"labels": ("cup", "bus")}, r"xyxy has shape \(3, 4\), expected \(2, 4\)"),
        ({"resolution_wh": (0, 480)}, r"resolution_wh \(0, 480\) is not positive"),
        ({"resolution_wh": (640, -1)}, "is not positive"),
        ({"track_ids": ("1", "2")}, "2 track_ids for 3 objects"),
        ({"track_ids": ("1", "", "1")}, "are not unique"),
    ],
)
def test_fields_that_do_not_fit_together_are_rejected(change, message, three):
    with pytest.raises(ValueError, match=message):
        replace(three, **change)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((np.nan, 0, 1, 1), "NaN or infinite"),
        ((0, 0, np.inf, 1), "NaN or infinite"),
        ((-np.inf, 0, 1, 1), "NaN or infinite"),
        ((10, 0, 9, 1), "right < left or bottom < top"),
        ((0, 10, 1, 9), "right < left or bottom < top"),
    ],
)
def test_an_invalid_box_is_rejected(box, message, make_detections):
    with pytest.raises(ValueError, match=message):
        make_detections(("cup", 0.5, (0, 0, 5, 5)), ("bus", 0.5, box))


@pytest.mark.parametrize("score", [-0.01, 1.01, np.nan, np.inf])
def test_an_invalid_score_is_rejected(score, make_detections):
    with pytest.raises(ValueError, match="scores are not all between 0 and 1"):
        make_detections(("cup", 0.5, (0, 0, 5, 5)), ("bus", score, (0, 0, 5, 5)))


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_the_bounds_of_a_score_and_a_box_without_area_are_allowed(score, make_detections):
    assert len(make_detections(("cup", score, (5, 5, 5, 5)))) == 1


def test_xywh_is_center_and_full_size(make_detections):
    box = make_detections(("cup", 0.5, (10, 20, 110, 220)))
    np.testing.assert_array_equal(box.xywh, [[60, 120, 100, 200]])


def test_areas_are_those_of_the_boxes_in_square_pixels(make_detections):
    objects = make_detections(("cup", 0.8, (0, 0, 320, 240)), ("bus", 0.5, (5, 5, 5, 9)))
    np.testing.assert_array_equal(objects.areas, [320 * 240, 0])


def test_the_largest_object_comes_first_with_all_its_fields(three):
    ordered = ranked(three)
    assert ordered.labels == ("bus", "person", "cup")
    np.testing.assert_array_equal(ordered.xyxy, three.xyxy[[1, 2, 0]])
    np.testing.assert_array_equal(ordered.scores, three.scores[[1, 2, 0]])
    assert ordered.resolution_wh == three.resolution_wh


def test_objects_of_one_size_keep_their_order(make_detections):
    # More than 16, because numpy sorts smaller arrays stably with every method.
    names = tuple(f"cup{i}" for i in range(40))
    cups = make_detections(
        *((name, 0.5, (0, 0, 10, 10)) for name in names), ("bus", 0.9, (0, 0, 99, 99))
    )
    assert ranked(cups).labels == ("bus", *names)


def test_take_returns_objects_in_the_requested_order(three):
    taken = three.take(np.array([2, 0]))
    assert taken.labels == ("person", "cup")
    np.testing.assert_array_equal(taken.xyxy, three.xyxy[[2, 0]])
    np.testing.assert_array_equal(taken.scores, three.scores[[2, 0]])


@pytest.fixture
def masked(three):
    """The mask of the object at index i has i + 1 pixels."""
    masks = tuple(Mask(np.ones((1, i), bool), left=i, top=i) for i in (1, 2, 3))
    return replace(three, masks=masks)


def test_masks_stay_with_their_objects(masked):
    assert [mask.inside.size for mask in masked.take(np.array([2, 0])).masks] == [3, 1]
    assert [mask.inside.size for mask in ranked(masked).masks] == [2, 3, 1]


def test_without_masks_there_are_none_after_taking(three):
    assert three.take(np.array([1])).masks is None


def test_taking_no_objects_leaves_no_masks(masked):
    assert masked.take(np.zeros(0, int)).masks == ()


def test_masks_must_be_as_many_as_objects(masked):
    with pytest.raises(ValueError, match="2 masks for 3 objects"):
        replace(masked, masks=masked.masks[:2])


@pytest.mark.parametrize("place", [{"left": 639}, {"top": 479}])
def test_a_mask_that_exceeds_the_image_is_rejected(place, make_detections):
    one = make_detections(("cup", 0.9, (0, 0, 10, 10)))
    with pytest.raises(ValueError, match=r"in an image of \(640, 480\) pixels"):
        replace(one, masks=(Mask(np.ones((2, 2), bool), **place),))


def test_a_mask_may_reach_to_the_last_pixel(make_detections):
    one = make_detections(("cup", 0.9, (0, 0, 10, 10)))
    assert replace(one, masks=(Mask(np.ones((2, 2), bool), left=638, top=478),)).masks is not None


def test_distances_stay_with_their_objects(three):
    measured = replace(three, distances_m=np.array([1, np.nan, 2.5], np.float32))
    np.testing.assert_array_equal(measured.take(np.array([2, 1])).distances_m, [2.5, np.nan])
    assert three.take(np.array([1])).distances_m is None


@pytest.mark.parametrize(
    ("distances", "message"),
    [
        ([1, 2], "expected \\(3,\\)"),
        ([1, 2, -1], "negative or infinite"),
        ([1, 2, np.inf], "or infinite"),
    ],
)
def test_an_invalid_distance_is_rejected(distances, message, three):
    with pytest.raises(ValueError, match=message):
        replace(three, distances_m=np.array(distances, np.float32))


def test_nothing_is_tracked_by_default(three, empty):
    assert three.track_ids == ("", "", "")
    assert empty.track_ids == ()


def test_any_number_of_objects_may_be_untracked(three):
    assert replace(three, track_ids=("", "7", "")).track_ids == ("", "7", "")


def test_track_ids_stay_with_their_objects(three):
    tracked = replace(three, track_ids=("7", "", "4"))
    assert tracked.take(np.array([2, 0])).track_ids == ("4", "7")
    assert tracked.take(np.zeros(0, int)).track_ids == ()
    # The bus, untracked, is the largest; then the person; then the cup.
    assert ranked(tracked).track_ids == ("", "4", "7")


def test_the_example_of_the_documentation_holds():
    assert doctest.testmod(detections_module, extraglobs={"np": np}) == (0, 2)
