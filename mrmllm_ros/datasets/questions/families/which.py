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
from mrmllm_ros.datasets.questions.scene_sampler import Form, SceneSampler, ahead
from mrmllm_ros.datasets.questions.vocabulary import is_person


def _which_color(sampler: SceneSampler) -> tuple[str, str, Truth]:
    label, ids = sampler.several()
    i, color = sampler.pick(
        [found for found in sampler.only_ones(sampler.color) if found[0] in ids]
    )
    name = "which_wears" if is_person(label) else "which_color"
    return (
        sampler.phrase(name, color_fields(sampler, label, color)),
        f"The {label} {cite([i])} {has_color(sampler, i, color)}.",
        picked(i),
    )


def _which_side(sampler: SceneSampler) -> tuple[str, str, Truth]:
    label, ids = sampler.several()
    i, side = sampler.pick([found for found in sampler.only_ones(sampler.side) if found[0] in ids])
    return (
        sampler.phrase("which_side", fields_of(sampler.called(label), on_side=on_side(side))),
        f"The {label} {cite([i])} is {on_side(side)}.",
        picked(i),
    )


def _which_biggest(sampler: SceneSampler) -> tuple[str, str, Truth]:
    label, ids = sampler.several()
    i = ahead(sampler.areas, ids)
    answer = f"The biggest is {the(sampler, i)}."
    return sampler.phrase("which_biggest", fields_of(sampler.called(label))), answer, picked(i)


FORMS: tuple[Form, ...] = (_which_color, _which_side, _which_biggest)
