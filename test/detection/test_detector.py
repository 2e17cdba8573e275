# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from mrmllm_ros.detection.detections import Attribute, Detections
from mrmllm_ros.detection.detector import (
    MAX_DOUBTFUL,
    DeferredFeatures,
    Detector,
    DetectorError,
    DetectorSettings,
    FixedVocabularyError,
    LabelScores,
    Perception,
    VocabularyError,
    load_detector,
    rank,
)
from mrmllm_ros.detection.raw_objects import INVERTED, OUTSIDE
from mrmllm_ros.settings import SettingsError


class Fixed(Detector):
    """Has one label and detects nothing."""

    name = "fixed"
    labels = ("cup",)
    feature_width = 0

    def detect(self, images):
        return [Perception(Detections.empty(image.shape[1::-1]), 0.3) for image in images]

    def configure(self, settings):
        pass


class Open(Fixed):
    """Supports every label except doors."""

    asked = None

    def _set_vocabulary(self, labels):
        if "door" in labels:
            raise VocabularyError("no doors")
        self.asked = labels


@pytest.fixture
def mixed(make_detections):
    """A large object with a low score, two reported objects, and one with a very low score."""
    return make_detections(
        ("wall", 0.2, (0, 0, 640, 480)),
        ("cup", 0.9, (0, 0, 10, 10)),
        ("ghost", 0.1, (0, 0, 20, 20)),
        ("bus", 0.5, (100, 50, 500, 450)),
    )


def test_reported_objects_come_first_by_size_then_candidates_by_score(mixed):
    perception = Perception.ranked(mixed, 0.3)
    assert perception.candidates.labels == ("bus", "cup", "wall", "ghost")
    assert perception.reported == 2
    assert perception.detections.labels == ("bus", "cup")
    assert perception.features is None


def test_doubtful_objects_are_the_most_likely_of_the_others_with_their_ids(mixed):
    perception = Perception.ranked(mixed, 0.3)
    assert perception.doubtful(0.15) == {3: "wall"}
    assert list(perception.doubtful(0.1).items()) == [(3, "wall"), (4, "ghost")]


@pytest.mark.parametrize("minimum", [0.25, 0.3, 0.9, 1.0])
def test_above_all_other_scores_nothing_is_doubtful(minimum, mixed):
    assert Perception.ranked(mixed, 0.3).doubtful(minimum) == {}


def test_nothing_is_doubtful_in_an_empty_image(make_detections):
    assert Perception(make_detections(), 0.3).doubtful(0.0) == {}


def test_a_second_box_of_an_object_is_not_doubtful_unless_it_has_another_label(make_detections):
    perception = Perception.ranked(
        make_detections(
            ("cup", 0.8, (0, 0, 100, 100)),
            ("cup", 0.28, (0, 0, 100, 70)),
            ("bowl", 0.26, (0, 0, 100, 70)),
            ("bowl", 0.24, (0, 0, 100, 80)),
            ("cup", 0.22, (80, 0, 180, 100)),
        ),
        0.3,
    )
    assert perception.doubtful(0.15) == {3: "bowl", 5: "cup"}


def test_no_more_are_doubtful_than_an_answer_has_use_for(make_detections):
    cups = [("cup", 0.29 - 0.01 * i, (50 * i, 0, 50 * i + 40, 40)) for i in range(12)]
    doubtful = Perception.ranked(make_detections(*cups), 0.3).doubtful(0.1)
    assert list(doubtful) == list(range(1, MAX_DOUBTFUL + 1))


def test_features_stay_with_their_objects(mixed):
    features = torch.arange(8.0).reshape(4, 2)
    perception = Perception.ranked(mixed, 0.3, features)
    torch.testing.assert_close(perception.features, features[[3, 1, 0, 2]])


def test_label_scores_stay_with_their_objects(mixed):
    scores = np.arange(8, dtype=np.float32).reshape(4, 2) / 10
    ranked = Perception.ranked(mixed, 0.3, label_scores=LabelScores(("cup", "bus"), scores))
    assert ranked.label_scores.labels == ("cup", "bus")
    np.testing.assert_array_equal(ranked.label_scores.scores, scores[[3, 1, 0, 2]])
    assert Perception.ranked(mixed, 0.3).label_scores is None


@pytest.fixture
def complete(mixed):
    """A perception of the objects with all that it may have."""
    scores = np.arange(8, dtype=np.float32).reshape(4, 2) / 10
    features = torch.arange(8.0).reshape(4, 2)
    label_scores = LabelScores(("cup", "bus"), scores)
    return Perception.ranked(mixed, 0.3, features, {OUTSIDE: 3}, label_scores)


def reasons(*values):
    return tuple((Attribute("looks_like", value, 0.5),) if value else () for value in values)


def test_other_labels_and_scores_keep_those_of_the_detector(complete):
    scores = np.array([0.25, 0.5, 0.75, 1], np.float32)
    changed = complete.with_labels(["a", "b", "c", "d"], scores, reasons("x", "", "", "y"))
    assert changed.candidates.labels == ("a", "b", "c", "d")
    assert changed.candidates.scores is scores
    assert changed.candidates.xyxy is complete.candidates.xyxy
    assert changed.detected is changed.before_label_fusion is complete.candidates
    assert changed.attributes == reasons("x", "", "", "y")
    assert (changed.features, changed.label_scores) == (complete.features, complete.label_scores)
    assert (changed.dropped, changed.score_threshold) == ({OUTSIDE: 3}, 0.3)
    again = changed.with_labels(["e"] * 4, scores, reasons("", "", "", ""))
    assert again.detected is complete.candidates


def test_without_other_labels_the_detectors_are_the_candidates(complete):
    assert complete.detected is None
    assert complete.before_label_fusion is complete.candidates
    assert complete.attributes == ((),) * 4


def test_all_that_belongs_to_an_object_is_selected_with_it(complete):
    scores = np.full(4, 0.5, np.float32)
    changed = complete.with_labels(["a", "b", "c", "d"], scores, reasons("x", "y", "", ""))
    taken = changed.take(np.array([2, 0]))
    assert taken.candidates.labels == ("c", "a")
    assert taken.detected.labels == ("wall", "bus")
    assert taken.attributes == reasons("", "x")
    np.testing.assert_array_equal(taken.features, complete.features[[2, 0]])
    np.testing.assert_array_equal(taken.label_scores.scores, complete.label_scores.scores[[2, 0]])
    assert (taken.dropped, taken.score_threshold) == ({OUTSIDE: 3}, 0.3)


def test_no_objects_can_be_selected(complete):
    nothing = complete.take(np.zeros(0, np.int64))
    assert len(nothing.candidates) == nothing.reported == len(nothing.attributes) == 0
    assert nothing.features.shape == nothing.label_scores.scores.shape == (0, 2)
    assert nothing.with_labels([], np.zeros(0, np.float32), []).attributes == ()


def test_objects_without_features_and_label_scores_can_be_selected(mixed):
    taken = Perception(mixed, 0.3).take(np.array([3]))
    assert taken.candidates.labels == ("bus",)
    assert taken.features is taken.label_scores is taken.detected is None
    assert taken.attributes == ((),)


def test_the_rank_of_objects_is_by_size_then_by_score(mixed):
    assert rank(mixed, 0.3).tolist() == [3, 1, 0, 2]
    assert rank(mixed, 0.05).tolist() == [0, 3, 2, 1]
    assert rank(mixed, 1.0).tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize("shape", [(2, 2), (3, 4), (3,), (0,), (1, 2, 3)])
def test_label_scores_must_have_one_score_for_each_label(shape):
    with pytest.raises(ValueError, match=r"scores has shape .*, expected \(K, 3\)"):
        LabelScores(("cup", "bus", "door"), np.zeros(shape, np.float32))


def test_label_scores_may_be_without_candidates():
    nothing = LabelScores(("cup", "bus"), np.zeros((0, 2), np.float32))
    assert nothing.take(np.zeros(0, np.int64)).scores.shape == (0, 2)
    assert LabelScores.of_classes({0: "cup", 1: "cup"}, nothing.scores).scores.shape == (0, 1)


def test_classes_of_one_label_have_their_highest_score():
    scores = np.array([[0.1, 0.2, 0.3, 0.4], [0.8, 0.7, 0.6, 0.5]], np.float32)
    merged = LabelScores.of_classes({0: "N/A", 1: "cup", 2: "N/A", 3: "bus"}, scores)
    assert merged.labels == ("N/A", "cup", "bus")
    expected = np.array([[0.3, 0.2, 0.4], [0.8, 0.7, 0.5]], np.float32)
    np.testing.assert_array_equal(merged.scores, expected)
    assert merged.scores.dtype == np.float32


def test_classes_without_a_label_have_no_label_score():
    scores = np.array([[0.1, 0.2, 0.7]], np.float32)
    assert LabelScores.of_classes({1: "cup", 5: "bus"}, scores).scores.tolist() == [[scores[0, 1]]]


def test_label_scores_that_exceed_1_by_rounding_are_clipped():
    clipped = LabelScores.of_classes({0: "cup"}, np.array([[1.0005]], np.float32))
    assert clipped.scores.tolist() == [[1]]


@pytest.mark.parametrize(("threshold", "reported"), [(0.01, 4), (0.2, 3), (0.9, 1), (0.95, 0)])
def test_an_object_on_the_threshold_is_reported(threshold, reported, mixed):
    assert Perception.ranked(mixed, threshold).reported == reported


def test_equals_keep_their_order(make_detections):
    # More than 16, because numpy sorts smaller arrays stably with every method.
    names = tuple(f"cup{i}" for i in range(40))
    cups = make_detections(*((name, 0.5, (0, 0, 10, 10)) for name in names))
    assert Perception.ranked(cups, 0.3).candidates.labels == names


@pytest.fixture
def deferred():
    """Features that are the left edges of the boxes, and the list of pooled boxes."""
    pooled = []

    def pool(xyxy):
        pooled.append(xyxy)
        return torch.from_numpy(xyxy[:, :1])

    return pool, pooled


def test_features_are_pooled_when_they_are_first_used_and_once(mixed, deferred):
    pool, pooled = deferred
    ranked = Perception.ranked(mixed, 0.3, DeferredFeatures(pool, mixed.xyxy))
    taken = ranked.take(np.array([1, 0]))
    assert pooled == []
    expected = torch.from_numpy(taken.candidates.xyxy[:, :1])
    torch.testing.assert_close(taken.features, expected)
    assert taken.features is taken.features
    assert [len(boxes) for boxes in pooled] == [2]


def test_pooled_features_that_are_not_finite_count_as_zero(mixed):
    broken = torch.tensor([[torch.nan, torch.inf, -torch.inf, 1.0]])
    features = DeferredFeatures(lambda xyxy: broken, mixed.xyxy)
    assert Perception(mixed, 0.3, features).features.tolist() == [[0.0, 0.0, 0.0, 1.0]]


def test_no_objects_keep_the_width_of_their_features():
    perception = Perception.ranked(Detections.empty((640, 480)), 0.3, torch.zeros(0, 7))
    assert (len(perception.candidates), perception.reported) == (0, 0)
    assert perception.features.shape == (0, 7)


@pytest.mark.parametrize(("candidate", "score", "least"), [(0.05, 0.3, 0.05), (0.5, 0.2, 0.2)])
def test_reported_objects_are_candidates_too(candidate, score, least):
    settings = DetectorSettings(candidate_threshold=candidate, score_threshold=score)
    assert settings.minimum_score == least


def test_the_first_labels_are_read_from_one_text():
    settings = DetectorSettings(vocabulary=" traffic light,cup , person, ")
    assert settings.initial_labels == ("traffic light", "cup", "person")
    assert "person" in DetectorSettings().initial_labels


def test_labels_are_cleaned_once_for_all_backends():
    detector = Open()
    detector.set_vocabulary([" red bus ", "cup", "red bus"])
    assert detector.labels == detector.asked == ("red bus", "cup")


@pytest.mark.parametrize("labels", [[], [""], ["cup", " "]])
@pytest.mark.parametrize("kind", [Open, Fixed])
def test_no_labels_and_blank_ones_are_rejected(kind, labels):
    detector = kind()
    with pytest.raises(VocabularyError, match="name at least one label, and none"):
        detector.set_vocabulary(labels)
    assert detector.labels == ("cup",)


def test_a_detector_that_rejects_labels_keeps_its_own():
    detector = Open()
    with pytest.raises(VocabularyError, match="no doors"):
        detector.set_vocabulary(["door"])
    assert detector.labels == ("cup",)
    with pytest.raises(FixedVocabularyError, match=r"^fixed has 1 fixed labels"):
        Fixed().set_vocabulary(["door"])


def test_an_unknown_backend_is_rejected_with_the_known_ones():
    with pytest.raises(SettingsError, match="is not one of ultralytics, transformers"):
        DetectorSettings(backend="darknet")


def test_an_embedded_model_of_the_other_backend_is_rejected_with_the_parameter(compute):
    settings = DetectorSettings(backend="transformers", model="nanodet-g")
    with pytest.raises(DetectorError, match=r"nanodet-g is embedded .* detector\.backend to"):
        load_detector(settings, compute)


def test_features_that_are_not_finite_count_as_zero(make_detections):
    candidates = make_detections(("cup", 0.5, (0, 0, 9, 9)), ("bus", 0.5, (0, 0, 99, 99)))
    features = torch.tensor([[1.0, torch.nan], [torch.inf, 2.0]])
    ranked = Perception.ranked(candidates, 0.3, features)
    assert ranked.features.tolist() == [[0.0, 2.0], [1.0, 0.0]]


def test_objects_outside_the_image_are_no_fault_of_the_model(make_detections):
    perception = Perception(make_detections(), 0.3, dropped={OUTSIDE: 3, INVERTED: 2})
    assert perception.invalid == 2
    assert Perception(make_detections(), 0.3).invalid == 0


def test_labels_of_the_vocabulary_stay_on_one_line():
    detector = Open()
    detector.set_vocabulary(["red\n[3] bus", "cup\x00"])
    assert detector.labels == ("red [3] bus", "cup")
