# SPDX-License-Identifier: Apache-2.0
"""Answers to a user's own questions about their own images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.training.data.errors import DataError
from mrmllm_ros.training.data.example import Example
from mrmllm_ros.training.data.question_files import question_examples, read_questions
from mrmllm_ros.training.evaluation.accuracy import accuracy_on
from mrmllm_ros.training.evaluation.outcome import Outcome, Progress, Suite
from mrmllm_ros.training.evaluation.variants import OF_ANSWERS


def require_truths(file: Path, progress: Progress) -> None:
    """Check that a file can be used, before models are loaded.

    Args:
        file: See `data.question_files`.
        progress: Called with how many questions cannot be measured, if any.

    Raises:
        DataError: If it is missing, a line is wrong, or no question says what a right answer is.
    """
    asked = read_questions(file)
    without = sum(not item.truth.is_judged for item in asked)
    if without == len(asked):
        raise DataError(
            f'no question in {file} has a "truth" to measure answers by, such as '
            '{"polarity": true} or {"number": 2}'
        )
    if without:
        progress(f'{file}: {without} of {len(asked)} questions left out, without a "truth"')


class QuestionFileSuite(Suite):
    """Accuracy by the families that the file names."""

    name = "questions"
    title = "your own questions about your own images"
    variants = OF_ANSWERS

    def __init__(self, file: Path, backbones: Backbones, progress: Progress) -> None:
        """Prepare; nothing is read yet.

        Args:
            file: See `data.question_files`.
            backbones: Perceive the images.
            progress: Called with what is left out.
        """
        self._file = file
        self._backbones = backbones
        self._progress = progress

    def run(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> Outcome:
        """See `Suite.run`.

        Raises:
            DataError: As `question_examples`.
            ImageError: If an image cannot be decoded.
        """
        return accuracy_on(answerer, self._examples, progress)

    @cached_property
    def _examples(self) -> Sequence[Example]:
        backbones = self._backbones
        examples = question_examples(
            self._file,
            backbones.detector,
            backbones.visual_encoder,
            # Questions about one image stand or fall together.
            most_questions=sys.maxsize,
            progress=self._progress,
        )
        judged = (
            replace(example, questions=tuple(q for q in example.questions if q.truth.is_judged))
            for example in examples
        )
        kept = [example for example in judged if example.questions]
        if not kept:
            raise DataError(f"of {self._file} no question is left that could be measured")
        return kept
