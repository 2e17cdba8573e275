# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.detection.raw_objects import (
    BAD_SCORE,
    INVERTED,
    NO_SIZE,
    NOT_FINITE,
    OUTSIDE,
    UNNAMED,
    RawObjects,
    class_labels,
    describe_dropped,
    printable,
)

NAMES = {0: "person", 1: "dog"}
SIZE = (640, 480)
GOOD = ((10, 20, 110, 220), 0.9, 0)
NAN, INF = np.nan, np.inf

BAD = [
    ((60, 40, 40, 80), 0.5, 0, INVERTED),
    ((40, 80, 60, 40), 0.5, 0, INVERTED),
    ((40, 40, 40, 80), 0.5, 0, NO_SIZE),
    ((40, 80, 60, 80), 0.5, 0, NO_SIZE),
    ((NAN, 40, 60, 80), 0.5, 0, NOT_FINITE),
    ((40, 40, INF, 80), 0.5, 0, NOT_FINITE),
    ((-INF, -INF, INF, INF), 0.5, 0, NOT_FINITE),
    ((40, 40, 1e39, 80), 0.5, 0, NOT_FINITE),
    ((700, 40, 800, 80), 0.5, 0, OUTSIDE),
    ((640, 0, 641, 9), 0.5, 0, OUTSIDE),
    ((-90, 40, 0, 80), 0.5, 0, OUTSIDE),
    ((40, -80, 60, -1), 0.5, 0, OUTSIDE),
    ((40, 40, 60, 80), 1.5, 0, BAD_SCORE),
    ((40, 40, 60, 80), -0.1, 0, BAD_SCORE),
    ((40, 40, 60, 80), NAN, 0, BAD_SCORE),
    ((40, 40, 60, 80), INF, 0, BAD_SCORE),
    ((40, 40, 60, 80), 0.5, 2, UNNAMED),
    ((40, 40, 60, 80), 0.5, -1, UNNAMED),
    ((40, 40, 60, 80), 0.5, 0.5, UNNAMED),
    ((40, 40, 60, 80), 0.5, NAN, UNNAMED),
    ((60, 40, 40, 80), NAN, 7, BAD_SCORE),
]


def check(*objects, names=NAMES):
    xyxy, scores, class_ids = (np.array(part, float) for part in zip(*objects, strict=True))
    with np.errstate(over="ignore"):
        return RawObjects(xyxy, scores, class_ids).check(names, SIZE)


@pytest.mark.parametrize(("box", "score", "class_id", "reason"), BAD)
def test_a_bad_object_is_dropped_and_counted(box, score, class_id, reason):
    checked = check((box, score, class_id), GOOD, (box, score, class_id))
    assert checked.detections.labels == ("person",)
    np.testing.assert_array_equal(checked.detections.xyxy, [GOOD[0]])
    assert checked.indices.tolist() == [1]
    assert checked.dropped == {reason: 2}


def test_usable_objects_keep_order_score_and_label():
    bad = [case[:3] for case in BAD]
    dog = ((1, 2, 3, 4), 0.25, 1)
    checked = check(*bad, dog, *bad, GOOD, *bad)
    assert checked.detections.labels == ("dog", "person")
    np.testing.assert_array_equal(checked.detections.scores, np.float32([0.25, 0.9]))
    assert checked.indices.tolist() == [len(bad), 2 * len(bad) + 1]
    assert checked.dropped.total() == 3 * len(bad)


def test_a_box_partly_outside_the_image_is_clipped_to_it():
    checked = check(((-50, -0.5, 700, 500), 0.5, 0))
    np.testing.assert_array_equal(checked.detections.xyxy, [(0, 0, 640, 480)])
    assert not checked.dropped


def test_a_score_that_exceeds_1_by_rounding_counts_as_1():
    [score] = check(((1, 2, 3, 4), 1.0005, 0)).detections.scores
    assert score == 1


def test_no_objects_are_checked_without_an_error():
    checked = RawObjects(np.zeros((0, 4)), np.zeros(0), np.zeros(0)).check(NAMES, SIZE)
    assert len(checked.detections) == len(checked.indices) == 0
    assert not checked.dropped


def test_reasons_and_counts_are_on_one_line():
    checked = check(*(case[:3] for case in BAD[:3]))
    assert describe_dropped(checked.dropped) == "box is inverted: 2, box has no size: 1"


@pytest.mark.parametrize(
    ("names", "named"), [({0: "a", 1: "b"}, 2), ({0: "a", 2: "c"}, 2), ({}, 0)]
)
def test_missing_names_are_an_error_with_both_counts(names, named):
    with pytest.raises(ValueError, match=f"has 3 classes, but names for {named} "):
        class_labels(names, 3)


def test_more_names_than_classes_or_names_twice_are_no_error():
    names = {0: "person", 1: "person", 2: "cat"}
    assert class_labels(names, 2) == class_labels(names, None) == names


def test_a_blank_name_becomes_the_number_of_its_class_and_others_stay_on_one_line():
    names = {
        0: "",
        1: " \t",
        2: "sign [3]",
        3: "stop\n[7]",
        4: "\x1b[2Jcar\x00",
        5: 17,
        6: "\ud800",
    }
    assert class_labels(names, 7) == {
        0: "class 0",
        1: "class 1",
        2: "sign [3]",
        3: "stop [7]",
        4: "[2Jcar",
        5: "17",
        6: "\ufffd",
    }


def test_an_ordinary_label_is_not_changed():
    assert printable("Ampel, grün 信号") == "Ampel, grün 信号"


def test_only_the_first_usable_objects_are_kept_and_all_others_counted():
    boxes = [(5, 5, 5, 9), (1, 1, 9, 9), (2, 2, 9, 9), (3, 3, 3, 9)]
    raw = RawObjects(np.array(boxes, np.float32), np.full(4, 0.5, np.float32), np.zeros(4))
    checked = raw.check(NAMES, SIZE, limit=1)
    assert checked.indices.tolist() == [1]
    assert checked.detections.xyxy.tolist() == [[1, 1, 9, 9]]
    assert checked.dropped == {NO_SIZE: 2}
    assert len(raw.check(NAMES, SIZE, limit=0).detections) == 0
