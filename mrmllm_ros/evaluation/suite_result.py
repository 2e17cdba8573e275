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
from mrmllm_ros.evaluation.answer_runs import answer_questions
from mrmllm_ros.evaluation.frames import encode_examples
from mrmllm_ros.evaluation.statistics import Statistic
from mrmllm_ros.model.prompt import cited_ids

Progress = Callable[[str], None]

_SCENES_A_LINE = 20


class EvaluationError(MrmllmError):
    """An evaluation cannot be run; the message says what is missing."""


@dataclass(frozen=True, eq=False)
class SuiteResult:
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
    def run(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """Examine a variant.

        Args:
            answerer: That of the variant.
            variant: Its name.
            progress: Called with a line now and then.
        """


@dataclass(frozen=True, eq=False)
class AnsweredQuestion:
    """A question about a scene with the model's answer.

    Attributes:
        scene: Index of the scene.
        item: The question with its truth.
        text: The model's answer.
    """

    scene: int
    item: QuestionAnswer
    text: str

    @property
    def cited(self) -> tuple[int, ...]:
        """Ids that the answer cites, including ids of no object."""
        return cited_ids(self.text)


def answer_all(
    answerer: MrMllmAnswerer, examples: Sequence[Example], progress: Progress
) -> list[AnsweredQuestion]:
    """Ask all questions about scenes.

    Args:
        answerer: The model.
        examples: The scenes.
        progress: Called with a line now and then.
    """
    answered: list[AnsweredQuestion] = []
    encoded_images = encode_examples(answerer, examples)
    for scene, (example, encoded) in enumerate(zip(examples, encoded_images, strict=True)):
        texts = answer_questions(answerer, encoded, [item.question for item in example.questions])
        answered += [
            AnsweredQuestion(scene, item, text)
            for item, text in zip(example.questions, texts, strict=True)
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
