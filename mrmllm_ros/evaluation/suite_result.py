# SPDX-License-Identifier: Apache-2.0
"""What a suite finds out about one variant of a model, and how a suite is run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.datasets.example import Example, QuestionAnswer
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.evaluation.answer_runs import Reply, reply
from mrmllm_ros.evaluation.frames import read
from mrmllm_ros.evaluation.statistics import Statistic

Progress = Callable[[str], None]

_SCENES_A_LINE = 20


class EvaluationError(MrmllmError):
    """An evaluation cannot be run; the message says what is missing."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """The figures of one variant.

    Attributes:
        scenes: Number C of scenes, images or frames.
        statistics: Figures over them, by name.
    """

    scenes: int
    statistics: Mapping[str, Statistic]


class Suite(ABC):
    """A set of scenes, and what is asked of a model about them.

    Attributes:
        name: What users call it.
        title: What it measures, in words.
        variants: Those that can make a difference.
    """

    name: str
    title: str
    variants: Sequence[str]

    @abstractmethod
    def run(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> Outcome:
        """Examine a variant.

        Args:
            answerer: That of the variant.
            variant: Its name.
            progress: Called with a line now and then.
        """


@dataclass(frozen=True, eq=False)
class Answered:
    """A question about a scene and what the model said.

    Attributes:
        scene: Index of the scene.
        item: The question.
        reply: The answer.
    """

    scene: int
    item: QuestionAnswer
    reply: Reply


def answer_all(
    answerer: MrMllmAnswerer, examples: Sequence[Example], progress: Progress
) -> list[Answered]:
    """Ask all questions about scenes.

    Args:
        answerer: The model.
        examples: The scenes.
        progress: Called with a line now and then.
    """
    answered: list[Answered] = []
    readings = read(answerer, examples)
    for scene, (example, reading) in enumerate(zip(examples, readings, strict=True)):
        replies = reply(answerer, reading, [item.question for item in example.questions])
        answered += [
            Answered(scene, item, said)
            for item, said in zip(example.questions, replies, strict=True)
        ]
        if (scene + 1) % _SCENES_A_LINE == 0 or scene + 1 == len(examples):
            progress(f"{scene + 1} of {len(examples)} scenes")
    return answered


def per_scene(scenes: Sequence[int], values: Sequence[float], count: int) -> np.ndarray:
    """Sum values by scene.

    Args:
        scenes: Index of the scene of each value.
        values: As many values.
        count: Number C of scenes.

    Returns:
        (C,) float64.
    """
    return np.bincount(
        np.asarray(scenes, np.int64), np.asarray(values, np.float64), minlength=count
    )
