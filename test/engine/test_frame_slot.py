# SPDX-License-Identifier: Apache-2.0
import threading

import pytest
from fakes import PATIENCE_S, Inbox

from mrmllm_ros.engine.frame_slot import FrameSlot


@pytest.fixture
def slot():
    return FrameSlot()


@pytest.fixture
def taken(slot):
    """What a consumer in a thread of its own takes, until it is told that the slot is closed."""
    taken = Inbox()

    def consume():
        while True:
            taken.put(slot.take())
            if taken.queue[-1] is None:
                return

    thread = threading.Thread(target=consume)
    thread.start()
    yield taken
    slot.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_frame_is_taken_once(slot):
    slot.put("frame")
    assert slot.take() == "frame"
    slot.put("next")
    assert slot.take() == "next"
    assert slot.dropped == 0


def test_the_newest_frame_wins_and_the_others_are_counted_as_dropped(slot):
    for number in range(5):
        slot.put(number)
    assert slot.take() == 4
    assert slot.dropped == 4


def test_a_waiting_consumer_gets_the_frame(slot, taken):
    slot.put("first")
    assert taken.next() == "first"
    slot.put("second")
    assert taken.next() == "second"
    assert slot.dropped == 0


def test_closing_wakes_the_consumer(slot, taken):
    slot.close()
    assert taken.next() is None


def test_a_closed_slot_holds_nothing_and_takes_nothing(slot):
    slot.put("before")
    slot.close()
    slot.put("after")
    assert slot.take() is None
    assert slot.take() is None


def test_closing_twice_is_closing_once(slot):
    slot.close()
    slot.close()
    assert slot.take() is None


def test_a_frame_that_counts_as_false_is_a_frame(slot):
    slot.put(0)
    assert slot.take() == 0
