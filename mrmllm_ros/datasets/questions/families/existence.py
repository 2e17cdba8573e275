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
from mrmllm_ros.datasets.questions.scene_sampler import (
    MAX_COUNTED,
    Form,
    Group,
    NothingToAskError,
    SceneSampler,
    words_of,
)
from mrmllm_ros.datasets.questions.vocabulary import KINDS_OF_THINGS, is_person


def _existence(sampler: SceneSampler) -> tuple[str, str, Truth]:
    if sampler.groups and sampler.chance():
        label, ids = sampler.pick(sampler.groups_of(1, MAX_COUNTED))
        return (
            sampler.phrase("existence", fields_of(sampler.neutral(label))),
            f"Yes, I see {seen(label, ids)}.",
            polar(True, *ids),
        )
    label = sampler.absent()
    return (
        sampler.phrase("existence", fields_of(label)),
        f"No, I do not see {one(label)}.",
        polar(False),
    )


def _existence_kind(sampler: SceneSampler) -> tuple[str, str, Truth]:
    word, groups = sampler.of_a_kind()
    nouns = KINDS_OF_THINGS[word]
    if not groups and (
        not nouns & words_of(sampler.vocabulary)
        or nouns & sampler.missed
        or sampler.others_called(word)
    ):
        raise NothingToAskError
    return sampler.phrase("existence", fields_of(word)), *_any_of(groups, word)


def _anybody(sampler: SceneSampler) -> tuple[str, str, Truth]:
    groups = [(label, ids) for label, ids in sampler.groups.items() if is_person(label)]
    looked_for = any(map(is_person, sampler.vocabulary))
    if not groups and (not looked_for or any(map(is_person, sampler.there))):
        raise NothingToAskError
    return sampler.phrase("anybody"), *_any_of(groups, "person")


def _any_of(groups: Sequence[Group], word: str) -> tuple[str, Truth]:
    """Whether there are groups of what a word stands for."""
    if not groups:
        return f"No, I do not see {with_article(word)}.", polar(False)
    return f"Yes, I see {all_seen(groups)}.", polar(True, *ids_of(groups))


def _existence_side(sampler: SceneSampler) -> tuple[str, str, Truth]:
    label, side, ids = sampler.of_side()
    where = on_side(side)
    question = sampler.phrase("existence_side", fields_of(sampler.neutral(label), on_side=where))
    if few := sampler.few(label):
        answer = f"{places(sampler, label, few)}, so {'yes' if ids else 'no'}."
        return question, answer, polar(bool(ids), *few)
    found = f"Yes, {where} I see {seen(label, ids)}." if ids else ""
    return question, found or f"No, I do not see {one(label)} {where}.", polar(bool(ids), *ids)


FORMS: tuple[Form, ...] = (_existence, _existence, _existence_kind, _anybody, _existence_side)
