# SPDX-License-Identifier: Apache-2.0
"""Answers in a batch are those that come one by one."""

import copy

import pytest
import torch
from making import SILENT, make_image, make_perception

from mrmllm_ros.answering.answerer import Question
from mrmllm_ros.answering.generation import Decoding
from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer, prompt_only
from mrmllm_ros.evaluation import answer_runs as answering
from mrmllm_ros.evaluation.answer_runs import reply
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
    [reading] = answerer.read([make_image()], [make_perception(objects)])
    return reading


def one_by_one(answerer, reading, length=12):
    asked = [Question(text, Decoding(length)) for text in QUESTIONS]
    return [answerer.answer(reading, question, SILENT) for question in asked]


@pytest.mark.parametrize(
    "switched_off",
    [{}, {"prefix_tokens": False}, {"perception_prompt": False}],
    ids=lambda choices: "".join(choices) or "full",
)
def test_they_are_the_same_token_for_token(switched_off, make_answerer):
    answerer = make_answerer(**switched_off)
    reading = read(answerer)
    singly = one_by_one(answerer, reading)
    together = reply(answerer, reading, QUESTIONS, 12)
    assert [each.text for each in together] == [each.text for each in singly]
    # What names nothing is no evidence for a user, and a mistake here.
    listed = reading.prefix().listed
    named = [tuple(i for i in each.cited if 1 <= i <= listed) for each in together]
    assert named == [each.cited for each in singly]


def test_a_citation_of_nothing_is_kept(make_answerer, monkeypatch):
    answerer = make_answerer()
    ids = answerer.model.text.tokenizer("The car [1][40] is red.").input_ids
    monkeypatch.setattr(answering, "_greedy", lambda *arguments: [ids])
    [replied] = reply(answerer, read(answerer), ["?"], 12)
    assert replied.cited == (1, 40)


def test_they_are_the_same_where_nothing_is_trained(tiny):
    answerer = MrMllmAnswerer(MrMllm(prompt_only(tiny), tiny), tiny, PromptSettings())
    reading = read(answerer)
    texts = [each.text for each in one_by_one(answerer, reading)]
    assert [each.text for each in reply(answerer, reading, QUESTIONS, 12)] == texts


def test_one_that_ends_early_does_not_end_the_others(make_answerer, monkeypatch):
    answerer = make_answerer()
    reading = read(answerer)
    full = reply(answerer, reading, QUESTIONS, 12)
    tokenizer = answerer.model.text.tokenizer
    first = tokenizer(full[0].text, add_special_tokens=False)["input_ids"]
    configuration = answerer.model.language_model.generation_config
    monkeypatch.setattr(configuration, "eos_token_id", [first[3], 2])
    ended = reply(answerer, reading, QUESTIONS, 12)
    assert [each.text for each in ended] == [each.text for each in one_by_one(answerer, reading)]
    assert len(ended[0].text) < len(full[0].text)


def test_the_reading_is_left_as_it_is(make_answerer):
    answerer = make_answerer()
    reading = read(answerer)
    before = copy.deepcopy(reading.prefix().cache)
    reply(answerer, reading, QUESTIONS, 6)
    assert reading.prefix().cache.get_seq_length() == before.get_seq_length()
    for layer, copied in zip(reading.prefix().cache.layers, before.layers, strict=True):
        assert torch.equal(layer.keys, copied.keys)


def test_no_questions_have_no_answers(make_answerer):
    answerer = make_answerer()
    assert reply(answerer, read(answerer), ()) == []
