# SPDX-License-Identifier: Apache-2.0
import threading

import pytest
from fakes import PATIENCE_S, Inbox

from mrmllm_ros.engine.frame_slots import FrameSlots


@pytest.fixture
def slots():
    return FrameSlots(["front"])


@pytest.fixture
def three():
    return FrameSlots(["front", "left", "rear"])


@pytest.fixture
def taken(slots):
    """Frames that a consumer thread takes until the slots are closed."""
    taken = Inbox()

    def consume():
        while True:
            taken.put(slots.take())
            if not taken.queue[-1]:
                return

    thread = threading.Thread(target=consume)
    thread.start()
    yield taken
    slots.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def put(slots, **frames):
    for camera, frame in frames.items():
        slots.put(camera, frame)


def test_a_frame_is_taken_once(slots):
    slots.put("front", "frame")
    assert slots.take() == {"front": "frame"}
    slots.put("front", "next")
    assert slots.take() == {"front": "next"}
    assert slots.dropped == {"front": 0}


def test_the_newest_frame_wins_and_the_others_are_counted_as_dropped(slots):
    for number in range(5):
        slots.put("front", number)
    assert slots.take() == {"front": 4}
    assert slots.dropped == {"front": 4}
    assert slots.received == {"front": 5}


def test_a_skipped_frame_counts_as_dropped_and_the_waiting_one_stays(slots):
    put(slots, front=1)
    slots.skip("front")
    assert slots.take() == {"front": 1}
    assert (slots.received["front"], slots.dropped["front"]) == (2, 1)


def test_a_waiting_consumer_gets_the_frame(slots, taken):
    slots.put("front", "first")
    assert taken.next() == {"front": "first"}
    slots.put("front", "second")
    assert taken.next() == {"front": "second"}
    assert slots.dropped == {"front": 0}


def test_closing_wakes_the_consumer(slots, taken):
    slots.close()
    assert taken.next() == {}


def test_closed_slots_hold_nothing_and_take_nothing(slots):
    slots.put("front", "before")
    slots.close()
    slots.put("front", "after")
    assert slots.take() == {}
    assert slots.take() == {}
    assert slots.received == {"front": 1}


def test_slots_can_be_closed_twice(slots):
    slots.close()
    slots.close()
    assert slots.take() == {}


def test_a_frame_that_counts_as_false_is_a_frame(slots):
    slots.put("front", 0)
    assert slots.take() == {"front": 0}


def test_each_camera_has_a_slot_of_its_own(three):
    put(three, front=1, rear=2)
    three.put("front", 3)
    assert three.take(3) == {"front": 3, "rear": 2}
    assert three.dropped == {"front": 1, "left": 0, "rear": 0}


def test_frames_that_wait_together_are_taken_together_up_to_a_number(three):
    put(three, front=1, left=2, rear=3)
    assert three.take(2) == {"front": 1, "left": 2}
    assert three.take(2) == {"rear": 3}


def test_the_camera_that_was_served_longest_ago_comes_first(three):
    put(three, front=1, left=2, rear=3)
    assert list(three.take(2)) == ["front", "left"]
    put(three, front=4, left=5)
    assert list(three.take(2)) == ["rear", "front"]
    put(three, rear=6, front=7)
    assert list(three.take(3)) == ["left", "rear", "front"]


def test_no_camera_is_served_twice_while_another_waits(three):
    served = []
    three.put("rear", "patient")
    for number in range(6):
        three.put("front", number)
        served += three.take()
    assert sorted(served[:2]) == ["front", "rear"]
    assert served[2:] == ["front"] * 4


@pytest.mark.parametrize("rates", [(1, 1, 1), (5, 1, 1), (3, 2, 1)])
def test_cameras_that_always_have_a_frame_are_served_equally_however_fast_they_are(three, rates):
    served = []
    for _ in range(30):
        for camera, rate in zip(("front", "left", "rear"), rates, strict=True):
            for number in range(rate):
                three.put(camera, number)
        served += three.take()
    assert [served.count(camera) for camera in ("front", "left", "rear")] == [10, 10, 10]
