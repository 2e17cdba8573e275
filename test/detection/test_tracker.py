# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import pytest

from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.detection.tracker import Tracker, TrackingSettings
from mrmllm_ros.settings import SettingsError

THRESHOLD = 0.3
STEP_S = 0.1


@pytest.fixture
def make_tracker():
    """Makes trackers of one node: they share their ids."""
    numbers = itertools.count(1)
    return lambda **settings: Tracker(TrackingSettings(**settings), numbers)


@pytest.fixture
def tracker(make_tracker):
    return make_tracker()


@pytest.fixture
def see(make_detections):
    """Update a tracker with objects and return their ids."""

    def see(tracker, stamp_s, *objects):
        candidates = make_detections(*objects)
        perception = Perception.ranked(candidates, THRESHOLD)
        tracked = tracker.update(perception, stamp_s)
        np.testing.assert_array_equal(tracked.candidates.xyxy, perception.candidates.xyxy)
        boxes = tracked.candidates.xyxy.tolist()
        return [tracked.candidates.track_ids[boxes.index(b)] for b in candidates.xyxy.tolist()]

    return see


def walker(x, y=100.0, score=0.8, label="person"):
    """A person whose box is 40 wide and 100 high."""
    return (label, score, (x, y, x + 40, y + 100))


def walk(see, tracker, first, count, position, score=0.8):
    """Ids of a person in several images; `position` returns the left side for an image."""
    return [
        see(tracker, n * STEP_S, walker(position(n), score=score))[0]
        for n in range(first, first + count)
    ]


def test_no_objects_are_tracked_in_an_empty_image(tracker, make_detections):
    perception = Perception(make_detections(), THRESHOLD)
    assert tracker.update(perception, 0.0).candidates.track_ids == ()
    assert tracker.update(perception, 0.1).candidates.track_ids == ()


def test_an_object_has_an_id_from_its_second_image_on(see, tracker):
    assert walk(see, tracker, 0, 5, lambda n: 100 + 8 * n) == ["", "1", "1", "1", "1"]


def test_only_the_ids_are_changed(tracker, make_detections):
    perception = Perception(make_detections(walker(0)), THRESHOLD, box_features="features")
    tracked = tracker.update(perception, 0.0)
    assert tracked.score_threshold == THRESHOLD
    assert tracked.features == "features"
    assert tracked.candidates.labels == perception.candidates.labels
    assert tracked.candidates.scores is perception.candidates.scores


def test_an_object_detected_once_gets_no_id(see, tracker):
    see(tracker, 0.0, walker(100))
    see(tracker, 0.1)
    assert see(tracker, 0.2, walker(300)) == [""]
    assert see(tracker, 0.3, walker(300)) == ["1"]


def test_separate_objects_have_different_ids(see, tracker):
    objects = [walker(x) for x in (0, 150, 300)]
    see(tracker, 0.0, *objects)
    ids = see(tracker, 0.1, *objects)
    assert sorted(ids) == ["1", "2", "3"]
    assert see(tracker, 0.2, *reversed(objects)) == ids[::-1]


@pytest.mark.parametrize("rate_hz", [2.0, 10.0, 30.0])
def test_people_who_cross_keep_their_ids(rate_hz, see, tracker):
    """Two people walk past each other; one is hidden where they meet."""
    for n in range(int(4 * rate_hz) + 1):
        time_s = n / rate_hz
        right, left = walker(100 + 60 * time_s), walker(340 - 60 * time_s, y=85.0)
        met = abs(right[2][0] - left[2][0]) < 20
        ids = see(tracker, time_s, *([right] if met else [right, left]))
        if n == 1:
            before = ids
        after = ids
    assert before == after
    assert len(set(after)) == 2


def test_a_person_keeps_the_id_through_an_occlusion(see, tracker):
    """Hidden for 1.2 s while moving at 60 pixels per second."""
    ids = walk(see, tracker, 0, 15, lambda n: 100 + 6 * n)
    for n in range(15, 27):
        see(tracker, n * STEP_S)
    assert walk(see, tracker, 27, 3, lambda n: 100 + 6 * n) == [ids[-1]] * 3


def test_a_person_who_stands_keeps_the_id_through_missed_images(see, tracker):
    ids = set()
    for n in range(30):
        ids |= set(see(tracker, n * STEP_S, *([walker(200)] if n % 3 != 2 else [])))
    assert ids == {"", "1"}


def test_after_remember_s_a_person_gets_a_new_id(see, make_tracker):
    tracker = make_tracker(remember_s=0.5)
    walk(see, tracker, 0, 5, lambda n: 100)
    for n in range(5, 11):
        see(tracker, n * STEP_S)
    assert walk(see, tracker, 11, 2, lambda n: 100) == ["", "2"]


def test_a_long_gap_between_images_ends_all_tracks(see, tracker):
    walk(see, tracker, 0, 5, lambda n: 100)
    assert see(tracker, 60.0, walker(100)) == [""]
    assert see(tracker, 60.1, walker(100)) == ["2"]


def test_a_jump_back_in_time_starts_new_tracks(see, tracker):
    walk(see, tracker, 100, 5, lambda n: 100)
    assert walk(see, tracker, 0, 3, lambda n: 100) == ["", "2", "2"]


def every_fifth(n):
    """Stamps of 10 images per second; every fifth is 5 ms before its predecessor."""
    return n / 10 - 0.105 * (n % 5 == 4)


def jittered(n):
    """Stamps up to 120 ms off."""
    return n / 10 + np.random.default_rng(n).uniform(-0.12, 0.12)


def set_back(n):
    """Stamps of a clock that is set back by 0.9 s once."""
    return n / 10 - 0.9 * (n >= 20)


def doubled(n):
    """Two images of each stamp."""
    return n // 2 / 5


@pytest.mark.parametrize("stamp_s", [every_fifth, jittered, set_back, doubled])
def test_stamps_that_step_back_a_little_change_no_id(stamp_s, see, tracker):
    ids = [see(tracker, 100 + stamp_s(n), walker(5 * n), walker(600 - 5 * n)) for n in range(40)]
    assert ids == [["", ""], *[ids[1]] * 39]
    assert sorted(ids[1]) == ["1", "2"]


def test_an_object_hidden_while_stamps_step_back_keeps_its_id(see, tracker):
    for n in range(40):
        seen = [] if 20 <= n < 26 else [walker(3 * n)]
        ids = see(tracker, 100 + jittered(n), *seen)
    assert ids == ["1"]


def test_a_low_score_does_not_continue_a_track_hidden_in_an_image_of_the_same_stamp(see, tracker):
    walk(see, tracker, 0, 5, lambda n: 100)
    assert see(tracker, 0.4) == []
    assert see(tracker, 0.4, walker(100, score=0.1)) == [""]


@pytest.mark.parametrize("back_s", [1.01, 5.0, 1e9])
def test_a_jump_back_of_more_than_a_second_starts_over(back_s, see, tracker):
    walk(see, tracker, 0, 5, lambda n: 100)
    jumped = [see(tracker, n / 10 - back_s, walker(100))[0] for n in range(4, 8)]
    assert jumped == ["", "2", "2", "2"]


def test_images_of_one_stamp_are_all_tracked(see, tracker):
    assert [see(tracker, 5.0, walker(100))[0] for _ in range(4)] == ["", "1", "1", "1"]


def test_another_label_does_not_end_a_track(see, tracker):
    labels = ["person", "person", "dog", "person", "fire hydrant", "person"]
    ids = [
        see(tracker, n * STEP_S, walker(100 + 5 * n, label=label))[0]
        for n, label in enumerate(labels)
    ]
    assert ids == ["", *["1"] * 5]


@pytest.mark.parametrize("index", [0, 1])
def test_between_similar_matches_the_label_decides(index, see, tracker):
    """One of two adjacent objects is detected, halfway between them."""
    both = [walker(100, label="person"), walker(124, label="bicycle")]
    see(tracker, 0.0, *both)
    ids = see(tracker, 0.1, *both)
    assert see(tracker, 0.2, walker(112, label=both[index][0])) == [ids[index]]


def test_two_boxes_of_one_object_make_one_track(see, tracker):
    ids = []
    for n in range(6):
        box = walker(100 + 5 * n)
        other = ("dog", 0.6, tuple(np.array(box[2]) + 4))
        ids.append(see(tracker, n * STEP_S, box, other))
    assert ids == [["", ""], *[["1", ""]] * 5]


def test_a_low_score_continues_a_track(see, tracker):
    walk(see, tracker, 0, 5, lambda n: 100)
    assert walk(see, tracker, 5, 5, lambda n: 100, score=0.1) == ["1"] * 5


def test_a_low_score_of_another_label_does_not(see, tracker):
    walk(see, tracker, 0, 5, lambda n: 100)
    assert see(tracker, 0.5, walker(100, score=0.1, label="chair")) == [""]


def test_a_low_score_does_not_continue_a_lost_track(see, tracker):
    walk(see, tracker, 0, 5, lambda n: 100)
    see(tracker, 0.5)
    assert see(tracker, 0.6, walker(100, score=0.1)) == [""]
    assert see(tracker, 0.7, walker(100)) == ["1"]


@pytest.mark.parametrize("score", [0.1, 0.35])
def test_a_score_below_start_certainty_starts_no_track(score, see, tracker):
    assert walk(see, tracker, 0, 5, lambda n: 100, score=score) == [""] * 5


@pytest.mark.parametrize(("certainty", "score"), [(0.0, 0.3), (0.5, 0.66), (1.0, 1.0)])
def test_start_certainty_is_a_setting(certainty, score, see, make_tracker):
    tracker = make_tracker(start_certainty=certainty)
    assert walk(see, tracker, 0, 2, lambda n: 100, score=score) == ["", "1"]
    if certainty:
        tracker = make_tracker(start_certainty=certainty)
        assert walk(see, tracker, 0, 2, lambda n: 100, score=score - 0.02) == ["", ""]


def test_an_object_that_moves_its_whole_width_between_images_is_followed(see, tracker):
    assert walk(see, tracker, 0, 6, lambda n: 50 + 40 * n)[1:] == ["1"] * 5


def test_something_far_off_is_another_object(see, tracker):
    walk(see, tracker, 0, 5, lambda n: 100)
    assert walk(see, tracker, 5, 2, lambda n: 400) == ["", "2"]


def test_trackers_of_several_cameras_share_no_id(see, make_tracker):
    front, back = make_tracker(), make_tracker()
    ids = [walk(see, each, 0, 2, lambda n: 100)[-1] for each in (front, back)]
    assert ids == ["1", "2"]


def test_a_tracker_that_is_off_gives_no_ids_and_forgets(see, tracker, make_detections):
    walk(see, tracker, 0, 5, lambda n: 100)
    tracker.configure(TrackingSettings(enabled=False))
    perception = Perception(make_detections(walker(100)), THRESHOLD)
    assert tracker.update(perception, 0.5) is perception
    tracker.configure(TrackingSettings())
    assert walk(see, tracker, 6, 2, lambda n: 100) == ["", "2"]


def test_other_settings_do_not_change_ids(see, tracker):
    walk(see, tracker, 0, 5, lambda n: 100)
    tracker.configure(TrackingSettings(remember_s=10.0))
    assert see(tracker, 9.0, walker(100)) == ["1"]


@pytest.mark.parametrize("box", [(100, 100, 100, 100), (0, 0, 640, 480)])
def test_a_box_without_area_or_of_the_whole_image_is_tracked(box, see, tracker):
    for n in range(3):
        [track_id] = see(tracker, n * STEP_S, ("thing", 0.9, box))
    assert track_id in ("", "1")


@pytest.mark.parametrize(
    "change", [{"remember_s": 0.0}, {"start_certainty": 1.5}, {"enabled": "yes"}]
)
def test_settings_out_of_range_are_rejected(change):
    with pytest.raises(SettingsError, match=next(iter(change))):
        TrackingSettings(**change)
