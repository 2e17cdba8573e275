# SPDX-License-Identifier: Apache-2.0
import pytest

from mrmllm_ros.detection.stamps import JUMP_BACK_NS, StampSequence, jumps_back

START = 10**18


@pytest.fixture
def stamps():
    return StampSequence()


def test_the_first_stamp_takes_no_time(stamps):
    assert stamps.advance(START) == 0


def test_steps_forward_are_the_time_that_passes_however_large(stamps):
    assert [stamps.advance(START + s) for s in (0, 10, 10, 10**15)] == [0, 10, 0, 10**15 - 10]


@pytest.mark.parametrize("back", [1, 5_000_000, JUMP_BACK_NS])
def test_a_small_step_back_takes_no_time(back, stamps):
    steps = [stamps.advance(START + s) for s in (0, -back, -back // 2, 7)]
    assert steps == [0, 0, 0, 7]
    assert not jumps_back(START - back, START)


def test_a_jump_back_is_returned_once(stamps):
    back = JUMP_BACK_NS + 1
    assert [stamps.advance(START + s) for s in (0, -back, -back + 5)] == [0, -back, 5]
    assert jumps_back(START - back, START)


def test_nothing_jumps_back_before_the_first_stamp():
    assert not jumps_back(0, None)
