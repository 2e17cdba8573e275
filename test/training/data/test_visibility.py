# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.training.data.damage import DAMAGES
from mrmllm_ros.training.data.visibility import CLEAR, LOOKS, ask_about_visibility, visibility
from mrmllm_ros.training.evaluation.scoring import is_right


def ask(look, seed=0, split="train"):
    return ask_about_visibility(look, np.random.default_rng(seed), split)


def test_every_damage_has_a_look_of_its_own_or_shares_one():
    assert set(LOOKS) == set(DAMAGES)
    assert CLEAR not in LOOKS.values()


@pytest.mark.parametrize(
    ("kind", "strength", "look"),
    [("", 0, "clear"), ("fog", 1, ""), ("fog", 2, "foggy"), ("scaling", 3, "blurred")],
)
def test_mild_damage_is_hard_to_say_anything_of(kind, strength, look):
    assert visibility(kind, strength) == look


def test_nothing_is_asked_about_an_image_of_which_nothing_is_known():
    assert ask("") == ()


@pytest.mark.parametrize("look", [CLEAR, *sorted({*LOOKS.values()})])
@pytest.mark.parametrize("split", ["train", "evaluation"])
def test_answers_are_right_by_their_own_truth_and_cite_nothing(look, split):
    for seed in range(20):
        for item in ask(look, seed, split):
            assert is_right(item.answer, item.truth, ())
            assert item.answer.startswith(f"The picture is {look}")
            assert item.truth.cited == frozenset()


def test_another_look_is_wrong():
    what, is_clear, _ = ask("foggy")
    assert not is_right("The picture is dark.", what.truth, ())
    assert not is_right("The picture is clear, so yes.", is_clear.truth, ())


def test_of_damaged_images_about_half_look_as_they_are_asked_about():
    share = np.mean([ask("dark", seed)[2].truth.polarity for seed in range(200)])
    assert 0.4 < share < 0.6
    assert not any(ask(CLEAR, seed)[2].truth.polarity for seed in range(50))


def test_the_same_generator_gives_the_same_questions():
    assert ask("dark", 3) == ask("dark", 3)
    assert {ask("dark", seed)[0].question for seed in range(30)} > {ask("dark", 3)[0].question}
