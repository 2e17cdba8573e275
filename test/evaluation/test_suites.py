# SPDX-License-Identifier: Apache-2.0
"""The suites judge hand-made answers and detections rightly, and run on a small model."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from making import detector_stub, make_image, make_perception

from mrmllm_ros.datasets.candidate_cache import compute_candidates
from mrmllm_ros.datasets.example import QuestionAnswer, Truth
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.evaluation import consistency
from mrmllm_ros.evaluation.ablations import DETECTOR_ALONE, FULL
from mrmllm_ros.evaluation.average_precision import Matches, TrueObjects
from mrmllm_ros.evaluation.batched_inference import encode_examples
from mrmllm_ros.evaluation.consistency import (
    CLEAN,
    ConsistencySuite,
    CorruptedFrames,
    frame_novelty,
    novelty_auroc,
    precision_statistics,
)
from mrmllm_ros.evaluation.hallucination import (
    SAMPLINGS,
    HallucinationSuite,
    pope_questions,
    yes_no_statistics,
)
from mrmllm_ros.evaluation.suite_result import (
    SHARE_OF_PERHAPS,
    AnsweredQuestion,
    accuracies,
)
from mrmllm_ros.evaluation.synthetic_suite import (
    GroundingSuite,
    SyntheticScenes,
    SyntheticSuite,
    citation_statistics,
)
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.model_settings import VisualEncoderSettings
from mrmllm_ros.model.visual_encoder import VisualEncoder


def silent(line):
    pass


def values(statistics, scenes):
    every = np.arange(scenes)[None]
    return {name: statistic(every)[0] for name, statistic in statistics.items()}


def answered(scene, text, family="count", **truth):
    item = QuestionAnswer(question="", answer="", family=family, truth=Truth(**truth))
    return AnsweredQuestion(scene, item, text)


def test_accuracy_is_over_all_questions_and_by_family():
    all_answered = [
        answered(0, "two", number=2),
        answered(0, "three", number=2),
        answered(2, "Yes.", family="existence", polarity=True),
    ]
    figures = values(accuracies(all_answered, 3, ["existence", "which", "count"]), 3)
    assert figures == pytest.approx(
        {
            "accuracy": 2 / 3,
            "accuracy, existence": 1,
            "accuracy, count": 0.5,
            "share of perhaps": 0,
        }
    )


def test_citations_are_judged_over_all_answers():
    def citing(scene, *cited, truth=None):
        item = QuestionAnswer(question="", answer="", family="", truth=truth or Truth())
        return AnsweredQuestion(scene, item, "".join(f"[{i}]" for i in cited))

    wanted = Truth(cited=frozenset([1, 3]))
    all_answered = [citing(0, 1, 2, truth=wanted), citing(1, 1, 2)]
    figures = values(citation_statistics(all_answered, 2), 2)
    assert figures == {"precision": 0.5, "recall": 0.5, "F1": 0.5}


def test_pope_asks_equally_often_about_present_and_absent_objects():
    vocabulary = ["dog", "cat", "car", "bus", "person", "man", "cup", "fork", "skis"]
    present = [["dog", "car", "dog"], ["dog", "cat"], ["person"], [], ["cup", "dog"]]
    asked = pope_questions(present, vocabulary)
    assert [len(items) for items in asked] == [12, 12, 6, 0, 12]
    for labels, items in zip(present, asked, strict=True):
        for sampling in SAMPLINGS:
            truths = [i.truth.polarity for i in items if i.family == sampling]
            assert sum(truths) * 2 == len(truths)
        for item in items:
            named = {x for x in vocabulary if f" {x}" in item.question}
            assert bool(named & set(labels)) is item.truth.polarity
    # A man may be that person, and is not asked about.
    assert not [item for item in asked[2] if "man" in item.question]


def test_pope_samples_frequent_and_co_occurring_labels():
    vocabulary = ["dog", "cat", "car", "bus", "cup", "fork", "zebra"]
    present = [["dog"], ["dog", "bus"], ["cup", "fork"], ["cup", "cat"], ["cup", "fork"], ["fork"]]
    absent = {
        sampling: [i.question for i in items if i.family == sampling and not i.truth.polarity]
        for items in pope_questions(present, vocabulary)[:1]
        for sampling in SAMPLINGS
    }
    assert absent["popular"][0] in ("Is there a cup?", "Is there a fork?")
    assert absent["adversarial"] == ["Is there a bus?"]


def test_pope_is_the_same_each_time():
    vocabulary = ["dog", "cat", "car", "bus", "cup"]
    assert pope_questions([["dog", "cat"]], vocabulary) == pope_questions(
        [["dog", "cat"]], vocabulary
    )


def test_yes_and_no_are_counted_as_pope_does():
    def said(text, there):
        return answered(0, text, family="random", polarity=there)

    given = [said("Yes.", True), said("Yes.", True), said("No.", True), said("Yes.", False)]
    given += [said("No.", False), said("I can't tell.", False)]
    given += [said("Perhaps.", True), said("Perhaps I see a dog [2].", False)]
    figures = values(yes_no_statistics(given, 1), 1)
    assert figures == pytest.approx(
        {
            "accuracy": 4 / 8,
            "precision": 3 / 5,
            "recall": 3 / 4,
            "F1": 2 * 3 / (5 + 4),
            "share of yes": 5 / 8,
            "share of perhaps": 2 / 8,
        }
    )


def test_corruptions_and_severities_have_equal_weight(make_detections):
    there = [TrueObjects(make_detections(("dog", 1, (0, 0, 50, 50))))]
    right, wrong = (make_detections((x, 0.5, (0, 0, 50, 50))) for x in ("dog", "cat"))
    conditions = {CLEAN: right, ("fog", 1): right, ("fog", 2): wrong, ("dark", 1): wrong}
    matches = {name: Matches(there, [found]) for name, found in conditions.items()}
    figures = values(precision_statistics(matches), 1)
    assert figures["AP50, clean"] == figures["AP, fog 1"] == pytest.approx(1)
    assert figures["AP50, fog 2"] == figures["AP50, dark"] == 0
    assert figures["AP50, fog"] == pytest.approx(0.5)
    assert figures["AP50, corrupted"] == pytest.approx(0.25)


def test_the_novelty_of_a_frame_is_the_mean_over_likely_candidates(make_detections):
    def enriched(*scores):
        found = make_detections(*[("dog", score, (0, 0, 9, 9)) for score in scores])
        given = np.linspace(0.2, 0.8, len(scores), dtype=np.float32)
        count = len(scores)
        return EnrichedDetections(found, found, np.arange(0), given, ((),) * count)

    assert frame_novelty(enriched(0.5, 0.2, 0.1)) == pytest.approx(0.35)
    assert frame_novelty(enriched(0.1, 0.1)) == pytest.approx(0.5)
    assert frame_novelty(enriched()) == 0
    auroc = novelty_auroc({CLEAN: [0.1, 0.2], ("fog", 1): [0.3, 0.15], ("dark", 1): [0.5, 0.5]})
    assert values({"auroc": auroc}, 2) == {"auroc": pytest.approx(7 / 8)}


def test_precomputed_candidates_give_the_result_of_the_answerer(
    compute, load_tiny, make_answerer, bus_image
):
    encoder = VisualEncoder.load(VisualEncoderSettings(), compute)
    images = [make_image(), bus_image]
    found = [make_perception(4), make_perception(2, 1)]
    detector = SimpleNamespace(**vars(detector_stub()), detect=lambda batch: found)
    backbones = Backbones(load_tiny(), detector, encoder)
    answerer = make_answerer(backbones, query_fusion=True)
    direct = answerer.encode(images, found)
    before = list(encode_examples(answerer, list(compute_candidates(images, detector, encoder))))
    for one, other in zip(before, direct, strict=True):
        assert np.allclose(one.enriched.fused.scores, other.enriched.fused.scores, atol=1e-5)
        assert np.allclose(one.enriched.fused.xyxy, other.enriched.fused.xyxy, atol=1e-2)
        assert torch.equal(one.prefilled().attention_mask, other.prefilled().attention_mask)


def test_the_suites_of_synthetic_scenes_share_the_answers_of_a_variant(make_answerer, monkeypatch):
    answerer, scenes = make_answerer(), SyntheticScenes(3, questions=4)
    synthetic = SyntheticSuite(scenes).evaluate(answerer, FULL, silent)
    assert synthetic.scenes == 3
    assert 0 <= values(synthetic.statistics, 3)["accuracy"] <= 1
    monkeypatch.setattr(answerer, "encode_batch", None)
    assert "precision" in GroundingSuite(scenes).evaluate(answerer, FULL, silent).statistics


def test_right_answers_have_all_statistics_at_one(monkeypatch):
    scenes = SyntheticScenes(4, questions=6)
    right = [
        AnsweredQuestion(i, item, item.answer)
        for i, example in enumerate(scenes.examples)
        for item in example.questions
    ]
    monkeypatch.setattr(scenes, "answers", lambda *arguments: right)
    for suite in (SyntheticSuite(scenes), GroundingSuite(scenes)):
        figures = values(suite.evaluate(None, FULL, silent).statistics, 4)
        assert figures
        assert 0 <= figures.pop(SHARE_OF_PERHAPS, 0) < 0.5
        assert set(figures.values()) == {1.0}, figures


def test_the_hallucination_suite_runs(make_answerer):
    examples = SyntheticScenes(2, questions=0).examples
    present = [example.perception.detections.labels for example in examples]
    suite = HallucinationSuite(examples, present, ["dog", "cat", "zebra", "cup"])
    result = suite.evaluate(make_answerer(), FULL, silent)
    assert {"accuracy", "F1, popular", "share of yes, random"} <= set(result.statistics)


@pytest.fixture
def make_frames(tmp_path, monkeypatch):
    """Function that makes two frames clean and with these corruptions."""
    images = [make_image(seed) for seed in range(3)]
    monkeypatch.setattr(consistency, "frames", lambda path: iter(images))
    detector = SimpleNamespace(
        **vars(detector_stub()),
        detect=lambda batch: [make_perception(5, int(image.mean() * 1e3)) for image in batch],
    )

    def make(*conditions):
        return CorruptedFrames(tmp_path, Backbones(None, detector), step=2, conditions=conditions)

    return make


def test_the_consistency_suite_runs_on_the_same_candidates(make_answerer, make_frames):
    frames = make_frames(("dark", 3), ("jpeg", 1))
    suite, lines = ConsistencySuite(frames), []
    fused = suite.evaluate(make_answerer(), FULL, lines.append)
    alone = suite.evaluate(None, DETECTOR_ALONE, silent)
    assert fused.scenes == alone.scenes == 2
    assert lines == ["clean", "dark 3", "jpeg 1"]
    assert values(alone.statistics, 2)["AP50, clean"] == pytest.approx(1)
    assert set(fused.statistics) - set(alone.statistics) == {"AUROC of novelty"}
    again = make_frames(*frames.conditions)
    for condition, examples in frames.examples.items():
        for one, other in zip(examples, again.examples[condition], strict=True):
            assert (one.perception.candidates.xyxy == other.perception.candidates.xyxy).all()
