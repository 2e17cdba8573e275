# SPDX-License-Identifier: Apache-2.0
"""Lists of all objects."""

from __future__ import annotations

from collections.abc import Callable

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import joined, mention
from mrmllm_ros.datasets.questions.phrases import perhaps
from mrmllm_ros.datasets.questions.scene_sampler import (
    Form,
    NothingToAskError,
    SceneSampler,
    label_set,
)

MAX_GROUPS = 5


def _listing(sampler: SceneSampler) -> tuple[str, str, Truth]:
    return sampler.phrase("listing"), *enumerated(sampler, mention)


def enumerated(
    sampler: SceneSampler, part: Callable[[str, tuple[int, ...]], str]
) -> tuple[str, Truth]:
    """List the first groups of objects with the phrases of `part`, then `more` if needed.

    Doubtful objects are only named where there are no others.
    """
    if sampler.doubtful and not sampler.groups:
        return perhaps(sampler, sampler.doubtful[:MAX_GROUPS])
    if sampler.missed and not sampler.groups:
        raise NothingToAskError
    first = dict(list(sampler.groups.items())[:MAX_GROUPS])
    labels = frozenset(first)
    known = label_set(sampler.vocabulary)
    # An answer may also name the other groups.
    others = sampler.groups.keys() - labels
    truth = Truth(
        mentions=labels,
        # Shares one set between scenes where possible.
        among=known if labels <= known and not others else (known | labels) - others,
        cited=frozenset(i for ids in first.values() for i in ids),
    )
    parts = [part(label, ids) for label, ids in first.items()]
    if len(sampler.groups) > len(first):
        parts.append("more")
    return f"I see {joined(parts)}." if parts else "I see no objects.", truth


FORMS: tuple[Form, ...] = (_listing,)
EXTRA = 1
