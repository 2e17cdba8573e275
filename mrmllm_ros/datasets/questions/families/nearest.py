# SPDX-License-Identifier: Apache-2.0
"""Nearest and farthest objects."""

from __future__ import annotations

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import cite
from mrmllm_ros.datasets.questions.phrases import fields_of, named, picked, the
from mrmllm_ros.datasets.questions.scene_draw import Form, SceneDraw


def _nearest(draw: SceneDraw) -> tuple[str, str, Truth]:
    i = draw.nearest_of(draw.ids)
    # The number, which the prompt's order begins with, comes before the name that it leads to.
    return (
        draw.phrase("nearest"),
        f"The nearest is {cite([i])}, the {draw.label(i)}.",
        named(draw, i),
    )


def _nearest_of(draw: SceneDraw) -> tuple[str, str, Truth]:
    label, ids = draw.several()
    i = draw.nearest_of(ids)
    answer = f"The nearest is {the(draw, i)}."
    return draw.phrase("nearest_of", fields_of(draw.called(label))), answer, picked(i)


def _farthest(draw: SceneDraw) -> tuple[str, str, Truth]:
    i = draw.nearest_of(draw.ids, farthest=True)
    answer = f"The farthest is {cite([i])}, the {draw.label(i)}."
    return draw.phrase("farthest"), answer, named(draw, i)


FORMS: tuple[Form, ...] = (_nearest, _nearest, _nearest_of, _nearest_of, _farthest)
# Training asks these more often: a small language model learns them last.
EXTRA = 1
