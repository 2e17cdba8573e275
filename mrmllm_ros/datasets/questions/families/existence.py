# SPDX-License-Identifier: Apache-2.0
"""Existence of objects."""

from __future__ import annotations

from collections.abc import Sequence

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import (
    ids_of,
    indefinite,
    mention,
    mention_all,
    on_side,
    with_article,
)
from mrmllm_ros.datasets.questions.phrases import denial, fields_of, places, verdict, yes_no_truth
from mrmllm_ros.datasets.questions.scene_sampler import (
    MAX_COUNTED,
    Form,
    Group,
    NothingToAskError,
    SceneSampler,
    label_set,
)
from mrmllm_ros.datasets.questions.vocabulary import OBJECT_KINDS, is_person


def _existence(sampler: SceneSampler) -> tuple[str, str, Truth]:
    if sampler.groups and sampler.chance():
        label, ids = sampler.pick(sampler.groups_of(1, MAX_COUNTED))
        return (
            sampler.phrase("existence", fields_of(sampler.group_name(label))),
            f"Yes, I see {mention(label, ids)}.",
            yes_no_truth(True, *ids),
        )
    label = sampler.absent()
    return sampler.phrase("existence", fields_of(label)), *denial(indefinite(label))


def _existence_kind(sampler: SceneSampler) -> tuple[str, str, Truth]:
    word, groups = sampler.kind()
    nouns = OBJECT_KINDS[word]
    if not groups and (
        not nouns & label_set(sampler.vocabulary)
        or nouns & sampler.missed
        or sampler.is_ambiguous(word)
    ):
        raise NothingToAskError
    return sampler.phrase("existence", fields_of(word)), *_any_of(groups, word)


def _anybody(sampler: SceneSampler) -> tuple[str, str, Truth]:
    groups = [(label, ids) for label, ids in sampler.groups.items() if is_person(label)]
    looked_for = any(map(is_person, sampler.vocabulary))
    if not groups and (not looked_for or any(map(is_person, sampler.present))):
        raise NothingToAskError
    return sampler.phrase("anybody"), *_any_of(groups, "person")


def _any_of(groups: Sequence[Group], word: str) -> tuple[str, Truth]:
    """Answer whether there are objects of a kind."""
    if not groups:
        return denial(with_article(word))
    return f"Yes, I see {mention_all(groups)}.", yes_no_truth(True, *ids_of(groups))


def _existence_side(sampler: SceneSampler) -> tuple[str, str, Truth]:
    label, side, ids = sampler.label_on_side()
    where = on_side(side)
    question = sampler.phrase(
        "existence_side", fields_of(sampler.group_name(label), on_side=where)
    )
    if few := sampler.few(label):
        return question, *verdict(places(sampler, label, few), bool(ids), *few)
    if not ids:
        return question, *denial(f"{indefinite(label)} {where}")
    return question, f"Yes, {where} I see {mention(label, ids)}.", yes_no_truth(True, *ids)


FORMS: tuple[Form, ...] = (_existence, _existence, _existence_kind, _anybody, _existence_side)
