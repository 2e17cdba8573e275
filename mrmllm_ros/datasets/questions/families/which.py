# SPDX-License-Identifier: Apache-2.0
"""Selection of one of several objects of a label."""

from __future__ import annotations

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import cite, on_side
from mrmllm_ros.datasets.questions.phrases import (
    color_fields,
    fields_of,
    has_color,
    picked,
    the,
)
from mrmllm_ros.datasets.questions.scene_draw import Form, SceneDraw, ahead
from mrmllm_ros.datasets.questions.vocabulary import is_person


def _which_color(draw: SceneDraw) -> tuple[str, str, Truth]:
    label, ids = draw.several()
    i, color = draw.pick([found for found in draw.only_ones(draw.color) if found[0] in ids])
    name = "which_wears" if is_person(label) else "which_color"
    return (
        draw.phrase(name, color_fields(draw, label, color)),
        f"The {label} {cite([i])} {has_color(draw, i, color)}.",
        picked(i),
    )


def _which_side(draw: SceneDraw) -> tuple[str, str, Truth]:
    label, ids = draw.several()
    i, side = draw.pick([found for found in draw.only_ones(draw.side) if found[0] in ids])
    return (
        draw.phrase("which_side", fields_of(draw.called(label), on_side=on_side(side))),
        f"The {label} {cite([i])} is {on_side(side)}.",
        picked(i),
    )


def _which_biggest(draw: SceneDraw) -> tuple[str, str, Truth]:
    label, ids = draw.several()
    i = ahead(draw.areas, ids)
    answer = f"The biggest is {the(draw, i)}."
    return draw.phrase("which_biggest", fields_of(draw.called(label))), answer, picked(i)


FORMS: tuple[Form, ...] = (_which_color, _which_side, _which_biggest)
