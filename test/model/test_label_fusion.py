# SPDX-License-Identifier: Apache-2.0
import gc
import threading
import weakref
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mrmllm_ros.compute import at_once
from mrmllm_ros.detection.detections import LOOKS_LIKE, Attribute
from mrmllm_ros.detection.detector import LabelScores, Perception
from mrmllm_ros.detection.images import read_image
from mrmllm_ros.engine.answerer_loading import load_label_fusion
from mrmllm_ros.engine.engine_settings import Settings
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.label_fusion import (
    BEST_OBJECT_SHIFT,
    CONTEXT_FLOOR,
    CONTEXT_WEIGHT,
    COVERED_FACTOR,
    GAIN,
    SMOOTHING,
    SURE_SCORE,
    LabelFusion,
    detector_scores,
    discount_covered,
    fused_scores,
    merge_labels,
    remove_duplicates,
    scores_in_context,
    shift_log_odds,
)
from mrmllm_ros.model.label_table import LabelTable, string_matches
from mrmllm_ros.model.region_classifier import RegionClassifier, ZeroShotClassifier
from mrmllm_ros.weights import WeightsError, locate

PATIENCE_S = 10.0
LABELS = ("cup", "mouse", "dining table", "bear")
NAMES = ("coffee mug, cup", "mouse, computer mouse", "polar bear", "fountain")
IMAGE = np.zeros((480, 640, 3), np.uint8)
# Apart from each other.
BOXES = [
    (200 * (i % 3), 150 * (i // 3), 200 * (i % 3) + 150, 150 * (i // 3) + 100) for i in range(9)
]


class FakeClassifier(RegionClassifier):
    """Names regions by their left edges.

    Attributes:
        probabilities: Probability of each name, by the left edge of a box; others have no name.
        regions: Regions of each image.
    """

    def __init__(self, names=NAMES):
        self.names = names
        self.probabilities = {}
        self.regions = []

    def classify(self, images, regions, step=at_once):
        assert len(images) == len(regions)
        self.regions += regions
        return [self._of_boxes(boxes) for boxes in regions]

    def _of_boxes(self, boxes):
        rows = [self.probabilities.get(int(left), {}) for left in boxes[:, 0]]
        return np.array(
            [[row.get(name, 0) for name in self.names] for row in rows], np.float32
        ).reshape(len(boxes), len(self.names))


class FakeZeroShotClassifier(FakeClassifier, ZeroShotClassifier):
    """Names are labels."""

    def set_names(self, names):
        self.names = tuple(names)


class FakeKnowledge:
    """String matches; learning adds the meaning of all labels in `learned`.

    Attributes:
        started: Set when learning has started.
        go: Learning waits for it, or for the end.
        ended: Labels of each computation that ended, with whether it was stopped.
        error: Exception of learning, or None.
    """

    def __init__(self, names=NAMES, known=LABELS):
        self.names = names
        self.known = set(known)
        self.started, self.go = threading.Semaphore(0), Event()
        self.ended = []
        self.error = None

    def table(self, labels):
        values = string_matches(labels, self.names).astype(np.float32)
        learned = [label in self.known for label in labels]
        values[learned] += 0.25
        return LabelTable(tuple(labels), values.clip(max=1))

    def missing(self, labels):
        return tuple(label for label in labels if label not in self.known)

    def learn(self, labels, stop):
        self.started.release()
        while not (self.go.wait(0.005) or stop.is_set()):
            pass
        self.ended.append((labels, stop.is_set()))
        if self.error is not None:
            raise self.error
        if not stop.is_set():
            self.known.update(labels)


def string_knowledge(names=NAMES):
    """Knowledge of all labels, by string matches."""
    return SimpleNamespace(
        names=names,
        missing=lambda labels: (),
        table=lambda labels: LabelTable(
            tuple(labels), string_matches(labels, names).astype(np.float32)
        ),
    )


@pytest.fixture
def classifier():
    return FakeClassifier()


@pytest.fixture
def fusion(classifier):
    """Fusion of a detector with string matches."""
    return make_fusion(classifier, string_knowledge())


def make_fusion(classifier, knowledge, labels=LABELS, max_crops=16):
    return LabelFusion(SimpleNamespace(labels=labels), classifier, knowledge, max_crops)


@pytest.fixture
def make(make_detections):
    """Function that makes a perception of (label, score, box) tuples, with scores of labels."""

    def make(*objects, second=None, score_threshold=0.3, with_scores=True):
        candidates = make_detections(*objects)
        scores = np.zeros((len(objects), len(LABELS)), np.float32)
        for row, (label, score, _) in zip(scores, objects, strict=True):
            row[LABELS.index(label)] = score
        for index, (label, score) in (second or {}).items():
            scores[index, LABELS.index(label)] = score
        features = torch.arange(2.0 * len(objects)).reshape(-1, 2)
        label_scores = LabelScores(LABELS, scores) if with_scores else None
        return Perception.ranked(candidates, score_threshold, features, None, label_scores)

    return make


def fuse(fusion, perception):
    [fused] = fusion.fuse_images([IMAGE], [perception])
    return fused


def log_odds(score):
    return np.log(score / (1 - score))


def found(perception):
    """Labels with scores."""
    candidates = perception.candidates
    return dict(zip(candidates.labels, candidates.scores.tolist(), strict=True))


def test_without_names_labels_stay_and_scores_but_for_the_best_of_each_label(fusion, make):
    random = np.random.default_rng(0)
    values = random.uniform(0.05, 0.99, 9).astype(np.float32)
    labels = [LABELS[i % 3] for i in range(9)]
    perception = make(*zip(labels, values, BOXES, strict=True))
    fused = fuse(fusion, perception)
    before = {b: (label, score) for label, score, b in zip(labels, values, BOXES, strict=True)}
    shifted = 0
    for label, score, box in zip(
        fused.candidates.labels, fused.candidates.scores, fused.candidates.xyxy, strict=True
    ):
        own_label, own_score = before[tuple(box.astype(int).tolist())]
        assert label == own_label
        if own_score == max(s for name, s in before.values() if name == label):
            shifted += 1
            shift = log_odds(float(score)) - log_odds(float(own_score))
            assert shift == pytest.approx(BEST_OBJECT_SHIFT, abs=1e-3)
        else:
            assert score == own_score
    assert shifted == 3
    assert fused.attributes == ((),) * 9


def test_no_candidates_stay_none(fusion, make):
    fused = fuse(fusion, make())
    assert len(fused.candidates) == 0
    assert fused.label_scores.scores.shape == (0, 4)
    assert len(fused.before_label_fusion) == 0
    assert fusion.fuse_images([], []) == []


def test_a_name_corrects_a_label_and_is_the_reason(fusion, classifier, make):
    table, cup = ("dining table", 0.5, BOXES[0]), ("cup", 0.6, BOXES[1])
    perception = make(table, cup, second={0: ("mouse", 0.3)})
    classifier.probabilities[0] = {"mouse, computer mouse": 0.9}
    fused = fuse(fusion, perception)
    mouse = fused.candidates.labels.index("mouse")
    assert fused.candidates.labels[1 - mouse] == "cup"
    shift = np.log((0.9 + SMOOTHING) / SMOOTHING) + BEST_OBJECT_SHIFT
    expected = log_odds(0.3) + shift
    assert log_odds(float(fused.candidates.scores[mouse])) == pytest.approx(expected, rel=1e-3)
    assert fused.attributes[mouse] == (Attribute(LOOKS_LIKE, "mouse", pytest.approx(0.9)),)
    assert fused.attributes[1 - mouse] == ()
    assert fused.detected.labels[mouse] == "dining table"
    assert fused.detected.scores[mouse] == np.float32(0.5)


def test_a_name_without_a_trace_of_its_label_in_the_detector_does_not_correct(
    fusion, classifier, make
):
    classifier.probabilities[0] = {"mouse, computer mouse": 0.9}
    fused = fuse(fusion, make(("dining table", 0.5, BOXES[0])))
    assert fused.candidates.labels == ("dining table",)
    assert fused.attributes == ((),)


def test_a_name_of_the_detectors_label_raises_its_score_with_the_reason(fusion, classifier, make):
    classifier.probabilities[0] = {"polar bear": 0.4, "fountain": 0.6}
    fused = fuse(fusion, make(("bear", 0.2, BOXES[0])))
    assert fused.candidates.labels == ("bear",)
    assert fused.reported == 1
    assert fused.attributes == ((Attribute(LOOKS_LIKE, "polar bear", pytest.approx(0.4)),),)


def test_a_name_that_means_no_label_changes_nothing(fusion, classifier, make):
    perception = make(("bear", 0.5, BOXES[0]), ("bear", 0.4, BOXES[1]))
    classifier.probabilities |= {0: {"fountain": 1.0}, 200: {"fountain": 1.0}}
    fused = fuse(fusion, perception)
    assert fused.candidates.scores[1] == np.float32(0.4)
    assert fused.attributes == ((), ())


@pytest.mark.parametrize(("probability", "reasons"), [(0.04, 0), (0.06, 1)])
def test_an_unlikely_name_is_no_reason(probability, reasons, fusion, classifier, make):
    classifier.probabilities[0] = {"polar bear": probability}
    fused = fuse(fusion, make(("bear", 0.5, BOXES[0])))
    assert len(fused.attributes[0]) == reasons


def test_the_reason_is_the_name_that_contributes_most(classifier, make):
    knowledge = string_knowledge()
    fusion = make_fusion(classifier, knowledge)
    values = fusion.table.values.copy()
    values[LABELS.index("bear")] = [0, 0.1, 1, 0]
    fusion.table = LabelTable(LABELS, values)
    classifier.probabilities[0] = {"mouse, computer mouse": 0.7, "polar bear": 0.3}
    [[reason]] = fuse(fusion, make(("bear", 0.5, BOXES[0]))).attributes
    assert (reason.value, reason.score) == ("polar bear", pytest.approx(0.3))


def test_boxes_of_one_label_on_each_other_are_one_object(fusion, make):
    first, other = ("cup", 0.5, (0, 0, 100, 100)), ("cup", 0.7, (10, 0, 110, 100))
    inside = ("cup", 0.6, (20, 20, 60, 60))
    apart = ("cup", 0.4, (300, 0, 400, 100))
    fused = fuse(fusion, make(first, other, inside, apart))
    by_edge = dict(zip(fused.candidates.xyxy[:, 0], fused.candidates.scores, strict=True))
    assert by_edge.keys() == {10, 20, 300}
    assert by_edge[20] == np.float32(COVERED_FACTOR * 0.6)
    assert fused.reported == 2
    assert len(fused.attributes) == len(fused.label_scores.scores) == len(fused.features) == 3


def test_boxes_of_two_labels_on_one_place_are_one_object(fusion, make):
    cup, table = ("cup", 0.5, (0, 0, 100, 100)), ("dining table", 0.7, (5, 0, 105, 100))
    assert found(fuse(fusion, make(cup, table))).keys() == {"dining table"}


def test_an_object_has_the_highest_scores_of_the_boxes_that_it_stands_for(fusion, make):
    cup, table = ("cup", 0.5, (0, 0, 100, 100)), ("dining table", 0.7, (5, 0, 105, 100))
    merged, kept = merge_labels(make(cup, table))
    assert len(kept) == 1
    scores = dict(zip(merged.label_scores.labels, merged.label_scores.scores[0], strict=True))
    assert scores["cup"] >= np.float32(0.5)
    assert scores["dining table"] == np.float32(0.7)


def test_boxes_of_different_labels_inside_each_other_are_different_objects(fusion, make):
    cup, table = ("cup", 0.5, (0, 0, 60, 60)), ("dining table", 0.7, (0, 0, 100, 100))
    assert found(fuse(fusion, make(cup, table))).keys() == {"cup", "dining table"}


def test_boxes_that_become_one_label_are_one_object(fusion, classifier, make):
    mouse, table = ("mouse", 0.6, (0, 0, 100, 100)), ("dining table", 0.5, (4, 0, 104, 100))
    perception = make(mouse, table, second={1: ("mouse", 0.3)})
    classifier.probabilities |= {edge: {"mouse, computer mouse": 0.9} for edge in (0, 4)}
    fused = fuse(fusion, perception)
    assert fused.candidates.labels == ("mouse",)
    assert fused.candidates.xyxy[0, 0] == 0
    assert fused.detected.labels == ("mouse",)


def test_the_best_object_of_a_label_is_the_best_after_fusion(fusion, classifier, make):
    first, second = ("bear", 0.5, BOXES[0]), ("bear", 0.4, BOXES[1])
    classifier.probabilities[200] = {"polar bear": 0.9}
    fused = fuse(fusion, make(first, second))
    by_edge = dict(zip(fused.candidates.xyxy[:, 0], fused.candidates.scores, strict=True))
    assert by_edge[0] == np.float32(0.5)
    expected = log_odds(0.4) + np.log((0.9 + SMOOTHING) / SMOOTHING) + BEST_OBJECT_SHIFT
    assert log_odds(float(by_edge[200])) == pytest.approx(expected, rel=1e-3)


def test_all_that_belongs_to_an_object_is_ranked_with_it(fusion, classifier, make):
    perception = make(
        ("cup", 0.9, (0, 0, 20, 20)),
        ("bear", 0.2, (300, 0, 600, 300)),
        ("cup", 0.5, (0, 200, 60, 260)),
        ("mouse", 0.1, (100, 100, 140, 140)),
    )
    classifier.probabilities[300] = {"polar bear": 0.9}
    assert perception.candidates.labels == ("cup", "cup", "bear", "mouse")
    [names] = fusion.classify([IMAGE], [perception])
    fused, order = fusion.fuse(perception, names)
    assert fused.candidates.labels == ("bear", "cup", "cup", "mouse")
    assert fused.reported == 3
    assert order.tolist() == [2, 0, 1, 3]
    np.testing.assert_array_equal(fused.candidates.xyxy, perception.candidates.xyxy[order])
    np.testing.assert_array_equal(fused.features, perception.features[order])
    np.testing.assert_array_equal(fused.region_names, names[order])
    of_labels, before = fused.label_scores, perception.label_scores.scores[order]
    assert of_labels.labels == fusion.labels
    # Only the bear has a name.
    np.testing.assert_array_equal(of_labels.scores[1:], before[1:])
    assert of_labels.scores[0].max() > before[0].max()
    assert fused.detected.labels == ("bear", "cup", "cup", "mouse")
    np.testing.assert_array_equal(fused.detected.scores, perception.candidates.scores[order])
    np.testing.assert_array_equal(fused.detected.xyxy, fused.candidates.xyxy)
    assert [len(own) for own in fused.attributes] == [1, 0, 0, 0]


def test_fusing_again_keeps_what_the_detector_said(fusion, classifier, make):
    classifier.probabilities[0] = {"mouse, computer mouse": 0.9}
    perception = make(("dining table", 0.5, BOXES[0]), second={0: ("mouse", 0.3)})
    twice = fuse(fusion, fuse(fusion, perception))
    assert twice.candidates.labels == ("mouse",)
    assert twice.detected.labels == ("dining table",)


def test_a_label_that_the_detector_does_not_know_comes_from_names(classifier, make):
    fusion = make_fusion(classifier, string_knowledge())
    fusion.set_labels(["fountain", "cup"])
    assert fusion.labels == ("fountain", "cup")
    classifier.probabilities[0] = {"fountain": 0.4}
    fused = fuse(fusion, make(("dining table", 0.5, BOXES[0]), ("cup", 0.6, BOXES[1])))
    scores = found(fused)
    assert scores.keys() == {"fountain", "cup"}
    expected = log_odds(GAIN * 0.4 * 0.5) + np.log((0.4 + SMOOTHING) / SMOOTHING)
    assert log_odds(scores["fountain"]) == pytest.approx(expected + BEST_OBJECT_SHIFT, rel=1e-3)
    assert "dining table" in fused.detected.labels


def test_the_score_of_an_unknown_label_is_at_most_that_of_the_object(classifier, make):
    fusion = make_fusion(classifier, string_knowledge())
    fusion.set_labels(["fountain"])
    classifier.probabilities[0] = {"fountain": 1.0}
    [score] = found(fuse(fusion, make(("dining table", 0.5, BOXES[0])))).values()
    expected = log_odds(0.5) + np.log((1 + SMOOTHING) / SMOOTHING) + BEST_OBJECT_SHIFT
    assert log_odds(score) == pytest.approx(expected, rel=1e-3)


def test_objects_of_no_chosen_label_are_no_longer_reported(classifier, make):
    fusion = make_fusion(classifier, string_knowledge())
    fusion.set_labels(["fountain", "cup"])
    fused = fuse(fusion, make(("dining table", 0.9, BOXES[0]), ("cup", 0.6, BOXES[1])))
    assert fused.reported == 1
    assert fused.detections.labels == ("cup",)


def test_a_detector_without_scores_of_labels_has_those_of_its_labels(fusion, classifier, make):
    perception = make(("bear", 0.2, BOXES[0]), ("cup", 0.5, BOXES[1]), with_scores=False)
    classifier.probabilities |= {0: {"polar bear": 0.8}, 200: {"polar bear": 0.8}}
    scores = found(fuse(fusion, perception))
    shift = np.log((0.8 + SMOOTHING) / SMOOTHING) + BEST_OBJECT_SHIFT
    assert log_odds(scores["bear"]) == pytest.approx(log_odds(0.2) + shift, rel=1e-3)
    assert log_odds(scores["cup"]) == pytest.approx(log_odds(0.5) + BEST_OBJECT_SHIFT, abs=1e-3)


def test_scores_of_the_detector_are_of_all_labels_or_of_the_own_label(make):
    objects = ("bear", 0.25, BOXES[0]), ("cup", 0.5, BOXES[1])
    assert detector_scores(make(*objects, second={0: ("cup", 0.125)}), "cup").tolist() == [
        0.5,
        0.125,
    ]
    perception = make(*objects, with_scores=False)
    assert detector_scores(perception, "cup").tolist() == [0.5, 0]
    assert detector_scores(perception, "zebra").tolist() == [0, 0]


@pytest.mark.parametrize(("max_crops", "named"), [(0, []), (2, [0, 400]), (3, [0, 200, 400])])
def test_only_the_candidates_of_the_highest_scores_are_named(max_crops, named, classifier, make):
    fusion = make_fusion(classifier, string_knowledge(), max_crops=max_crops)
    scores = (0.9, 0.1, 0.5)
    perception = make(*(("bear", s, b) for s, b in zip(scores, BOXES, strict=False)))
    classifier.probabilities |= {edge: {"polar bear": 0.5} for edge in (0, 200, 400)}
    [probabilities] = fusion.classify([IMAGE], [perception])
    [regions] = classifier.regions
    assert sorted(regions[:, 0].tolist()) == named
    assert probabilities.shape == (3, 4)
    has_name = probabilities.any(1)
    assert sorted(perception.candidates.xyxy[has_name, 0].tolist()) == named
    assert fuse(fusion, perception).candidates.labels == ("bear",) * 3


def test_each_image_of_a_batch_is_fused_as_alone(fusion, classifier, make):
    classifier.probabilities[0] = {"mouse, computer mouse": 0.9}
    one = make(("dining table", 0.5, BOXES[0]), second={0: ("mouse", 0.3)})
    perceptions = [one, make(), make(("cup", 0.7, BOXES[1]))]
    together = fusion.fuse_images([IMAGE] * 3, perceptions)
    assert [found(each) for each in together] == [found(fuse(fusion, p)) for p in perceptions]
    assert [each.candidates.labels for each in together] == [("mouse",), (), ("cup",)]


def test_evidence_of_none_is_exact_and_certain_scores_stay():
    scores = np.random.default_rng(0).random((1000, 3)).astype(np.float32)
    np.testing.assert_array_equal(fused_scores(scores, np.zeros_like(scores)), scores)
    ends = np.array([0, 1], np.float32)
    assert shift_log_odds(ends, 3.0).tolist() == [0, 1]
    assert shift_log_odds(ends, -3.0).tolist() == [0, 1]
    assert fused_scores(scores, np.ones_like(scores)).dtype == np.float32


def test_more_evidence_is_a_higher_score():
    evidence = np.linspace(0, 1, 11, dtype=np.float32)[None]
    fused = fused_scores(np.full((1, 11), 0.3, np.float32), evidence)
    assert (np.diff(fused) > 0).all()
    assert fused[0, -1] < 1


def test_of_duplicates_the_highest_score_stays():
    xyxy = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
    scores, labels = np.array([0.3, 0.6, 0.5, 0.4], np.float32), np.array([1, 1, 2, 1])
    assert remove_duplicates(xyxy, scores, labels).tolist() == [1, 2, 3]


@pytest.mark.parametrize("scores", [(0.6, 0.4), (0.4, 0.6)], ids=["whole", "part"])
def test_of_a_whole_and_its_part_the_less_likely_one_gets_a_lower_score(scores):
    xyxy = np.array([[0, 0, 100, 100], [0, 0, 30, 30]], np.float32)
    scores, labels = np.float32(scores), np.zeros(2, int)
    assert len(remove_duplicates(xyxy, scores, labels)) == 2
    expected = np.where(scores == scores.max(), scores, COVERED_FACTOR * scores)
    np.testing.assert_allclose(discount_covered(xyxy, scores, labels), expected)
    other_labels = discount_covered(xyxy, scores, np.array([0, 1]))
    assert np.array_equal(other_labels, scores)


def test_boxes_that_only_overlap_keep_their_scores():
    xyxy = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [5, 5, 5, 5]], np.float32)
    scores = np.float32([0.6, 0.5, 0.4])
    assert np.array_equal(discount_covered(xyxy, scores, np.zeros(3, int)), scores)
    assert discount_covered(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)).shape == (0,)


def test_boxes_without_area_and_no_boxes_are_no_duplicates():
    empty = remove_duplicates(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    assert empty.tolist() == []
    assert empty.dtype == np.int64
    points = np.array([[5, 5, 5, 5]] * 2, np.float32)
    assert remove_duplicates(points, np.array([0.5, 0.6]), np.zeros(2, int)).tolist() == [1, 0]


def test_labels_mean_their_string_matches_until_all_are_learned(classifier):
    knowledge = FakeKnowledge()
    fusion = make_fusion(classifier, knowledge)
    fusion.wait()
    assert knowledge.ended == []
    fusion.set_labels(["fountain", "cup"])
    assert knowledge.started.acquire(timeout=PATIENCE_S)
    assert fusion.labels == ("fountain", "cup")
    assert fusion.table.values[0].tolist() == [0, 0, 0, 1]
    knowledge.go.set()
    fusion.wait()
    assert knowledge.ended == [(("fountain", "cup"), False)]
    assert fusion.table.values[0].tolist() == [0.25, 0.25, 0.25, 1]


def test_labels_of_the_detector_are_learned_from_the_start(classifier):
    knowledge = FakeKnowledge(known=())
    knowledge.go.set()
    fusion = make_fusion(classifier, knowledge)
    fusion.wait()
    assert knowledge.ended == [(LABELS, False)]
    assert fusion.table.values.min() == 0.25


def test_setting_labels_stops_the_computation_for_older_ones(classifier):
    knowledge = FakeKnowledge()
    fusion = make_fusion(classifier, knowledge)
    fusion.set_labels(["fountain"])
    assert knowledge.started.acquire(timeout=PATIENCE_S)
    older = fusion._learner
    fusion.set_labels(["pier"])
    older.join(PATIENCE_S)
    assert knowledge.ended == [(("fountain",), True)]
    knowledge.go.set()
    fusion.wait()
    assert knowledge.ended[1:] == [(("pier",), False)]
    assert fusion.labels == ("pier",)


def test_setting_known_labels_stops_the_computation_too(classifier):
    knowledge = FakeKnowledge()
    fusion = make_fusion(classifier, knowledge)
    fusion.set_labels(["fountain"])
    assert knowledge.started.acquire(timeout=PATIENCE_S)
    fusion.set_labels(["cup"])
    fusion.wait()
    assert knowledge.ended == [(("fountain",), True)]
    assert fusion.labels == ("cup",)


def test_string_matches_stay_if_learning_fails(classifier, caplog):
    knowledge = FakeKnowledge(known=())
    knowledge.error = RuntimeError("CUDA out of memory")
    knowledge.go.set()
    fusion = make_fusion(classifier, knowledge)
    fusion.wait()
    assert "the language model could not score labels" in caplog.text
    assert "CUDA out of memory" in caplog.text
    np.testing.assert_array_equal(fusion.table.values, string_matches(LABELS, NAMES))


def test_a_fusion_that_nobody_uses_is_collected_and_stops_learning(classifier):
    knowledge = FakeKnowledge(known=())
    fusion = make_fusion(classifier, knowledge)
    assert knowledge.started.acquire(timeout=PATIENCE_S)
    learner, reference = fusion._learner, weakref.ref(fusion)
    del fusion
    gc.collect()
    assert reference() is None
    learner.join(PATIENCE_S)
    assert not learner.is_alive()
    assert knowledge.ended == [(LABELS, True)]


def test_a_zero_shot_classifier_names_labels(make):
    classifier = FakeZeroShotClassifier.__new__(FakeZeroShotClassifier)
    FakeClassifier.__init__(classifier, ())
    fusion = make_fusion(classifier, None)
    assert classifier.names == LABELS
    assert fusion.table.values.tolist() == np.eye(4).tolist()
    fusion.set_labels(["fountain", "cup"])
    assert classifier.names == fusion.labels == ("fountain", "cup")
    fusion.wait()
    classifier.probabilities[0] = {"fountain": 0.9}
    fused = fuse(fusion, make(("dining table", 0.5, BOXES[0])))
    assert fused.candidates.labels == ("fountain",)
    assert fused.attributes[0][0].value == "fountain"


@pytest.fixture(scope="module")
def embedded(detector, language_model, visual_encoder):
    """Fusion of the embedded models."""
    fusion = load_label_fusion(Settings(), Backbones(language_model, detector, visual_encoder))
    assert fusion.knowledge.missing(detector.labels) == ()
    return fusion


def test_a_tie_that_a_detector_takes_for_a_backpack_is_a_tie(
    embedded, detector, zidane_image, make_detections
):
    scores = np.zeros((1, len(detector.labels)), np.float32)
    scores[0, [detector.labels.index(label) for label in ("backpack", "tie")]] = 0.4, 0.3
    tie = ("backpack", 0.4, (435, 430, 530, 715))
    perception = Perception.ranked(
        make_detections(tie, resolution_wh=(1280, 720)),
        0.3,
        label_scores=LabelScores(detector.labels, scores),
    )
    [fused] = embedded.fuse_images([zidane_image], [perception])
    assert fused.candidates.labels == ("tie",)
    assert fused.candidates.scores[0] > 0.6
    assert fused.detected.labels == ("backpack",)
    [[reason]] = fused.attributes
    assert (reason.name, reason.value) == (LOOKS_LIKE, "Windsor tie")


def test_right_labels_of_a_photograph_stay(embedded, detector, bus_image):
    [perception] = detector.detect([bus_image])
    [fused] = embedded.fuse_images([bus_image], [perception])
    assert {"bus", "person"} <= {*fused.detections.labels}
    for label, detected in zip(fused.detections.labels, fused.detected.labels, strict=False):
        if detected in ("bus", "person"):
            assert label == detected


def test_a_computer_mouse_that_the_detector_takes_for_a_table_is_corrected(embedded, detector):
    try:
        folder = locate("photographs-products")
    except WeightsError as error:
        pytest.skip(f"the photographs are not fetched: {error}")
    image = read_image(folder / "oscar-ivan-esquivel-arteaga-687447-unsplash.jpg")
    [perception] = detector.detect([image])
    [fused] = embedded.fuse_images([image], [perception])
    assert fused.detections.labels == ("mouse",)
    assert fused.detected.labels[0] == "dining table"
    assert fused.attributes[0][0].value == "mouse"


class FakeContext:
    """Shifts of labels.

    Attributes:
        shifts: Shift of each label; None for no context.
        labels: Labels that were set.
    """

    def __init__(self, **shifts):
        self.shifts = shifts or None
        self.labels = ()

    def set_labels(self, labels):
        self.labels = labels

    def of(self, labels):
        if self.shifts is None:
            return None
        return np.array([self.shifts.get(label, 0) for label in labels], np.float32)


def fusion_in(classifier, context, labels=LABELS):
    knowledge = string_knowledge()
    detector = SimpleNamespace(labels=LABELS)
    fusion = LabelFusion(detector, classifier, knowledge, 16, context)
    fusion.set_labels(labels)
    return fusion


def test_without_a_context_everything_is_exactly_as_before(classifier, fusion, make):
    classifier.probabilities[0] = {"mouse, computer mouse": 0.3}
    perception = make(
        ("dining table", 0.5, BOXES[0]),
        ("cup", 0.3, BOXES[1]),
        ("bear", 0.8, BOXES[2]),
        second={0: ("mouse", 0.3)},
    )
    expected = fuse(fusion, perception)
    fused = fuse(fusion_in(classifier, FakeContext()), perception)
    assert fused.candidates.labels == expected.candidates.labels
    np.testing.assert_array_equal(fused.candidates.scores, expected.candidates.scores)
    np.testing.assert_array_equal(fused.candidates.xyxy, expected.candidates.xyxy)
    assert fused.attributes == expected.attributes


def test_a_context_decides_between_labels_of_a_doubtful_object(classifier, make):
    perception = make(("cup", 0.4, BOXES[0]), second={0: ("mouse", 0.3)})
    context = FakeContext(mouse=2.0, cup=-1.0)
    fused = fuse(fusion_in(classifier, context), perception)
    assert fused.candidates.labels == ("mouse",)
    expected = log_odds(0.3) + 2 * CONTEXT_WEIGHT + BEST_OBJECT_SHIFT
    assert log_odds(float(fused.candidates.scores[0])) == pytest.approx(expected, rel=1e-3)
    assert context.labels == LABELS


def test_a_context_does_not_change_what_the_detector_is_sure_about(classifier, make):
    perception = make(("cup", SURE_SCORE, BOXES[0]), second={0: ("mouse", 0.59)})
    context = FakeContext(mouse=3.0, cup=-3.0)
    fused = fuse(fusion_in(classifier, context), perception)
    assert fused.candidates.labels == ("cup",)
    [score] = fused.candidates.scores
    assert log_odds(score) == pytest.approx(log_odds(SURE_SCORE) + BEST_OBJECT_SHIFT, abs=1e-3)


def test_in_a_context_an_object_may_have_a_label_without_evidence(classifier, make):
    labels = ("fountain", "pier", "cup")
    perception = make(("bear", 0.5, BOXES[0]))
    fused = fuse(fusion_in(classifier, FakeContext(pier=1.0), labels), perception)
    assert fused.candidates.labels == ("pier",)
    expected = log_odds(0.5 * CONTEXT_FLOOR) + CONTEXT_WEIGHT + BEST_OBJECT_SHIFT
    assert log_odds(float(fused.candidates.scores[0])) == pytest.approx(expected, rel=1e-3)
    without = fuse(fusion_in(classifier, FakeContext(), labels), perception)
    assert without.candidates.scores.tolist() == [0]


def test_shifts_of_the_image_replace_those_of_the_node(classifier, make):
    perception = make(("cup", 0.4, BOXES[0]), second={0: ("mouse", 0.3)})
    fusion = fusion_in(classifier, FakeContext(mouse=2.0))
    [names] = fusion.classify([IMAGE], [perception])
    fused, _ = fusion.fuse(perception, names, np.zeros(len(LABELS), np.float32))
    assert fused.candidates.labels == ("cup",)


def test_no_candidates_stay_none_in_a_context(classifier, make):
    assert len(fuse(fusion_in(classifier, FakeContext(cup=1.0)), make()).candidates) == 0
    empty = scores_in_context(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.ones(2))
    assert empty.shape == (0, 2)
