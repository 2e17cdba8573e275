# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.evaluation.statistics import (
    Auroc,
    Difference,
    Interval,
    Mean,
    MeanRatio,
    Ratio,
    auroc,
    bootstrap,
    bootstrap_difference,
)

ALL = np.arange(4)[None]


def test_a_ratio_is_of_sums_over_the_chosen_scenes():
    ratio = Ratio(np.array([1, 2, 0, 3]), np.array([2, 2, 2, 4]))
    assert ratio(ALL).tolist() == [0.6]
    assert ratio(np.array([[0, 0, 1, 1], [2, 2, 2, 2]])).tolist() == [0.75, 0.0]
    assert np.isnan(Ratio(np.zeros(4), np.zeros(4))(ALL)).all()


def test_a_mean_ignores_undefined_values():
    half = Ratio(np.ones(4), np.full(4, 2))
    undefined = Ratio(np.ones(4), np.zeros(4))
    one = Ratio(np.ones(4), np.ones(4))
    assert Mean([half, undefined, one])(ALL).tolist() == [0.75]
    assert np.isnan(Mean([undefined])(ALL)).all()


def test_a_mean_of_ratios_is_over_the_classes_of_the_chosen_scenes():
    # The first three scenes are of one class, the last one is of another.
    members = np.array([[1, 0], [1, 0], [1, 0], [0, 1]])
    mean = MeanRatio(members * np.array([[1], [1], [0], [0]]), members)
    assert mean(ALL) == pytest.approx([(2 / 3 + 0) / 2])
    assert mean(np.array([[0, 0, 1, 2], [3, 3, 3, 3]])) == pytest.approx([0.75, 0])
    assert np.isnan(MeanRatio(np.zeros((4, 2)), np.zeros((4, 2)))(ALL)).all()


def test_a_difference_is_on_the_same_samples():
    half, one = Ratio(np.ones(4), np.full(4, 2)), Ratio(np.ones(4), np.ones(4))
    assert Difference(one, half)(ALL).tolist() == [0.5]


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [
        ([3, 4], [1, 2], 1.0),
        ([1, 2], [3, 4], 0.0),
        ([1, 3], [2], 0.5),
        ([1, 1], [1, 1, 1], 0.5),
        ([2, 2, 3], [2, 1], (0.5 + 1 + 0.5 + 1 + 1 + 1) / 6),
    ],
)
def test_auroc_is_the_share_of_pairs_in_the_right_order(positives, negatives, expected):
    assert auroc(np.array(positives), np.array(negatives)) == pytest.approx(expected)


def test_auroc_needs_both_kinds():
    assert np.isnan(auroc(np.array([]), np.array([1.0])))
    statistic = Auroc([np.array([2.0, 3.0]), np.array([0.0])], [np.array([1.0]), np.array([])])
    assert statistic(np.array([[0, 1], [0, 0], [1, 1]])).tolist()[:2] == [2 / 3, 1.0]
    assert np.isnan(statistic(np.array([[1, 1]]))).all()


def test_an_interval_is_as_wide_as_theory_says():
    right = np.random.default_rng(0).random(400) < 0.8
    interval = bootstrap(Ratio(right, np.ones(400)), 400)
    share = right.mean()
    width = 2 * 1.96 * np.sqrt(share * (1 - share) / 400)
    assert interval.value == share
    assert interval.high - interval.low == pytest.approx(width, rel=0.15)
    assert interval.low < share < interval.high


def test_questions_about_one_scene_are_resampled_together():
    right = (np.arange(40) % 2).astype(float)
    single = bootstrap(Ratio(right.repeat(10), np.ones(400)), 400)
    clustered = bootstrap(Ratio(right * 10, np.full(40, 10)), 40)
    assert clustered.high - clustered.low > 2.5 * (single.high - single.low)


def test_it_is_the_same_each_time():
    ratio = Ratio(np.arange(9), np.full(9, 9))
    assert bootstrap(ratio, 9) == bootstrap(ratio, 9)


def test_a_difference_on_the_same_scenes_has_a_narrow_interval():
    rng = np.random.default_rng(1)
    base = rng.random(60)
    one, other = Ratio(base + 0.1, np.ones(60)), Ratio(base, np.ones(60))
    difference = bootstrap_difference(one, other, 60)
    assert difference.value == pytest.approx(0.1)
    assert difference.high - difference.low < 1e-9
    assert difference.excludes_zero
    noise = Ratio(base + rng.normal(0, 0.5, 60), np.ones(60))
    assert not bootstrap_difference(noise, other, 60).excludes_zero


def test_undefined_values_have_no_interval():
    undefined = bootstrap(Ratio(np.ones(3), np.zeros(3)), 3)
    assert np.isnan([undefined.value, undefined.low, undefined.high]).all()
    assert not undefined.excludes_zero
    assert np.isnan(bootstrap(Ratio(np.ones(0), np.ones(0)), 0).value)
    assert Interval(-0.2, -0.3, -0.1).excludes_zero
