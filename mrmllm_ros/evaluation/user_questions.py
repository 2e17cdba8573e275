# SPDX-License-Identifier: Apache-2.0
"""Answers to a user's own questions about their own images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.datasets.data_errors import DataError, Skipped
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.datasets.question_files import (
    QuestionRecord,
    question_examples,
    read_questions,
)
from mrmllm_ros.evaluation.ablations import ANSWER_VARIANTS
from mrmllm_ros.evaluation.accuracy import accuracy_on
from mrmllm_ros.evaluation.suite_result import Progress, Suite, SuiteResult
from mrmllm_ros.model.backbones import Backbones


def read_scorable(
    file: Path, progress: Progress, skipped: Skipped | None = None
) -> list[QuestionRecord]:
    """Read the questions of a file that say what a right answer is.

    Args:
        file: See `data.question_files`.
        progress: Called with how many questions cannot be measured, if any.
        skipped: Gets the questions about images that are not there.

    Raises:
        DataError: If it is missing, a line is wrong, or no question says what a right answer is.
    """
    asked = read_questions(file, skipped)
    judged = [item for item in asked if item.truth.is_scorable]
    if not judged:
        raise DataError(
            f'no question in {file} has a "truth" to measure answers by, such as '
            '{"polarity": true} or {"number": 2}'
        )
    if without := len(asked) - len(judged):
        progress(f'{file}: {without} of {len(asked)} questions left out, without a "truth"')
    return judged


class QuestionFileSuite(Suite):
    """Accuracy by the families that the file names."""

    name = "questions"
    title = "your own questions about your own images"
    variants = ANSWER_VARIANTS

    def __init__(
        self,
        asked: Sequence[QuestionRecord],
        backbones: Backbones,
        progress: Progress,
        skipped: Skipped | None = None,
    ) -> None:
        """Prepare; no image is read yet.

        Args:
            asked: The questions; see `read_scorable`.
            backbones: Perceive the images.
            progress: Called with what is left out.
            skipped: Gets the questions about images that cannot be used, beside those that
                `read_scorable` has skipped.
        """
        self._asked = asked
        self._skipped = skipped
        self._backbones = backbones
        self._progress = progress

    def run(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.run`.

        Raises:
            DataError: As `question_examples`, or if it leaves out every question.
        """
        return accuracy_on(answerer, self._examples, progress)

    @cached_property
    def _examples(self) -> Sequence[Example]:
        examples = list(
            question_examples(
                self._asked,
                self._backbones.detector,
                self._backbones.visual_encoder,
                # Questions about one image stand or fall together.
                max_questions=sys.maxsize,
                progress=self._progress,
                skipped=self._skipped,
            )
        )
        if not examples:
            raise DataError("no question is left that could be measured")
        return examples
