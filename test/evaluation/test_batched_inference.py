# SPDX-License-Identifier: Apache-2.0
"""Answers in a batch are those that come one by one."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from making import make_image, make_perception

from mrmllm_ros.answering.answerer import Decoding, Question, SilentListener
from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer, prompt_only
from mrmllm_ros.datasets.example import Example, QuestionAnswer, Truth
from mrmllm_ros.evaluation import batched_inference
from mrmllm_ros.evaluation.batched_inference import answer_questions, enrich, fuse_labels
from mrmllm_ros.model.citations import cited_ids
from mrmllm_ros.model.modeling_mrmllm import MrMllm
from mrmllm_ros.model.prompt import PromptSettings

QUESTIONS = (
    "How many people are there?",
    "",
    "Dog?",
    "Is the traffic light to the left of the person who stands in the middle of the picture?",
    "¿Qué ves?",
)


def read(answerer, objects=4):
    [encoded] = answerer.encode([make_image()], [make_perception(objects)])
    return encoded


def one_by_one(answerer, encoded, length=12):
    asked = [Question(text, Decoding(length)) for text in QUESTIONS]
    return [answerer.answer(encoded, question, SilentListener()) for question in asked]


@pytest.mark.parametrize(
    "switched_off",
    [{}, {"prefix_tokens": False}, {"perception_prompt": False}],
    ids=lambda choices: "".join(choices) or "full",
)
def test_they_are_the_same_token_for_token(switched_off, make_answerer):
    answerer = make_answerer(**switched_off)
    encoded = read(answerer)
    singly = one_by_one(answerer, encoded)
    together = answer_questions(answerer, encoded, QUESTIONS, 12)
    assert together == [each.text for each in singly]
    # What names nothing is no evidence for a user, and a mistake here.
    listed = encoded.prefilled().citable
    named = [cited_ids(text, listed) for text in together]
    assert named == [each.cited for each in singly]


def test_a_citation_of_no_object_is_kept(make_answerer, monkeypatch):
    answerer = make_answerer()
    ids = answerer.model.text.tokenizer("The car [1][40] is red.").input_ids
    monkeypatch.setattr(batched_inference, "_greedy", lambda *arguments: [ids])
    [replied] = answer_questions(answerer, read(answerer), ["?"], 12)
    assert cited_ids(replied) == (1, 40)


def test_they_are_the_same_without_training(tiny):
    answerer = MrMllmAnswerer(MrMllm(prompt_only(tiny), tiny), tiny, PromptSettings())
    encoded = read(answerer)
    texts = [each.text for each in one_by_one(answerer, encoded)]
    assert answer_questions(answerer, encoded, QUESTIONS, 12) == texts


def test_one_that_ends_early_does_not_end_the_others(make_answerer, monkeypatch):
    answerer = make_answerer()
    encoded = read(answerer)
    full = answer_questions(answerer, encoded, QUESTIONS, 12)
    tokenizer = answerer.model.text.tokenizer
    first = tokenizer(full[0], add_special_tokens=False)["input_ids"]
    configuration = answerer.model.language_model.generation_config
    monkeypatch.setattr(configuration, "eos_token_id", [first[3], 2])
    ended = answer_questions(answerer, encoded, QUESTIONS, 12)
    assert ended == [each.text for each in one_by_one(answerer, encoded)]
    assert len(ended[0]) < len(full[0])


def test_the_encoded_image_is_not_modified(make_answerer):
    answerer = make_answerer()
    encoded = read(answerer)
    before = copy.deepcopy(encoded.prefilled().past_key_values)
    answer_questions(answerer, encoded, QUESTIONS, 6)
    assert encoded.prefilled().past_key_values.get_seq_length() == before.get_seq_length()
    for layer, copied in zip(
        encoded.prefilled().past_key_values.layers, before.layers, strict=True
    ):
        assert torch.equal(layer.keys, copied.keys)


def test_no_questions_have_no_answers(make_answerer):
    answerer = make_answerer()
    assert answer_questions(answerer, read(answerer), ()) == []


class FakeFusion:
    """Calls objects forklifts, in another order, and removes the last one."""

    ORDER = (2, 0, 1)

    def fuse(self, perception, probabilities):
        assert len(probabilities) == len(perception.candidates) == 4
        order = np.array(self.ORDER)
        forklifts = perception.with_labels(["forklift"] * 4, np.full(4, 0.5), [()] * 4)
        return forklifts.take(order), order


@pytest.fixture
def example():
    """Four objects with questions about them."""
    truths = (
        Truth(cited=frozenset([1, 3])),
        Truth(cited=frozenset([2, 4]), pairs=frozenset([(3, "left"), (4, "right")])),
        Truth(cited=frozenset(), number=0),
        Truth(polarity=True),
    )
    return Example(
        perception=make_perception(4),
        attributes=tuple({"color": color} for color in ("red", "green", "blue", "white")),
        questions=tuple(
            QuestionAnswer(question="?", answer="", family="f", truth=truth) for truth in truths
        ),
        region_names=np.zeros((4, 3), np.float32),
    )


def fused(*examples):
    return fuse_labels(SimpleNamespace(label_fusion=FakeFusion()), examples)


def test_fused_labels_keep_the_attributes_of_their_objects(example):
    [after] = fused(example)
    assert after.perception.candidates.labels == ("forklift",) * 3
    before = example.perception.candidates
    np.testing.assert_array_equal(after.perception.candidates.xyxy, before.xyxy[[2, 0, 1]])
    assert [own["color"] for own in after.attributes] == ["blue", "red", "green"]


def test_the_truth_has_the_ids_after_fusion_and_of_what_covers_removed_objects(example):
    [after] = fused(example)
    both, some, none, unknown = (item.truth for item in after.questions)
    assert both.cited == {1, 2}
    # The removed object 4 overlaps most with the object that is the second one now.
    assert some.cited == {3, 2}
    assert some.pairs == {(1, "left"), (2, "right")}
    assert (none.cited, none.number, none.pairs) == (frozenset(), 0, None)
    assert (unknown.cited, unknown.pairs, unknown.polarity) == (None, None, True)
    assert [item.question for item in after.questions] == ["?"] * 4


def test_scenes_without_names_and_answerers_without_fusion_change_nothing(example):
    synthetic = replace(example, region_names=None)
    assert fused(synthetic) == [synthetic]
    assert fuse_labels(SimpleNamespace(label_fusion=None), [example]) == [example]
    assert fused() == []


def test_detections_of_scenes_are_enriched_after_fusion(example, make_answerer):
    answerer = make_answerer(perception_outputs=[])
    answerer.label_fusion = FakeFusion()
    [enriched] = enrich(answerer, [example])
    assert enriched.fused.labels == ("forklift",) * 3
    labels = example.perception.candidates.labels
    assert enriched.detector.labels == tuple(labels[i] for i in FakeFusion.ORDER)
