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
from mrmllm_ros.datasets.questions.phrases import (
    denial,
    fields_of,
    perhaps,
    places,
    verdict,
    yes_no_truth,
)
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
    if doubtful := sampler.doubtful_group():
        question = sampler.phrase("existence", fields_of(sampler.group_name(doubtful[0])))
        return question, *perhaps(sampler, [doubtful])
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
    doubtful = [(label, ids) for label, ids in sampler.doubtful if label in nouns]
    if not groups + doubtful and (
        not nouns & label_set(sampler.vocabulary)
        or nouns & sampler.missed
        or sampler.is_ambiguous(word)
    ):
        raise NothingToAskError
    question = sampler.phrase("existence", fields_of(word))
    return question, *_any_of(sampler, groups, doubtful, word)


def _anybody(sampler: SceneSampler) -> tuple[str, str, Truth]:
    groups = [(label, ids) for label, ids in sampler.groups.items() if is_person(label)]
    doubtful = [(label, ids) for label, ids in sampler.doubtful if is_person(label)]
    looked_for = any(map(is_person, sampler.vocabulary))
    if not groups + doubtful and (not looked_for or any(map(is_person, sampler.present))):
        raise NothingToAskError
    return sampler.phrase("anybody"), *_any_of(sampler, groups, doubtful, "person")


def _any_of(
    sampler: SceneSampler, groups: Sequence[Group], doubtful: Sequence[Group], word: str
) -> tuple[str, Truth]:
    """Answer whether there are objects of a kind."""
    if groups:
        return f"Yes, I see {mention_all(groups)}.", yes_no_truth(True, *ids_of(groups))
    return perhaps(sampler, doubtful) if doubtful else denial(with_article(word))


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
