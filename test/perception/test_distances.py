# SPDX-License-Identifier: Apache-2.0
import pytest

from mrmllm_ros.perception.distances import Distances

SECOND = 10**9


@pytest.fixture
def distances():
    return Distances(max_age_s=1.0)


def test_nothing_is_known_before_anything_was_measured(distances):
    assert distances.at("front", 0) == {}


def test_what_was_measured_holds_for_the_next_images_as_the_prompt_states_it(distances):
    distances.update("front", 10 * SECOND, {"7": 2.149, "8": 12.0})
    assert distances.at("front", 10 * SECOND + SECOND // 5) == {"7": "2.1 m", "8": "12.0 m"}


def test_the_newest_distance_counts_and_others_keep_theirs(distances):
    distances.update("front", 10 * SECOND, {"7": 2.0, "8": 3.0})
    distances.update("front", 10 * SECOND + 1, {"7": 2.5})
    assert distances.at("front", 10 * SECOND + 1) == {"7": "2.5 m", "8": "3.0 m"}


def test_what_is_too_old_is_forgotten(distances):
    distances.update("front", 10 * SECOND, {"7": 2.0})
    assert distances.at("front", 11 * SECOND) == {"7": "2.0 m"}
    assert distances.at("front", 11 * SECOND + 1) == {}
    distances.update("front", 12 * SECOND, {})
    assert distances.at("front", 10 * SECOND) == {}


def test_after_a_jump_back_in_time_what_is_from_the_future_is_forgotten(distances):
    distances.update("front", 100 * SECOND, {"7": 2.0})
    assert distances.at("front", 10 * SECOND) == {}
    distances.update("front", 10 * SECOND, {"8": 3.0})
    assert distances.at("front", 10 * SECOND) == {"8": "3.0 m"}


def test_each_camera_has_its_own(distances):
    distances.update("front", 0, {"7": 2.0})
    distances.update("rear", 0, {"7": 4.0})
    assert distances.at("front", 0) == {"7": "2.0 m"}
    assert distances.at("rear", 0) == {"7": "4.0 m"}
