# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.evaluation.average_precision import (
    AveragePrecision,
    Matches,
    TrueObjects,
)
from mrmllm_ros.evaluation.statistics import bootstrap

BOX, OTHER, FAR = (10, 10, 110, 110), (200, 200, 300, 300), (400, 300, 450, 350)


@pytest.fixture
def score(make_detections):
    """Function that gives AP50 and AP of lists of images, each a list of objects."""

    def score(truth, found, crowd=None):
        flags = crowd or [None] * len(truth)
        matches = Matches(
            [
                TrueObjects(make_detections(*[(x, 1, box) for x, box in each]), flag)
                for each, flag in zip(truth, flags, strict=True)
            ],
            [make_detections(*each) for each in found],
        )
        every = np.arange(len(truth))
        return tuple(matches.average_precision(every, kind) for kind in ("AP50", "AP"))

    return score


def test_perfect_detections_are_one_and_none_are_zero(score):
    truth = [[("dog", BOX), ("car", OTHER)]]
    found = [[("dog", 0.9, BOX), ("car", 0.8, OTHER)]]
    assert score(truth, found) == pytest.approx((1, 1))
    assert score(truth, [[]]) == (0, 0)


def test_a_wrong_box_counts_by_its_score(score):
    truth = [[("dog", BOX)]]
    assert score(truth, [[("dog", 0.9, BOX), ("dog", 0.1, FAR)]])[0] == pytest.approx(1)
    assert score(truth, [[("dog", 0.1, BOX), ("dog", 0.9, FAR)]])[0] == pytest.approx(0.5)


def test_a_second_box_of_the_same_object_is_wrong(score):
    truth = [[("dog", BOX), ("dog", OTHER)]]
    found = [[("dog", 0.9, BOX), ("dog", 0.8, BOX), ("dog", 0.7, OTHER)]]
    # Precision 1 up to a recall of one half (51 of 101 points), then 2/3.
    assert score(truth, found)[0] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_worse_box_costs_at_stricter_overlaps_only(score):
    # An overlap of 0.6: right up to there, which is 3 of the 10 overlaps.
    ap50, ap = score([[("dog", (0, 0, 100, 100))]], [[("dog", 0.9, (0, 0, 100, 60))]])
    assert ap50 == pytest.approx(1)
    assert ap == pytest.approx(0.3)


def test_present_classes_have_equal_weight(score):
    truth = [[("dog", BOX), ("dog", OTHER), ("car", FAR)]]
    found = [[("dog", 0.9, BOX), ("dog", 0.8, OTHER), ("bus", 0.9, FAR)]]
    assert score(truth, found) == pytest.approx((0.5, 0.5))


def test_detections_in_a_crowd_do_not_count(score):
    truth = [[("person", BOX), ("person", (200, 200, 400, 400))]]
    found = [[("person", 0.5, BOX), ("person", 0.9, (210, 210, 260, 300))]]
    assert score(truth, found)[0] == pytest.approx(51 / 101 / 2)
    assert score(truth, found, [np.array([False, True])]) == pytest.approx((1, 1))


@pytest.mark.parametrize("found", [[], [("dog", 0.9, BOX)]])
def test_it_is_undefined_without_objects(score, found):
    assert np.isnan(score([[]], [found])).all()


def test_resampled_images_give_the_result_of_a_new_evaluation(make_detections):
    rng = np.random.default_rng(3)

    def objects(count):
        corners = rng.uniform(0, 300, (count, 2))
        boxes = np.hstack([corners, corners + rng.uniform(30, 160, (count, 2))])
        labels, scores = rng.choice(["dog", "car", "bus"], count), rng.uniform(0.05, 1, count)
        return list(zip(labels.tolist(), scores.tolist(), boxes.tolist(), strict=True))

    truth, found = [], []
    for _ in range(6):
        there = objects(5)
        seen = [(x, s, np.array(b) + rng.normal(0, 8, 4).round()) for x, s, b in there]
        truth.append(TrueObjects(make_detections(*there)))
        found.append(make_detections(*seen, *objects(4)))
    matches, chosen = Matches(truth, found), np.array([4, 0, 0, 5, 2])
    again = Matches([truth[i] for i in chosen], [found[i] for i in chosen])
    for kind in ("AP50", "AP"):
        drawn = matches.average_precision(chosen, kind)
        assert 0 < drawn < 1
        assert drawn == pytest.approx(again.average_precision(np.arange(5), kind), abs=0.02)
    interval = bootstrap(AveragePrecision(matches), 6, samples=50)
    assert interval.low < interval.high


def test_different_numbers_of_images_are_rejected(make_detections):
    with pytest.raises(ValueError, match="of 1 images, but detections of 0"):
        Matches([TrueObjects(make_detections())], [])
