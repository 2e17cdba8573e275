# SPDX-License-Identifier: Apache-2.0
"""Sample questions about listed objects, with answers that cite them.

Without an annotation of the scene, every answer follows from the list alone, so that a model does
not learn to state what it cannot know; only questions may presuppose more ("the old car"). Answers
have few, fixed forms, which small language models learn best.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mrmllm_ros.datasets.example import Example, QuestionAnswer
from mrmllm_ros.datasets.questions.families import ALL_FAMILIES, FAMILIES
from mrmllm_ros.datasets.questions.scene import Scene
from mrmllm_ros.datasets.questions.scene_sampler import NothingToAskError, SceneSampler
from mrmllm_ros.datasets.questions.templates import british
from mrmllm_ros.datasets.questions.vocabulary import Split
from mrmllm_ros.model import prompt

# Share of questions in British spelling; answers are in American spelling.
_BRITISH_SHARE = 0.3
# Attempts to find another question of a family before the family is exhausted.
_ATTEMPTS = 6


def ask(
    scene: Scene,
    rng: np.random.Generator,
    count: int,
    split: Split,
    vocabulary: Sequence[str],
    missed: Collection[str] = (),
    shares: Mapping[str, float] | None = None,
) -> tuple[QuestionAnswer, ...]:
    """Sample questions about a scene, evenly over the families that the scene allows.

    Training asks some families more often (`Family.extra`).

    Args:
        scene: Listed objects.
        rng: Source of randomness.
        count: Maximum number of questions; a scene may allow fewer.
        split: Split of the templates.
        vocabulary: Labels of absent objects.
        missed: Labels of objects that may be present without being listed; no answer denies these
            objects, their place or their color. Those of the scene's annotation and of doubtful
            objects are added.
        shares: Share of the questions of each family that is asked on request, 0 to 1.

    Returns:
        Distinct questions: those on request, then the others in random order of families.
    """
    unlisted = () if scene.annotation is None else scene.annotation.unlisted
    unseen = frozenset(missed).union(x.label for x in unlisted).union(scene.doubtful.values())
    sampler = SceneSampler(scene, rng, split, tuple(vocabulary), unseen)
    sampled: dict[str, QuestionAnswer] = {}
    for family, share in (shares or {}).items():
        wanted = int(rng.binomial(count, share)) if share else 0
        while wanted and len(sampled) < count and (new := _another(sampler, family, sampled)):
            sampled[_key(new)] = new
            wanted -= 1
    families = [str(family) for family in rng.permutation(_round(scene, split))]
    while families and len(sampled) < count:
        for family in tuple(families):
            if len(sampled) == count:
                break
            new = _another(sampler, family, sampled)
            if new is None:
                families.remove(family)
            else:
                sampled[_key(new)] = new
    return tuple(sampled.values())


def _round(scene: Scene, split: Split) -> tuple[str, ...]:
    """Families that are asked in turn, some of them several times."""
    annotated = scene.annotation is not None
    asked = [
        name
        for name, family in ALL_FAMILIES.items()
        if name in FAMILIES or (annotated and family.asked == "annotation")
    ]
    extra = [name for name in asked for _ in range(ALL_FAMILIES[name].extra)]
    return (*asked, *extra) if split == "train" else tuple(asked)


def with_questions(
    example: Example,
    rng: np.random.Generator,
    *,
    vocabulary: Sequence[str],
    count: int = 8,
    shares: Mapping[str, float] | None = None,
) -> Example:
    """Replace the questions of an example by new training questions about its scene.

    Without a scene they are about the reported and doubtful objects.

    Args:
        example: The example.
        rng: Source of randomness.
        vocabulary: Labels of absent objects.
        count: Maximum number of questions.
        shares: Share of the questions of each family that is asked on request.
    """
    scene = example.scene
    if scene is None:
        scene = Scene.of_perception(example.perception, example.attributes)
    questions = ask(scene, rng, count, "train", vocabulary, example.missed, shares)
    return replace(example, questions=questions)


def _another(
    sampler: SceneSampler, family: str, sampled: Mapping[str, QuestionAnswer]
) -> QuestionAnswer | None:
    """Sample a new question of a family; None if the family is exhausted or does not fit."""
    for _ in range(_ATTEMPTS):
        form = sampler.pick(ALL_FAMILIES[family].forms)
        try:
            question, answer, truth = form(sampler)
        except NothingToAskError:
            continue
        if sampler.chance(_BRITISH_SHARE):
            question = british(question)
        new = QuestionAnswer(question=question, answer=answer, family=family, truth=truth)
        if _key(new) not in sampled:
            return new
    return None


def _key(item: QuestionAnswer) -> str:
    # An empty question and `prompt.DESCRIBE` are the same prompt.
    return (item.question or prompt.DESCRIBE).lower().rstrip("?.")
