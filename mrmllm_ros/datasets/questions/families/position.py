# SPDX-License-Identifier: Apache-2.0
"""Sides of the image that objects are on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import capital, cite, on_side, with_article
from mrmllm_ros.datasets.questions.phrases import fields_of, places, verdict
from mrmllm_ros.datasets.questions.scene_sampler import (
    MAX_PLACES,
    Form,
    NothingToAskError,
    SceneSampler,
)
from mrmllm_ros.model import prompt

MAX_ON_SIDE = 8


def _where(sampler: SceneSampler) -> tuple[str, str, Truth]:
    i, name = sampler.reference(by_color=True)
    label = sampler.label(i)
    one_side = sampler.side(i) != "middle" and sampler.chance(0.3)
    return (
        sampler.phrase("left_or_right" if one_side else "where", fields_of(name)),
        f"{places(sampler, label, [i])}.",
        _sides_truth(sampler, [i]),
    )


def _where_all(sampler: SceneSampler) -> tuple[str, str, Truth]:
    label, ids = sampler.pick(sampler.groups_of(2, MAX_PLACES))
    return (
        sampler.phrase("where_all", fields_of(sampler.group_name(label))),
        f"{places(sampler, label, ids)}.",
        replace(_sides_truth(sampler, ids), pairs=frozenset((i, sampler.side(i)) for i in ids)),
    )


def _is_on_side(sampler: SceneSampler) -> tuple[str, str, Truth]:
    i, name = sampler.reference(by_color=True)
    label, side = sampler.label(i), sampler.side(i)
    holds = sampler.unless_missed(label, sampler.chance())
    asked = side if holds else sampler.pick([other for other in prompt.SIDES if other != side])
    question = sampler.phrase("is_on_side", fields_of(name, on_side=on_side(asked)))
    return question, *verdict(places(sampler, label, [i]), holds, i)


def _what_on_side(sampler: SceneSampler) -> tuple[str, str, Truth]:
    side = sampler.pick(prompt.SIDES)
    # In the order of the prompt, so that a model can copy the numbers before it names them.
    on_this_side = (prompt.group_by_side(sampler.scene.boxes)[side] + 1).tolist()
    ids = [i for i in on_this_side if sampler.label(i)]
    # Empty sides are frequent; most of these questions are dropped.
    if len(ids) > MAX_ON_SIDE or (not ids and (sampler.missed or sampler.chance(0.6))):
        raise NothingToAskError
    where = on_side(side)
    return (
        sampler.phrase("what_on_side", {"on_side": where}),
        f"{capital(where)} I see {_numbered(sampler, ids)}.",
        Truth(
            mentions=frozenset(sampler.label(i) for i in ids),
            among=frozenset(sampler.groups),
            cited=frozenset(ids),
        ),
    )


def _numbered(sampler: SceneSampler, ids: Sequence[int]) -> str:
    """`[2], a person` or `[3][1]: [3] a person, [1] a bus`: numbers, then names."""
    if not ids:
        return "nothing"
    if len(ids) == 1:
        return f"{cite(ids)}, {with_article(sampler.label(ids[0]))}"
    names = ", ".join(f"{cite([i])} {with_article(sampler.label(i))}" for i in ids)
    return f"{cite(ids)}: {names}"


def _sides_truth(sampler: SceneSampler, ids: Sequence[int]) -> Truth:
    mentions = frozenset(sampler.side(i) for i in ids)
    return Truth(mentions=mentions, among=frozenset(prompt.SIDES), cited=frozenset(ids))


FORMS: tuple[Form, ...] = (_where, _where_all, _is_on_side, _what_on_side)
EXTRA = 1
