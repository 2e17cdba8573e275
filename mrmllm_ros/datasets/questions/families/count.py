# SPDX-License-Identifier: Apache-2.0
"""Counts of objects."""

from __future__ import annotations

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import (
    capital,
    cite,
    counted,
    ids_of,
    mention_all,
    number_word,
    on_side,
    plural,
)
from mrmllm_ros.datasets.questions.phrases import count_truth, fields_of, places
from mrmllm_ros.datasets.questions.scene_sampler import (
    MAX_COUNTED,
    Form,
    NothingToAskError,
    SceneSampler,
)
from mrmllm_ros.datasets.questions.vocabulary import OBJECT_KINDS


def _count(sampler: SceneSampler) -> tuple[str, str, Truth]:
    seen = "I see"
    if doubtful := sampler.doubtful_group():
        seen, (label, ids) = "Perhaps", doubtful
    elif not sampler.groups or sampler.chance(0.2):
        label, ids = sampler.absent(), ()
    else:
        # Most groups have one object; half of the time, take one with several.
        several = sampler.groups_of(2, MAX_COUNTED) if sampler.chance() else []
        label, ids = sampler.pick(several or sampler.groups_of(1, MAX_COUNTED))
    sampler.require_complete(label)
    question = sampler.phrase("count", fields_of(sampler.group_name(label)))
    # The prompt states the count.
    name = label if len(ids) == 1 else plural(label)
    cited = f" {cite(ids)}" if ids else ""
    return question, f"{seen} {number_word(len(ids))} {name}{cited}.", count_truth(ids)


def _count_kind(sampler: SceneSampler) -> tuple[str, str, Truth]:
    word, groups = sampler.kind()
    ids = ids_of(groups)
    if not ids or len(ids) > MAX_COUNTED or sampler.is_ambiguous(word):
        raise NothingToAskError
    sampler.require_complete(word, *OBJECT_KINDS[word])
    answer = f"I see {mention_all(groups)}, {number_word(len(ids))} in all."
    return sampler.phrase("count", fields_of(word)), answer, count_truth(ids)


def _count_side(sampler: SceneSampler) -> tuple[str, str, Truth]:
    label, side, ids = sampler.label_on_side()
    sampler.require_complete(label)
    where = on_side(side)
    question = sampler.phrase("count_side", fields_of(sampler.group_name(label), on_side=where))
    if few := sampler.few(label):
        found = number_word(len(ids)) if ids else "none"
        answer = f"{places(sampler, label, few)}, so {found}."
        return question, answer, Truth(number=len(ids), cited=frozenset(few))
    return question, f"{capital(where)} {counted(label, ids)}", count_truth(ids)


FORMS: tuple[Form, ...] = (_count, _count, _count, _count_kind, _count_side)
EXTRA = 1
