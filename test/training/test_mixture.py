# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch

from mrmllm_ros.datasets.questions.question_sampler import with_questions
from mrmllm_ros.datasets.synthetic import synthetic_example
from mrmllm_ros.training.mixture import Batches, Source, dropped_switches, repeat
from mrmllm_ros.training.training_settings import DropSettings


@dataclass(frozen=True)
class Item:
    """Stands in for an example: which source was asked for which number."""

    source: str
    number: int
    questions: tuple = ("?",)


def source_of(name, share=1.0, **choices):
    return Source(share, lambda number: Item(name, number), **choices)


def numbers(process=0, seed=0, sources=None, look=0):
    """Batches that are lists of such items, and whether the prompt is written."""
    return Batches(
        sources or {"a": source_of("a", 3.0), "b": source_of("b")},
        lambda examples, with_prompt=True: (examples, with_prompt),
        DropSettings(perception_prompt=0.5),
        batch_size=4,
        perception_batch_size=look,
        seed=seed,
        process=process,
    )


def test_a_step_gets_the_same_batch_whenever_it_is_asked_for():
    batches = numbers()
    assert batches[7] == batches[7] == numbers()[7]
    assert batches[7] != batches[8]
    assert batches[7] != numbers(seed=1)[7]


def test_processes_get_other_examples_of_the_same_source():
    for step in range(20):
        (first, _), _ = numbers(process=0)[step]
        (second, _), _ = numbers(process=1)[step]
        assert {item.source for item in first} == {item.source for item in second}
        assert first != second


def test_shares_are_those_of_the_steps_and_a_batch_has_one_source():
    batches = numbers()
    kinds = [{item.source for item in batches[step][0][0]} for step in range(400)]
    assert all(len(kind) == 1 for kind in kinds)
    assert 0.65 < sum(kind == {"a"} for kind in kinds) / 400 < 0.85


def test_the_prompt_is_left_out_when_it_is_dropped():
    batches = numbers()
    drop = DropSettings(perception_prompt=0.5)
    for step in range(20):
        _, with_prompt = batches[step][0]
        assert with_prompt == ("perception_prompt" not in dropped_switches(drop, 0, step))


def test_only_what_has_targets_is_looked_at():
    sources = {
        "made up": source_of("made up", 3.0, has_targets=False),
        "real": source_of("real"),
    }
    for step in range(10):
        _, (looked_at, with_prompt) = numbers(sources=sources, look=6)[step]
        assert [item.source for item in looked_at] == ["real"] * 6
        assert not any(item.questions for item in looked_at)
        assert with_prompt
    assert numbers(sources=sources)[0][1] is None
    assert numbers(sources={"made up": sources["made up"]}, look=6)[0][1] is None


@pytest.mark.parametrize("name", ["query_fusion", "prefix_tokens", "perception_prompt"])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_each_mechanism_is_dropped_as_often_as_is_asked(name, share):
    drop = replace(DropSettings(0.0, 0.0, 0.0), **{name: share})
    dropped = [dropped_switches(drop, 0, step) for step in range(600)]
    assert abs(dropped.count([name]) / 600 - share) < 0.07
    assert dropped.count([name]) + dropped.count([]) == 600


def test_prompt_and_query_tokens_are_never_dropped_together():
    drop = DropSettings(0.5, 0.5, 0.5)
    dropped = [set(dropped_switches(drop, 0, step)) for step in range(100)]
    assert {"query_fusion", "perception_prompt"} in dropped
    assert not any({"prefix_tokens", "perception_prompt"} <= names for names in dropped)


def test_a_list_is_gone_through_at_random_again_and_again():
    example = repeat(["x", "y", "z"])
    assert {example(n) for n in range(40)} == {"x", "y", "z"}
    assert example(5) == example(5)


def test_questions_are_asked_anew_each_time():
    made = synthetic_example(3, "train", 2)

    example = repeat([made], partial(with_questions, vocabulary=["dog", "cat"], count=4))
    assert example(1).questions != example(2).questions
    assert example(1).questions == example(1).questions
    assert replace(example(1), questions=made.questions).perception is made.perception


def test_the_generators_of_read_and_looked_at_examples_differ():
    batches = numbers(look=4)
    (read, _), (looked_at, _) = batches[3]
    assert [item.number for item in read] != [item.number for item in looked_at]


def test_real_batches_hold_tensors(make_batches):
    from mrmllm_ros.training.training_settings import TrainingSettings

    _, _, batches = make_batches(TrainingSettings(batch_size=2))
    read, looked_at = batches[0]
    assert looked_at is None
    assert len(read.texts.ids) == 2
    assert read.next_ids.dtype == torch.int64
    assert np.isfinite(read.frames.objects.scores.numpy()).all()
