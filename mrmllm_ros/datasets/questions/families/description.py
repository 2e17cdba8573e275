# SPDX-License-Identifier: Apache-2.0
"""Descriptions of the scene."""

from __future__ import annotations

from functools import partial

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.families.listing import enumerated
from mrmllm_ros.datasets.questions.grammar import on_side, seen
from mrmllm_ros.datasets.questions.scene_draw import Form, SceneDraw


def _description(draw: SceneDraw) -> tuple[str, str, Truth]:
    # What a robot is asked most: nothing at all.
    # It is in words of training, which evaluation does not use.
    nothing = draw.split == "train" and draw.chance(0.25)
    question = "" if nothing else draw.phrase("description")
    return question, *enumerated(draw, partial(_described, draw))


def _described(draw: SceneDraw, label: str, ids: tuple[int, ...]) -> str:
    if len(ids) > 1:
        return seen(label, ids)
    return f"{seen(label, ids)} {on_side(draw.side(ids[0]))}"


FORMS: tuple[Form, ...] = (_description,)
# Training asks these more often: a small language model learns them last.
EXTRA = 1
