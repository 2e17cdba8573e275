# SPDX-License-Identifier: Apache-2.0
"""Selection of one of several objects of a label."""

from __future__ import annotations

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import cite, on_side
from mrmllm_ros.datasets.questions.phrases import (
    citation_truth,
    color_fields,
    fields_of,
    has_color,
    the,
)
from mrmllm_ros.datasets.questions.scene_sampler import Form, SceneSampler
from mrmllm_ros.datasets.questions.vocabulary import is_person


def _which_color(sampler: SceneSampler) -> tuple[str, str, Truth]:
    label, ids = sampler.plural_group()
    i, color = sampler.pick(
        [found for found in sampler.unique_values(sampler.color) if found[0] in ids]
    )
    name = "which_wears" if is_person(label) else "which_color"
    return (
        sampler.phrase(name, color_fields(sampler, label, color)),
        f"The {label} {cite([i])} {has_color(sampler, i, color)}.",
        citation_truth(i),
    )


def _which_side(sampler: SceneSampler) -> tuple[str, str, Truth]:
    label, ids = sampler.plural_group()
    i, side = sampler.pick(
        [found for found in sampler.unique_values(sampler.side) if found[0] in ids]
    )
    return (
        sampler.phrase("which_side", fields_of(sampler.name(label), on_side=on_side(side))),
        f"The {label} {cite([i])} is {on_side(side)}.",
        citation_truth(i),
    )


def _which_biggest(sampler: SceneSampler) -> tuple[str, str, Truth]:
    label, ids = sampler.plural_group()
    i = sampler.largest_of(ids)
    answer = f"The biggest is {the(sampler, i)}."
    return (
        sampler.phrase("which_biggest", fields_of(sampler.name(label))),
        answer,
        citation_truth(i),
    )


FORMS: tuple[Form, ...] = (_which_color, _which_side, _which_biggest)
