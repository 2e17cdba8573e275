# SPDX-License-Identifier: Apache-2.0
"""Sides of the image that objects are on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import capital, cite, on_side, verbs, with_article
from mrmllm_ros.datasets.questions.phrases import fields_of, places, polar, the, yes_no
from mrmllm_ros.datasets.questions.scene_draw import (
    MOST_PLACES,
    Form,
    NothingToAskError,
    SceneDraw,
)
from mrmllm_ros.model import prompt

MOST_ON_SIDE = 8


def _where(draw: SceneDraw) -> tuple[str, str, Truth]:
    i, name = draw.referred(by_color=True)
    label = draw.label(i)
    one_side = draw.side(i) != "middle" and draw.chance(0.3)
    return (
        draw.phrase("left_or_right" if one_side else "where", fields_of(name)),
        f"{places(draw, label, [i])}.",
        _sides_truth(draw, [i]),
    )


def _where_all(draw: SceneDraw) -> tuple[str, str, Truth]:
    label, ids = draw.pick(draw.groups_of(2, MOST_PLACES))
    return (
        draw.phrase("where_all", fields_of(draw.neutral(label))),
        f"{places(draw, label, ids)}.",
        replace(_sides_truth(draw, ids), pairs=frozenset((i, draw.side(i)) for i in ids)),
    )


def _is_on_side(draw: SceneDraw) -> tuple[str, str, Truth]:
    i, name = draw.referred(by_color=True)
    label, side = draw.label(i), draw.side(i)
    holds = draw.unless_missed(label, draw.chance())
    asked = side if holds else draw.pick([other for other in prompt.SIDES if other != side])
    return (
        draw.phrase("is_on_side", fields_of(name, on_side=on_side(asked))),
        yes_no(the(draw, i), holds, verbs(label)[0], on_side(side)),
        polar(holds, i),
    )


def _what_on_side(draw: SceneDraw) -> tuple[str, str, Truth]:
    side = draw.pick(prompt.SIDES)
    # As the prompt's line of sides has them: numbers that have been copied are easily named.
    ids = (prompt.group_by_side(draw.scene.boxes)[side] + 1).tolist()
    # Sides are often empty: not every time is worth a question.
    if len(ids) > MOST_ON_SIDE or (not ids and (draw.missed or draw.chance(0.6))):
        raise NothingToAskError
    where = on_side(side)
    return (
        draw.phrase("what_on_side", {"on_side": where}),
        f"{capital(where)} I see {_numbered(draw, ids)}.",
        Truth(
            mentions=frozenset(draw.label(i) for i in ids),
            among=frozenset(draw.groups),
            cited=frozenset(ids),
        ),
    )


def _numbered(draw: SceneDraw, ids: Sequence[int]) -> str:
    """`[2], a person` or `[3][1]: [3] a person, [1] a bus`: the row is copied, then named."""
    if not ids:
        return "nothing"
    if len(ids) == 1:
        return f"{cite(ids)}, {with_article(draw.label(ids[0]))}"
    names = ", ".join(f"{cite([i])} {with_article(draw.label(i))}" for i in ids)
    return f"{cite(ids)}: {names}"


def _sides_truth(draw: SceneDraw, ids: Sequence[int]) -> Truth:
    mentions = frozenset(draw.side(i) for i in ids)
    return Truth(mentions=mentions, among=frozenset(prompt.SIDES), cited=frozenset(ids))


FORMS: tuple[Form, ...] = (_where, _where_all, _is_on_side, _what_on_side)
# Training asks these more often: a small language model learns them last.
EXTRA = 1
