# SPDX-License-Identifier: Apache-2.0
"""How many answers are right, over all questions and by family."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.evaluation.scoring import is_right
from mrmllm_ros.evaluation.statistics import Ratio, Statistic
from mrmllm_ros.evaluation.suite_result import (
    AnsweredQuestion,
    Progress,
    SuiteResult,
    answer_all,
    per_scene,
)


def accuracy_on(
    answerer: MrMllmAnswerer, examples: Sequence[Example], progress: Progress
) -> SuiteResult:
    """Ask all questions about images, and judge the answers by family, in alphabetical order.

    Args:
        answerer: The model.
        examples: The images.
        progress: Called with a line now and then.
    """
    answered = answer_all(answerer, examples, progress)
    families = sorted({each.item.family for each in answered})
    return SuiteResult(len(examples), accuracies(answered, len(examples), families))


def accuracies(
    answered: Sequence[AnsweredQuestion], scenes: int, families: Iterable[str]
) -> dict[str, Statistic]:
    """Accuracy over all questions, and over those of each family that was asked.

    Args:
        answered: The answers.
        scenes: Number of scenes.
        families: In the order in which they are told.
    """
    statistics: dict[str, Statistic] = {"accuracy": share_right(answered, scenes)}
    for family in families:
        of_family = [each for each in answered if each.item.family == family]
        if of_family:
            statistics[f"accuracy, {family}"] = share_right(of_family, scenes)
    return statistics


def share_right(answered: Sequence[AnsweredQuestion], scenes: int) -> Ratio:
    """Share of the answers that are right."""
    return Ratio(
        _sum(answered, scenes, lambda a: is_right(a.text, a.item.truth, a.cited)),
        _sum(answered, scenes, lambda a: 1),
    )


def _sum(
    answered: Sequence[AnsweredQuestion], scenes: int, value: Callable[[AnsweredQuestion], float]
) -> np.ndarray:
    return per_scene([a.scene for a in answered], [value(a) for a in answered], scenes)
