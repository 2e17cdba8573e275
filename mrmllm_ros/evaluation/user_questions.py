# SPDX-License-Identifier: Apache-2.0
"""Suite of a user's questions about their images."""

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
from mrmllm_ros.evaluation.suite_result import Progress, Suite, SuiteResult, evaluate_accuracy
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.label_fusion import LabelFusion


def read_scorable(
    file: Path, progress: Progress, skipped: Skipped | None = None
) -> list[QuestionRecord]:
    """Read the questions of a file that have a truth to score answers by.

    Args:
        file: See `datasets.question_files`.
        progress: Called with the number of questions without a truth, if any.
        skipped: Collects questions about missing images.

    Raises:
        DataError: If the file is missing, a line is wrong, or no question has a truth.
    """
    records = read_questions(file, skipped)
    scorable = [item for item in records if item.truth.is_scorable]
    if not scorable:
        raise DataError(
            f'no question in {file} has a "truth" to score answers by, such as '
            '{"polarity": true} or {"number": 2}'
        )
    if without := len(records) - len(scorable):
        progress(f'{file}: skipped {without} of {len(records)} questions without a "truth"')
    return scorable


class QuestionFileSuite(Suite):
    """Accuracy by the families in the file."""

    name = "questions"
    title = "answers to your questions about your images"
    variants = ANSWER_VARIANTS

    def __init__(
        self,
        records: Sequence[QuestionRecord],
        backbones: Backbones,
        progress: Progress,
        skipped: Skipped | None = None,
        label_fusion: LabelFusion | None = None,
    ) -> None:
        """Create the suite; images are read on first use.

        Args:
            records: Questions from `read_scorable`.
            backbones: Detector and visual encoder of the images.
            progress: Called with a line for each skipped question.
            skipped: Collects questions about unusable images, beside those that `read_scorable`
                has skipped.
            label_fusion: Names the regions of candidates; None for no names.
        """
        self._records = records
        self._label_fusion = label_fusion
        self._skipped = skipped
        self._backbones = backbones
        self._progress = progress

    def evaluate(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.evaluate`.

        Raises:
            DataError: See `question_examples`; also if all questions are skipped.
        """
        return evaluate_accuracy(answerer, self._examples, progress)

    @cached_property
    def _examples(self) -> Sequence[Example]:
        examples = list(
            question_examples(
                self._records,
                self._backbones.detector,
                self._backbones.visual_encoder,
                # One example for each image: intervals are by bootstrap over images.
                max_questions=sys.maxsize,
                progress=self._progress,
                skipped=self._skipped,
                label_fusion=self._label_fusion,
            )
        )
        if not examples:
            raise DataError(
                "no question is left to score: all were skipped; correct the reported lines"
            )
        return examples
