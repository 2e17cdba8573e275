# SPDX-License-Identifier: Apache-2.0
"""Questions about listed objects, with answers that cite them.

Every answer follows from the list alone, except for what a question takes for granted ("the old
car"), so that no answer teaches a model to say what it cannot know. The forms of the answers are
few and fixed, which a small language model learns best.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mrmllm_ros.datasets.example import Example, QuestionAnswer
from mrmllm_ros.datasets.questions.families import FAMILIES
from mrmllm_ros.datasets.questions.scene_sampler import NothingToAskError, Scene, SceneSampler
from mrmllm_ros.datasets.questions.templates import british
from mrmllm_ros.datasets.questions.vocabulary import Split
from mrmllm_ros.model import prompt

# How often a question is in British spelling; answers are in American spelling.
_BRITISH = 0.3
# Tries to find another question of a family before it counts as used up.
_TRIES = 6


def ask(
    scene: Scene,
    rng: np.random.Generator,
    count: int,
    split: Split,
    vocabulary: Sequence[str],
    missed: Collection[str] = (),
) -> tuple[QuestionAnswer, ...]:
    """Draw questions about a scene, about as many of each family as the scene allows.

    Training asks some families more often (`Family.extra`).

    Args:
        scene: The objects.
        rng: Source of randomness.
        count: Most questions; there are fewer where the scene does not allow as many.
        split: Split of the templates.
        vocabulary: Labels to draw absent objects from.
        missed: Labels of objects that may be there without being listed: no answer denies them,
            nor their place or color.

    Returns:
        Distinct questions in random order of families.
    """
    sampler = SceneSampler(scene, rng, split, tuple(vocabulary), frozenset(missed))
    drawn: dict[str, QuestionAnswer] = {}
    extra = [name for name, family in FAMILIES.items() for _ in range(family.extra)]
    wanted = (*FAMILIES, *extra) if split == "train" else tuple(FAMILIES)
    families = [str(family) for family in rng.permutation(wanted)]
    while families and len(drawn) < count:
        for family in tuple(families):
            if len(drawn) == count:
                break
            new = _another(sampler, family, drawn)
            if new is None:
                families.remove(family)
            else:
                drawn[_key(new)] = new
    return tuple(drawn.values())


def with_questions(
    example: Example, rng: np.random.Generator, *, vocabulary: Sequence[str], count: int = 8
) -> Example:
    """Draw training questions about the reported objects of an example.

    Args:
        example: The example; its own questions are replaced.
        rng: Source of randomness.
        vocabulary: Labels that may be asked for, there or not.
        count: Most questions.
    """
    scene = Scene.of(example.perception.detections, example.attributes)
    questions = ask(scene, rng, count, "train", vocabulary, example.missed)
    return replace(example, questions=questions)


def _another(
    sampler: SceneSampler, family: str, drawn: Mapping[str, QuestionAnswer]
) -> QuestionAnswer | None:
    """A question of a family that has not been drawn, or None."""
    for _ in range(_TRIES):
        form = sampler.pick(FAMILIES[family].forms)
        try:
            question, answer, truth = form(sampler)
        except NothingToAskError:
            continue
        if sampler.chance(_BRITISH):
            question = british(question)
        new = QuestionAnswer(question=question, answer=answer, family=family, truth=truth)
        if _key(new) not in drawn:
            return new
    return None


def _key(item: QuestionAnswer) -> str:
    # An empty question and `prompt.DESCRIBE` are the same prompt.
    return (item.question or prompt.DESCRIBE).lower().rstrip("?.")
