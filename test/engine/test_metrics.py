# SPDX-License-Identifier: Apache-2.0
import pytest

from mrmllm_ros.engine.metrics import Counter


@pytest.fixture
def counter():
    return Counter()


def test_an_outcome_that_did_not_occur_has_count_0_and_no_latency(counter):
    assert counter.counts("processed") == {"processed": 0}
    assert counter.latency("processed") is None


def test_each_outcome_is_counted_separately(counter):
    for outcome in ("processed", "unusable", "processed"):
        counter.add(outcome)
    assert counter.counts("processed", "unusable") == {"processed": 2, "unusable": 1}
    assert counter.latency("processed") is None


def test_median_and_95th_percentile_are_those_of_the_latencies(counter):
    for hundredth in range(101):
        counter.add("processed", hundredth / 100)
    latency = counter.latency("processed")
    assert latency.median_s == pytest.approx(0.5)
    assert latency.p95_s == pytest.approx(0.95)


def test_only_the_newest_300_latencies_count_and_every_event(counter):
    for _ in range(1000):
        counter.add("processed", 9.0)
    for _ in range(300):
        counter.add("processed", 1.0)
    assert counter.counts("processed") == {"processed": 1300}
    assert counter.latency("processed").p95_s == 1.0
