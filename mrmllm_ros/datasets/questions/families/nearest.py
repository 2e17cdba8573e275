# SPDX-License-Identifier: Apache-2.0
"""Nearest and farthest objects."""

from __future__ import annotations

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import cite
from mrmllm_ros.datasets.questions.phrases import fields_of, named, picked, the
from mrmllm_ros.datasets.questions.scene_sampler import Form, SceneSampler


def _nearest(sampler: SceneSampler) -> tuple[str, str, Truth]:
    i = sampler.nearest_of(sampler.ids)
    # The number, which the prompt's order begins with, comes before the name that it leads to.
    return (
        sampler.phrase("nearest"),
        f"The nearest is {cite([i])}, the {sampler.label(i)}.",
        named(sampler, i),
    )


def _nearest_of(sampler: SceneSampler) -> tuple[str, str, Truth]:
    label, ids = sampler.several()
    i = sampler.nearest_of(ids)
    answer = f"The nearest is {the(sampler, i)}."
    return sampler.phrase("nearest_of", fields_of(sampler.called(label))), answer, picked(i)


def _farthest(sampler: SceneSampler) -> tuple[str, str, Truth]:
    i = sampler.nearest_of(sampler.ids, farthest=True)
    answer = f"The farthest is {cite([i])}, the {sampler.label(i)}."
    return sampler.phrase("farthest"), answer, named(sampler, i)


FORMS: tuple[Form, ...] = (_nearest, _nearest, _nearest_of, _nearest_of, _farthest)
# Training asks these more often: a small language model learns them last.
EXTRA = 1
