# SPDX-License-Identifier: Apache-2.0
"""Nearest and farthest objects."""

from __future__ import annotations

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import cite
from mrmllm_ros.datasets.questions.phrases import citation_truth, fields_of, name_truth, the
from mrmllm_ros.datasets.questions.scene_sampler import Form, SceneSampler


def _nearest(sampler: SceneSampler) -> tuple[str, str, Truth]:
    i = sampler.nearest_of(sampler.ids)
    # The citation comes first: it is copied from the prompt's order, and leads to the name.
    return (
        sampler.phrase("nearest"),
        f"The nearest is {cite([i])}, the {sampler.label(i)}.",
        name_truth(sampler, i),
    )


def _nearest_of(sampler: SceneSampler) -> tuple[str, str, Truth]:
    label, ids = sampler.plural_group()
    i = sampler.nearest_of(ids)
    answer = f"The nearest is {the(sampler, i)}."
    return sampler.phrase("nearest_of", fields_of(sampler.name(label))), answer, citation_truth(i)


def _farthest(sampler: SceneSampler) -> tuple[str, str, Truth]:
    i = sampler.nearest_of(sampler.ids, farthest=True)
    answer = f"The farthest is {cite([i])}, the {sampler.label(i)}."
    return sampler.phrase("farthest"), answer, name_truth(sampler, i)


FORMS: tuple[Form, ...] = (_nearest, _nearest, _nearest_of, _nearest_of, _farthest)
EXTRA = 1
