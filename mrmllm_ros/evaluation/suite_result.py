# SPDX-License-Identifier: Apache-2.0
"""Interface and result of an evaluation suite, and accuracy, which several suites measure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.datasets.example import Example, QuestionAnswer
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.evaluation.batched_inference import answer_questions, encode_examples, fuse_labels
from mrmllm_ros.evaluation.predicted_objects import ImageSet, PredictedObjects
from mrmllm_ros.evaluation.scoring import is_right, says_perhaps
from mrmllm_ros.evaluation.statistics import Ratio, Statistic
from mrmllm_ros.model.citations import cited_ids

Progress = Callable[[str], None]
# What a suite measures, for its summary.
Part = Literal["detections", "questions"]
SHARE_OF_PERHAPS = "share of perhaps"

_PROGRESS_STEP = 20  # scenes


class EvaluationError(MrmllmError):
    """An evaluation cannot run; the message names what is missing."""


@dataclass(frozen=True, eq=False)
class SuiteResult:
    """Statistics of one variant of a model in a suite.

    Attributes:
        scenes: Number C of scenes, images or frames.
        statistics: Statistics over the scenes, by name.
        found: Objects that the variant predicts, or None for answers.
    """

    scenes: int
    statistics: Mapping[str, Statistic]
    found: PredictedObjects | None = None


class Suite(ABC):
    """Evaluation suite: a set of scenes with a measurement.

    Attributes:
        name: Name in reports.
        title: Description of the measurement.
        variants: Variants of a model that can change the result.
        part: What the suite measures.
        headline: Names of the main statistics by their keys in a summary.
        group: Name of the set of images, whose suites share a summary; empty for the suite's name.
        images: Images of the suite, to draw detections in; None without images.
    """

    name: str
    title: str
    variants: Sequence[str]
    part: Part = "questions"
    headline: ClassVar[Mapping[str, str]] = {"accuracy": "accuracy"}
    group: str = ""
    images: ImageSet | None = None

    def controls(self, progress: Progress) -> Mapping[str, SuiteResult]:
        """Evaluate control baselines, by name; none by default.

        Args:
            progress: Called with progress lines.
        """
        return {}

    @abstractmethod
    def evaluate(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """Evaluate a variant of a model.

        Args:
            answerer: Answerer of the variant.
            variant: Name of the variant.
            progress: Called with progress lines.
        """


@dataclass(frozen=True, eq=False)
class AnsweredQuestion:
    """Question about a scene with the model's answer.

    Attributes:
        scene: Index of the scene.
        item: Question with its truth.
        text: Answer of the model.
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
    """Answer all questions about scenes.

    Args:
        answerer: The model.
        examples: Scenes with questions.
        progress: Called with progress lines.
    """
    answered: list[AnsweredQuestion] = []
    examples = fuse_labels(answerer, examples)
    encoded_images = encode_examples(answerer, examples)
    for scene, (example, encoded) in enumerate(zip(examples, encoded_images, strict=True)):
        texts = answer_questions(answerer, encoded, [item.question for item in example.questions])
        answered += [
            AnsweredQuestion(scene, item, text)
            for item, text in zip(example.questions, texts, strict=True)
        ]
        if (scene + 1) % _PROGRESS_STEP == 0 or scene + 1 == len(examples):
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


def evaluate_accuracy(
    answerer: MrMllmAnswerer, examples: Sequence[Example], progress: Progress
) -> SuiteResult:
    """Answer all questions and measure the accuracy of each family, in alphabetical order.

    Args:
        answerer: The model.
        examples: Scenes with questions.
        progress: Called with progress lines.
    """
    answered = answer_all(answerer, examples, progress)
    families = sorted({each.item.family for each in answered})
    return SuiteResult(len(examples), accuracies(answered, len(examples), families))


def accuracies(
    answered: Sequence[AnsweredQuestion], scenes: int, families: Iterable[str]
) -> dict[str, Statistic]:
    """Accuracy over all questions and over those of each family, and the share of guesses.

    Args:
        answered: The answers.
        scenes: Number of scenes.
        families: Families in the order of the result; families without questions are omitted.
    """
    statistics: dict[str, Statistic] = {"accuracy": accuracy(answered, scenes)}
    for family in families:
        of_family = [each for each in answered if each.item.family == family]
        if of_family:
            statistics[f"accuracy, {family}"] = accuracy(of_family, scenes)
    statistics[SHARE_OF_PERHAPS] = share_of_perhaps(answered, scenes)
    return statistics


def accuracy(answered: Sequence[AnsweredQuestion], scenes: int) -> Ratio:
    """Share of right answers.

    Args:
        answered: The answers.
        scenes: Number of scenes.
    """
    indices = [a.scene for a in answered]
    right = [is_right(a.text, a.item.truth, a.cited) for a in answered]
    return Ratio(per_scene(indices, right, scenes), per_scene(indices, [1] * len(right), scenes))


def share_of_perhaps(answered: Sequence[AnsweredQuestion], scenes: int) -> Ratio:
    """Share of answers that say perhaps.

    Args:
        answered: The answers.
        scenes: Number of scenes.
    """
    indices = [a.scene for a in answered]
    guessed = [says_perhaps(a.text) for a in answered]
    asked = per_scene(indices, [1] * len(guessed), scenes)
    return Ratio(per_scene(indices, guessed, scenes), asked)
