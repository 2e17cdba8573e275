# SPDX-License-Identifier: Apache-2.0
import pytest

from mrmllm_ros.engine.metrics import Counter


@pytest.fixture
def tally():
    return Counter()


def test_what_never_happened_counts_as_none_and_has_no_latency(tally):
    assert tally.count("processed") == 0
    assert tally.latency("processed") is None


def test_each_outcome_is_counted_for_itself(tally):
    for outcome in ("processed", "unusable", "processed"):
        tally.add(outcome)
    assert (tally.count("processed"), tally.count("unusable")) == (2, 1)
    assert tally.latency("processed") is None


def test_median_and_95th_percentile_are_those_of_the_latencies(tally):
    for hundredth in range(101):
        tally.add("processed", hundredth / 100)
    latency = tally.latency("processed")
    assert latency.median_s == pytest.approx(0.5)
    assert latency.p95_s == pytest.approx(0.95)


def test_only_the_newest_300_latencies_count_and_every_event(tally):
    for _ in range(1000):
        tally.add("processed", 9.0)
    for _ in range(300):
        tally.add("processed", 1.0)
    assert tally.count("processed") == 1300
    assert tally.latency("processed").p95_s == 1.0
