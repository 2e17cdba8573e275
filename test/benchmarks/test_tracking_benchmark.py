# SPDX-License-Identifier: Apache-2.0
"""Counting of identity switches as in CLEAR MOT, and validity of the reference."""

from dataclasses import replace

import numpy as np
import pytest

from mrmllm_ros.benchmarks import tracking_benchmark as tracking
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.benchmarks.tracking_benchmark import Reference, SwitchCounter

ANN, BOB = np.array([0, 0, 40, 100]), np.array([100, 0, 140, 100])


@pytest.fixture
def count(make_detections):
    """Function that counts frames of (boxes by person, boxes by track id)."""

    def count(*images):
        counter = SwitchCounter()
        for people, found in images:
            detections = make_detections(*(("person", 0.9, box) for box in found.values()))
            counter.add(people, replace(detections, track_ids=tuple(found)))
        return counter

    return count


@pytest.fixture(scope="module")
def reference():
    return Reference.read()


def test_without_people_there_is_nothing_to_count(count):
    counter = count(({}, {}), ({}, {"1": ANN}))
    assert counter.switches == counter.present == counter.tracked == {}


def test_who_keeps_a_track_does_not_switch(count):
    image = ({"Ann": ANN, "Bob": BOB}, {"1": ANN, "2": BOB + 5})
    assert count(image, image, image).switches == {"Ann": 0, "Bob": 0}


def test_another_track_is_a_switch_and_so_is_the_way_back(count):
    people = {"Ann": ANN}
    counter = count((people, {"1": ANN}), (people, {"2": ANN}), (people, {"1": ANN}))
    assert counter.switches == {"Ann": 2}


def test_two_who_swap_tracks_are_two_switches(count):
    people = {"Ann": ANN, "Bob": BOB}
    counter = count((people, {"1": ANN, "2": BOB}), (people, {"2": ANN, "1": BOB}))
    assert counter.switches == {"Ann": 1, "Bob": 1}


def test_a_switch_counts_however_long_the_person_had_no_track(count):
    people = {"Ann": ANN}
    counter = count((people, {"1": ANN}), (people, {}), ({}, {}), (people, {"2": ANN}))
    assert counter.switches == {"Ann": 1}
    assert (counter.present, counter.tracked) == ({"Ann": 3}, {"Ann": 2})


def test_who_is_missed_for_a_while_and_found_again_does_not_switch(count):
    people = {"Ann": ANN}
    assert count((people, {"1": ANN}), (people, {}), (people, {"1": ANN})).switches["Ann"] == 0


def test_a_better_overlap_takes_nobody_from_their_track(count):
    people = {"Ann": ANN}
    counter = count((people, {"1": ANN}), (people, {"1": ANN + 5, "2": ANN}))
    assert counter.switches == {"Ann": 0}


def test_less_than_half_an_overlap_is_no_track(count):
    people = {"Ann": ANN}
    counter = count((people, {"1": ANN}), (people, {"2": ANN + 20}))
    assert (counter.switches, counter.tracked) == ({"Ann": 0}, {"Ann": 1})


def test_objects_without_track_do_not_count(count):
    people = {"Ann": ANN}
    counter = count((people, {"1": ANN}), (people, {"": ANN, "1": ANN + 5}))
    assert (counter.switches, counter.tracked) == ({"Ann": 0}, {"Ann": 2})


def test_the_reference_is_about_two_hundred_frames_that_nothing_is_trained_on(reference):
    assert reference.last - reference.first + 1 == 200
    assert reference.first > 499
    assert len(reference.people) == 9


def test_the_reference_holds_boxes_within_the_image_in_order(reference):
    for rows in reference.people.values():
        frames, boxes = rows[:, 0], rows[:, 1:]
        assert (np.diff(frames) > 0).all()
        assert reference.first <= frames[0] < frames[-1] <= reference.last
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes[:, 2:] <= (768, 576)).all()


def test_between_two_frames_of_the_reference_people_go_straight():
    people = {"Ann": np.array([[10, 0, 0, 40, 100], [20, 100, 50, 140, 150]], float)}
    reference = Reference(10, 20, people)
    np.testing.assert_allclose(reference.at(15)["Ann"], [50, 25, 90, 125])
    assert reference.at(9) == reference.at(21) == {}


def test_without_tracking_there_is_nothing_to_count_either(tmp_path):
    file = tmp_path / "off.yaml"
    file.write_text("/**: {ros__parameters: {tracking: {enabled: false}}}")
    with pytest.raises(BenchmarkError, match=r"tracking\.enabled"):
        tracking.run(file)


def test_people_seldom_change_their_track_in_the_sample_video():
    figures = tracking.run(progress=lambda line: None)
    assert (figures["frames"], figures["people"]) == (200, 9)
    assert figures["identity_switches_per_person"] < 1
    assert figures["share_of_people_tracked"] > 0.9
