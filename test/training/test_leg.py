# SPDX-License-Identifier: Apache-2.0
import pytest

from mrmllm_ros.training.leg import Leg, UnfinishedError


@pytest.fixture
def clock():
    """Function that returns a minute more each time."""
    return iter(range(0, 10**6, 60)).__next__


def test_a_leg_without_a_length_is_never_over(clock):
    leg = Leg(0.0, clock)
    assert not leg.is_over(10.0**9)
    leg.check("reading")


def test_a_leg_is_over_after_its_minutes(clock):
    leg = Leg(1.5, clock)
    assert not leg.is_over(89.0)
    assert leg.is_over(90.0)
    assert leg.elapsed_s == 60


def test_a_task_ends_with_the_leg_and_is_named(clock):
    leg = Leg(2.0, clock)
    leg.check("reading")
    with pytest.raises(UnfinishedError, match=r"leg of 2 minutes is over while reading a\.json"):
        leg.check("reading a.json")
