# SPDX-License-Identifier: Apache-2.0
"""Descriptions of the scene."""

from __future__ import annotations

from functools import partial

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.families.listing import enumerated
from mrmllm_ros.datasets.questions.grammar import mention, on_side
from mrmllm_ros.datasets.questions.scene_sampler import Form, SceneSampler


def _description(sampler: SceneSampler) -> tuple[str, str, Truth]:
    # The empty question, the most frequent on a robot; its prompt is a template of training.
    nothing = sampler.split == "train" and sampler.chance(0.25)
    question = "" if nothing else sampler.phrase("description")
    return question, *enumerated(sampler, partial(_described, sampler))


def _described(sampler: SceneSampler, label: str, ids: tuple[int, ...]) -> str:
    if len(ids) > 1:
        return mention(label, ids)
    return f"{mention(label, ids)} {on_side(sampler.side(ids[0]))}"


FORMS: tuple[Form, ...] = (_description,)
EXTRA = 1
