# SPDX-License-Identifier: Apache-2.0
import pytest

from mrmllm_ros.detection.stamps import JUMP_BACK_NS
from mrmllm_ros.localization.stamped_buffer import StampedBuffer


@pytest.fixture
def buffer():
    return StampedBuffer()


def fill(buffer, *stamps, capacity=10):
    return [buffer.put(stamp, f"at {stamp}", capacity) for stamp in stamps]


def test_an_empty_buffer_has_nothing(buffer):
    assert buffer.newest_ns is None
    assert buffer.nearest(0, tolerance_ns=10**18) is None


@pytest.mark.parametrize(
    ("stamp", "found"),
    [(200, "at 200"), (249, "at 200"), (251, "at 300"), (60, "at 100"), (350, "at 300")],
)
def test_the_nearest_in_time_is_found(buffer, stamp, found):
    assert fill(buffer, 100, 200, 300) == [False, False, False]
    assert buffer.nearest(stamp, tolerance_ns=50) == found


@pytest.mark.parametrize("stamp", [49, 151, 1000])
def test_nothing_is_found_outside_the_tolerance(buffer, stamp):
    fill(buffer, 100)
    assert buffer.nearest(stamp, tolerance_ns=50) is None


def test_without_tolerance_the_stamps_must_be_equal(buffer):
    fill(buffer, 100)
    assert buffer.nearest(100, tolerance_ns=0) == "at 100"
    assert buffer.nearest(101, tolerance_ns=0) is None


def test_the_oldest_are_dropped_when_there_are_too_many(buffer):
    fill(buffer, 100, 200, 300, capacity=2)
    assert buffer.nearest(100, tolerance_ns=50) is None
    assert buffer.nearest(200, tolerance_ns=50) == "at 200"


def test_a_smaller_capacity_holds_from_the_next_one_on(buffer):
    fill(buffer, 100, 200, 300)
    fill(buffer, 400, capacity=1)
    assert buffer.nearest(300, tolerance_ns=50) is None
    assert buffer.newest_ns == 400


def test_after_a_jump_back_later_measurements_are_dropped_once(buffer):
    ago = 5 * JUMP_BACK_NS
    stamps = (100, ago + 200, ago + 300, 150, 250)
    assert fill(buffer, *stamps) == [False, False, False, True, False]
    assert buffer.newest_ns == 250
    assert buffer.nearest(ago + 300, tolerance_ns=50) is None
    assert [buffer.nearest(s, 0) for s in (100, 150, 250)] == ["at 100", "at 150", "at 250"]


@pytest.mark.parametrize("back", [1, 5_000_000, 120_000_000, JUMP_BACK_NS])
def test_after_a_small_step_back_nothing_is_dropped(back, buffer):
    start = 10 * JUMP_BACK_NS
    stamps = (start, start + back + 1, start + 1, start + back + 2)
    assert fill(buffer, *stamps) == [False] * 4
    assert buffer.newest_ns == start + back + 2
    for stamp in stamps:
        assert buffer.nearest(stamp, tolerance_ns=0) == f"at {stamp}"


def test_the_oldest_by_stamp_are_dropped_first(buffer):
    fill(buffer, 300, 100, 200, 400, capacity=2)
    assert [buffer.nearest(s, 0) for s in (200, 300, 400)] == [None, "at 300", "at 400"]


def test_the_same_stamp_replaces_a_measurement(buffer):
    fill(buffer, 100)
    assert not buffer.put(100, "again", capacity=10)
    assert buffer.nearest(100, tolerance_ns=0) == "again"
