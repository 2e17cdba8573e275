# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from mrmllm_ros.detection.detections import Attribute
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.detection.enriched_detections import EnrichedDetections


@pytest.fixture
def perception(make_detections):
    """Two reported objects and another candidate."""
    return Perception.ranked(
        make_detections(
            ("bus", 0.9, (0, 0, 400, 400)),
            ("cup", 0.8, (0, 0, 20, 20)),
            ("ghost", 0.1, (0, 0, 50, 50)),
        ),
        0.3,
    )


@pytest.fixture
def unchanged(perception):
    return EnrichedDetections.unchanged(perception)


def test_unchanged_detections_are_those_of_the_detector(unchanged, perception):
    assert unchanged.fused is unchanged.detector is perception.candidates
    np.testing.assert_array_equal(unchanged.reported, [0, 1])
    np.testing.assert_array_equal(unchanged.novelty, [0, 0, 0])
    assert unchanged.novelty.dtype == np.float32
    assert unchanged.attributes == ((), (), ())


def test_labels_that_fusion_has_corrected_are_unchanged_and_those_of_the_detector_kept(perception):
    reason = Attribute("looks_like", "school bus", 0.5)
    corrected = perception.with_labels(
        ["train", "cup", "ghost"], np.array([0.7, 0.8, 0.2], np.float32), [(reason,), (), ()]
    )
    unchanged = EnrichedDetections.unchanged(corrected)
    assert unchanged.fused.labels == ("train", "cup", "ghost")
    assert unchanged.detector is perception.candidates
    assert unchanged.reported.tolist() == [0, 1]
    assert unchanged.attributes == ((reason,), (), ())


def test_added_attributes_do_not_replace_existing_ones(unchanged):
    said, state = Attribute("color", "red", 0.9), Attribute("state", "parked", 0.6)
    measured = ((Attribute("color", "pink", 0.7),), (Attribute("color", "blue", 0.8),), ())
    enriched = replace(unchanged, attributes=((said,), (state,), ())).with_attributes(measured)
    assert enriched.attributes == ((said,), (state, *measured[1]), ())
    assert enriched.fused is unchanged.fused


def test_no_objects_can_be_enriched(make_detections):
    empty = EnrichedDetections.unchanged(Perception(make_detections(), 0.3))
    assert len(empty.fused) == len(empty.reported) == len(empty.novelty) == 0
    assert empty.attributes == ()


def test_any_candidates_may_be_reported_or_none(unchanged):
    for reported in ([], [2], [0, 2], [0, 1, 2]):
        reported = np.array(reported, int)
        assert replace(unchanged, reported=reported).reported is reported


def test_an_object_has_any_number_of_attributes(unchanged):
    red = Attribute("color", "red", 0.9)
    enriched = replace(unchanged, attributes=((red, Attribute("state", "parked", 0.6)), (), ()))
    assert enriched.attributes[0][0] == red


@pytest.mark.parametrize(
    "change",
    [
        {"novelty": np.zeros(2, np.float32)},
        {"novelty": np.zeros((3, 1), np.float32)},
        {"novelty": np.array([0, 0, 1.5], np.float32)},
        {"novelty": np.array([0, 0, np.nan], np.float32)},
        {"attributes": ((), ())},
    ],
)
def test_parts_of_another_length_are_rejected(change, unchanged):
    with pytest.raises(ValueError, match=r"3 fused objects|novelty"):
        replace(unchanged, **change)


@pytest.mark.parametrize("part", ["fused", "detector"])
def test_fused_and_detector_objects_must_be_as_many(part, unchanged):
    with pytest.raises(ValueError, match="objects, but"):
        replace(unchanged, **{part: unchanged.fused.take(np.arange(2))})


@pytest.mark.parametrize("reported", [[3], [-1], [1, 0], [1, 1]])
def test_reported_indices_are_candidates_in_ascending_order(reported, unchanged):
    with pytest.raises(ValueError, match="reported indices"):
        replace(unchanged, reported=np.array(reported))
