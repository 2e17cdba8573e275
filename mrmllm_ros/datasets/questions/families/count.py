# SPDX-License-Identifier: Apache-2.0
"""Counts of objects."""

from __future__ import annotations

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import (
    all_seen,
    capital,
    cite,
    counted,
    ids_of,
    number_word,
    on_side,
    plural,
)
from mrmllm_ros.datasets.questions.phrases import fields_of, number, places
from mrmllm_ros.datasets.questions.scene_draw import (
    MOST_COUNTED,
    Form,
    NothingToAskError,
    SceneDraw,
)


def _count(draw: SceneDraw) -> tuple[str, str, Truth]:
    if not draw.groups or draw.chance(0.2):
        label, ids = draw.absent(), ()
    else:
        # Most groups are of one: as often as not, one that takes counting.
        several = draw.groups_of(2, MOST_COUNTED) if draw.chance() else []
        label, ids = draw.pick(several or draw.groups_of(1, MOST_COUNTED))
    question = draw.phrase("count", fields_of(draw.neutral(label)))
    # The prompt has counted them.
    name = label if len(ids) == 1 else plural(label)
    cited = f" {cite(ids)}" if ids else ""
    return question, f"I see {number_word(len(ids))} {name}{cited}.", number(ids)


def _count_kind(draw: SceneDraw) -> tuple[str, str, Truth]:
    word, groups = draw.of_a_kind()
    ids = ids_of(groups)
    if not ids or len(ids) > MOST_COUNTED or draw.others_called(word):
        raise NothingToAskError
    answer = f"I see {all_seen(groups)}, {number_word(len(ids))} in all."
    return draw.phrase("count", fields_of(word)), answer, number(ids)


def _count_side(draw: SceneDraw) -> tuple[str, str, Truth]:
    label, side, ids = draw.of_side()
    where = on_side(side)
    question = draw.phrase("count_side", fields_of(draw.neutral(label), on_side=where))
    if few := draw.few(label):
        found = number_word(len(ids)) if ids else "none"
        answer = f"{places(draw, label, few)}, so {found}."
        return question, answer, Truth(number=len(ids), cited=frozenset(few))
    return question, f"{capital(where)} {counted(label, ids)}", number(ids)


FORMS: tuple[Form, ...] = (_count, _count, _count, _count_kind, _count_side)
# Training asks these more often: a small language model learns them last.
EXTRA = 1
