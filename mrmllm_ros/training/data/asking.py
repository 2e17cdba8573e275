# SPDX-License-Identifier: Apache-2.0
"""Training questions about what was perceived in real images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from mrmllm_ros.training.data.example import Example, QuestionAnswer
from mrmllm_ros.training.data.questions import Scene, ask

Questions = Callable[[Example, np.random.Generator], tuple[QuestionAnswer, ...]]

_QUESTIONS = 8


def training_questions(vocabulary: Sequence[str], count: int = _QUESTIONS) -> Questions:
    """Make what asks training questions about the reported objects.

    Args:
        vocabulary: The detector's labels.
        count: Most questions about an image.
    """

    def questions(example: Example, rng: np.random.Generator) -> tuple[QuestionAnswer, ...]:
        reported = example.perception.detections
        shares = (reported.xyxy / np.tile(reported.resolution_wh, 2)).clip(0, 1)
        attributes = example.attributes[: len(reported)]
        scene = Scene(labels=reported.labels, boxes=shares, attributes=attributes)
        return ask(scene, rng, count, "train", vocabulary, example.present)

    return questions


def asked(asking: Questions, example: Example, rng: np.random.Generator) -> Example:
    """An example with questions, instead of those that it had.

    Args:
        asking: Asks them.
        example: What they are about.
        rng: Chooses them.
    """
    return replace(example, questions=asking(example, rng))
