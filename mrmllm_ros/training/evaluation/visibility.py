# SPDX-License-Identifier: Apache-2.0
"""Questions about how clear an image is, which the list of objects does not answer."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from mrmllm_ros.model.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.training.data.example import Example
from mrmllm_ros.training.data.visibility import (
    CLEAR,
    LOOKS,
    ask_about_visibility,
    visibility,
)
from mrmllm_ros.training.evaluation.consistency import Condition, DamagedFrames
from mrmllm_ros.training.evaluation.layout import share_right
from mrmllm_ros.training.evaluation.outcome import Outcome, Progress, Suite, answer_all
from mrmllm_ros.training.evaluation.statistics import Mean, Statistic
from mrmllm_ros.training.evaluation.variants import OF_ANSWERS

_SEED = 11


class VisibilitySuite(Suite):
    """Accuracy by what is wrong with the image; each look counts the same in that over all."""

    name = "visibility"
    title = "questions about how clear damaged frames are, held-out wordings"
    variants = OF_ANSWERS

    def __init__(self, damaged: DamagedFrames) -> None:
        self._damaged = damaged

    @cached_property
    def _asked(self) -> Sequence[tuple[int, Example]]:
        """Indices of frames, and those frames in one condition each, with questions."""
        return [
            (index, _with_questions(example, condition, index))
            for condition, examples in self._damaged.examples.items()
            if visibility(*condition)
            for index, example in enumerate(examples)
        ]

    def run(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> Outcome:
        """See `Suite.run`."""
        examples = [example for _, example in self._asked]
        count = 1 + max(index for index, _ in self._asked)
        answered = answer_all(answerer, examples, progress)
        by_look: dict[str, Statistic] = {}
        for look in (CLEAR, *dict.fromkeys(LOOKS.values())):
            # What is drawn again is frames, in all conditions: they are the scenes.
            of_look = [
                replace(each, scene=self._asked[each.scene][0])
                for each in answered
                if examples[each.scene].look == look
            ]
            if of_look:
                by_look[f"accuracy, {look}"] = share_right(of_look, count)
        return Outcome(count, {"accuracy": Mean([*by_look.values()]), **by_look})


def _with_questions(example: Example, condition: Condition, index: int) -> Example:
    kind, strength = condition
    look = visibility(kind, strength)
    rng = np.random.default_rng((_SEED, zlib.crc32(kind.encode()), strength, index))
    return replace(example, look=look, questions=ask_about_visibility(look, rng, "evaluation"))
