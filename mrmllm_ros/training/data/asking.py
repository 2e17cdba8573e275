# SPDX-License-Identifier: Apache-2.0
"""Training questions about what was perceived in real images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mrmllm_ros.training.data.example import Example
from mrmllm_ros.training.data.questions import Scene, ask


def with_questions(
    example: Example, rng: np.random.Generator, *, vocabulary: Sequence[str], count: int = 8
) -> Example:
    """The example with training questions about its reported objects.

    Args:
        example: What is asked about; its own questions are left out.
        rng: Chooses them.
        vocabulary: Names that may be asked for, there or not.
        count: Most questions.
    """
    reported = example.perception.detections
    scene = Scene(
        labels=reported.labels,
        boxes=(reported.xyxy / np.tile(reported.resolution_wh, 2)).clip(0, 1),
        attributes=example.attributes[: len(reported)],
    )
    questions = ask(scene, rng, count, "train", vocabulary, example.missed)
    return replace(example, questions=questions)
