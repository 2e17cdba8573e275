# SPDX-License-Identifier: Apache-2.0
"""Questions about made-up scenes whose kinds, names and wordings training never shows."""

from __future__ import annotations

from collections.abc import Sequence

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.datasets.questions.families import FAMILIES
from mrmllm_ros.datasets.synthetic import synthetic_example
from mrmllm_ros.evaluation.ablations import ANSWER_VARIANTS
from mrmllm_ros.evaluation.accuracy import accuracies
from mrmllm_ros.evaluation.suite_result import (
    AnsweredQuestion,
    Progress,
    Suite,
    SuiteResult,
    answer_all,
)

SCENES, QUESTIONS = 100, 12


class SyntheticScenes:
    """The scenes, and the answers of each variant, which several suites look at.

    Attributes:
        examples: The scenes with their questions.
    """

    def __init__(self, scenes: int = SCENES, questions: int = QUESTIONS) -> None:
        """Make up the scenes; the same for the same numbers.

        Args:
            scenes: How many.
            questions: Most questions about each.
        """
        self.examples: tuple[Example, ...] = tuple(
            synthetic_example(seed, "evaluation", questions) for seed in range(scenes)
        )
        self._answers: dict[str, list[AnsweredQuestion]] = {}

    def answers(
        self, answerer: MrMllmAnswerer, variant: str, progress: Progress
    ) -> Sequence[AnsweredQuestion]:
        """The answers of a variant, asked for once."""
        if variant not in self._answers:
            self._answers[variant] = answer_all(answerer, self.examples, progress)
        return self._answers[variant]


class SyntheticSuite(Suite):
    """Accuracy by family of question."""

    name = "synthetic"
    title = "answers to questions about made-up scenes, held-out wordings, names and scenes"
    variants = ANSWER_VARIANTS

    def __init__(self, scenes: SyntheticScenes) -> None:
        self._scenes = scenes

    def run(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.run`."""
        answered = self._scenes.answers(answerer, variant, progress)
        count = len(self._scenes.examples)
        return SuiteResult(count, accuracies(answered, count, FAMILIES))
