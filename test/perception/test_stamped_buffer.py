# SPDX-License-Identifier: Apache-2.0
import pytest

from mrmllm_ros.perception.stamped_buffer import StampedBuffer


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
def test_what_is_further_away_than_the_tolerance_is_not(buffer, stamp):
    fill(buffer, 100)
    assert buffer.nearest(stamp, tolerance_ns=50) is None


def test_without_tolerance_the_stamps_must_be_equal(buffer):
    fill(buffer, 100)
    assert buffer.nearest(100, tolerance_ns=0) == "at 100"
    assert buffer.nearest(101, tolerance_ns=0) is None


def test_the_oldest_go_when_there_are_too_many(buffer):
    fill(buffer, 100, 200, 300, capacity=2)
    assert buffer.nearest(100, tolerance_ns=50) is None
    assert buffer.nearest(200, tolerance_ns=50) == "at 200"


def test_a_smaller_capacity_holds_from_the_next_one_on(buffer):
    fill(buffer, 100, 200, 300)
    fill(buffer, 400, capacity=1)
    assert buffer.nearest(300, tolerance_ns=50) is None
    assert buffer.newest_ns == 400


def test_after_a_jump_back_what_is_later_is_forgotten(buffer):
    assert fill(buffer, 100, 200, 300, 150) == [False, False, False, True]
    assert buffer.newest_ns == 150
    assert buffer.nearest(300, tolerance_ns=50) is None
    assert buffer.nearest(100, tolerance_ns=0) == "at 100"


def test_the_same_stamp_again_replaces_what_was_there(buffer):
    fill(buffer, 100)
    assert not buffer.put(100, "again", capacity=10)
    assert buffer.nearest(100, tolerance_ns=0) == "again"
