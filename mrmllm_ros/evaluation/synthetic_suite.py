# SPDX-License-Identifier: Apache-2.0
"""Suites about synthetic scenes with kinds, nouns and templates that training never uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.datasets.questions.families import FAMILIES
from mrmllm_ros.datasets.synthetic import synthetic_example
from mrmllm_ros.evaluation.ablations import ANSWER_VARIANTS
from mrmllm_ros.evaluation.scoring import citation_counts
from mrmllm_ros.evaluation.statistics import Ratio, Statistic
from mrmllm_ros.evaluation.suite_result import (
    AnsweredQuestion,
    Progress,
    Suite,
    SuiteResult,
    accuracies,
    answer_all,
    per_scene,
)

SCENES, QUESTIONS = 100, 12


class SyntheticScenes:
    """Synthetic scenes, and the answers of each variant, shared by suites.

    Attributes:
        examples: Scenes with questions.
    """

    def __init__(
        self, scenes: int = SCENES, questions: int = QUESTIONS, *, doubtful: bool = False
    ) -> None:
        """Generate the scenes; the same for the same arguments.

        Args:
            scenes: Number of scenes.
            questions: Maximum number of questions about a scene.
            doubtful: See `synthetic_example`.
        """
        self.examples: tuple[Example, ...] = tuple(
            synthetic_example(seed, "evaluation", questions, doubtful=doubtful)
            for seed in range(scenes)
        )
        self._answers: dict[str, list[AnsweredQuestion]] = {}

    def answers(
        self, answerer: MrMllmAnswerer, variant: str, progress: Progress
    ) -> Sequence[AnsweredQuestion]:
        """Answers of a variant, computed once."""
        if variant not in self._answers:
            self._answers[variant] = answer_all(answerer, self.examples, progress)
        return self._answers[variant]


class SyntheticSuite(Suite):
    """Accuracy by question family."""

    name = "synthetic"
    title = "answers about synthetic scenes, with held-out templates, nouns and kinds of scenes"
    variants = ANSWER_VARIANTS

    def __init__(self, scenes: SyntheticScenes) -> None:
        self._scenes = scenes

    def evaluate(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.evaluate`."""
        answered = self._scenes.answers(answerer, variant, progress)
        count = len(self._scenes.examples)
        return SuiteResult(count, self._statistics(answered, count))

    def _statistics(
        self, answered: Sequence[AnsweredQuestion], scenes: int
    ) -> dict[str, Statistic]:
        return accuracies(answered, scenes, FAMILIES)


class GroundingSuite(SyntheticSuite):
    """Precision and recall of the citations in the answers of the synthetic suite."""

    name = "grounding"
    title = "citations in the answers of the synthetic suite"
    headline: ClassVar[Mapping[str, str]] = {
        "precision": "precision",
        "recall": "recall",
        "f1": "F1",
    }

    def _statistics(
        self, answered: Sequence[AnsweredQuestion], scenes: int
    ) -> dict[str, Statistic]:
        return citation_statistics(answered, scenes)


def citation_statistics(answered: Sequence[AnsweredQuestion], scenes: int) -> dict[str, Statistic]:
    """Precision, recall and F1 of citations; see `scoring.citation_counts`."""
    counts = np.array(
        [citation_counts(a.cited, a.item.truth) for a in answered], np.float64
    ).reshape(-1, 3)
    indices = [a.scene for a in answered]
    hits, cited, expected = (per_scene(indices, column, scenes) for column in counts.T)
    return {
        "precision": Ratio(hits, cited),
        "recall": Ratio(hits, expected),
        "F1": Ratio(2 * hits, cited + expected),
    }
