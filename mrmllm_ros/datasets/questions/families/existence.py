# SPDX-License-Identifier: Apache-2.0
"""Existence of objects."""

from __future__ import annotations

from collections.abc import Sequence

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import (
    all_seen,
    ids_of,
    on_side,
    one,
    seen,
    with_article,
)
from mrmllm_ros.datasets.questions.phrases import fields_of, places, polar
from mrmllm_ros.datasets.questions.scene_draw import (
    MOST_COUNTED,
    Form,
    Group,
    NothingToAskError,
    SceneDraw,
    words_of,
)
from mrmllm_ros.datasets.questions.vocabulary import KINDS_OF_THINGS, is_person


def _existence(draw: SceneDraw) -> tuple[str, str, Truth]:
    if draw.groups and draw.chance():
        label, ids = draw.pick(draw.groups_of(1, MOST_COUNTED))
        return (
            draw.phrase("existence", fields_of(draw.neutral(label))),
            f"Yes, I see {seen(label, ids)}.",
            polar(True, *ids),
        )
    label = draw.absent()
    return (
        draw.phrase("existence", fields_of(label)),
        f"No, I do not see {one(label)}.",
        polar(False),
    )


def _existence_kind(draw: SceneDraw) -> tuple[str, str, Truth]:
    word, groups = draw.of_a_kind()
    nouns = KINDS_OF_THINGS[word]
    if not groups and (
        not nouns & words_of(draw.vocabulary) or nouns & draw.missed or draw.others_called(word)
    ):
        raise NothingToAskError
    return draw.phrase("existence", fields_of(word)), *_any_of(groups, word)


def _anybody(draw: SceneDraw) -> tuple[str, str, Truth]:
    groups = [(label, ids) for label, ids in draw.groups.items() if is_person(label)]
    looked_for = any(map(is_person, draw.vocabulary))
    if not groups and (not looked_for or any(map(is_person, draw.there))):
        raise NothingToAskError
    return draw.phrase("anybody"), *_any_of(groups, "person")


def _any_of(groups: Sequence[Group], word: str) -> tuple[str, Truth]:
    """Whether there are groups of what a word stands for."""
    if not groups:
        return f"No, I do not see {with_article(word)}.", polar(False)
    return f"Yes, I see {all_seen(groups)}.", polar(True, *ids_of(groups))


def _existence_side(draw: SceneDraw) -> tuple[str, str, Truth]:
    label, side, ids = draw.of_side()
    where = on_side(side)
    question = draw.phrase("existence_side", fields_of(draw.neutral(label), on_side=where))
    if few := draw.few(label):
        answer = f"{places(draw, label, few)}, so {'yes' if ids else 'no'}."
        return question, answer, polar(bool(ids), *few)
    found = f"Yes, {where} I see {seen(label, ids)}." if ids else ""
    return question, found or f"No, I do not see {one(label)} {where}.", polar(bool(ids), *ids)


FORMS: tuple[Form, ...] = (_existence, _existence, _existence_kind, _anybody, _existence_side)
