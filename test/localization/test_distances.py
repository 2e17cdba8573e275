# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from mrmllm_ros.localization.distances import Distances

SECOND = 10**9


@pytest.fixture
def distances():
    return Distances(max_age_s=1.0)


def test_there_are_no_distances_at_first(distances):
    assert distances.at("front", 0) == {}


def test_a_distance_is_valid_for_the_next_images(distances):
    distances.update("front", 10 * SECOND, {"7": 2.149, "8": 12.0})
    assert distances.at("front", 10 * SECOND + SECOND // 5) == {"7": 2.149, "8": 12.0}


def test_the_newest_distance_counts_and_others_keep_theirs(distances):
    distances.update("front", 10 * SECOND, {"7": 2.0, "8": 3.0})
    distances.update("front", 10 * SECOND + 1, {"7": 2.5})
    assert distances.at("front", 10 * SECOND + 1) == {"7": 2.5, "8": 3.0}


def test_old_distances_are_dropped(distances):
    distances.update("front", 10 * SECOND, {"7": 2.0})
    assert distances.at("front", 11 * SECOND) == {"7": 2.0}
    assert distances.at("front", 11 * SECOND + 1) == {}
    distances.update("front", 12 * SECOND, {})
    assert distances.at("front", 10 * SECOND) == {}


def test_after_a_jump_back_in_time_later_distances_are_dropped(distances):
    distances.update("front", 100 * SECOND, {"7": 2.0})
    assert distances.at("front", 10 * SECOND) == {}
    distances.update("front", 10 * SECOND, {"8": 3.0})
    assert distances.at("front", 10 * SECOND) == {"8": 3.0}


@pytest.mark.parametrize("back_ns", [5_000_000, 120_000_000, SECOND])
def test_a_small_step_back_drops_no_distance(back_ns):
    distances = Distances(max_age_s=0.1)
    distances.update("front", 10 * SECOND, {"7": 2.0, "8": 3.0})
    assert distances.at("front", 10 * SECOND - back_ns) == {"7": 2.0, "8": 3.0}
    # A delayed measurement does not replace a newer one.
    distances.update("front", 10 * SECOND - back_ns, {"7": 2.5, "9": 4.0})
    assert distances.at("front", 10 * SECOND - back_ns) == {"7": 2.0, "8": 3.0, "9": 4.0}


def test_each_camera_has_its_own(distances):
    distances.update("front", 0, {"7": 2.0})
    distances.update("rear", 0, {"7": 4.0})
    assert distances.at("front", 0) == {"7": 2.0}
    assert distances.at("rear", 0) == {"7": 4.0}


def test_tracked_objects_get_their_distances_and_the_others_none(distances, make_detections):
    found = make_detections(*[("cup", 0.5, (0, 0, 9, 9))] * 3)
    tracked = replace(found, track_ids=("8", "", "7"))
    assert distances.with_distances(tracked, "front", 0) is tracked
    distances.update("front", 0, {"7": 2.5})
    stated = distances.with_distances(tracked, "front", 0)
    np.testing.assert_array_equal(stated.distances_m, np.float32([np.nan, np.nan, 2.5]))
    assert stated.track_ids == tracked.track_ids
