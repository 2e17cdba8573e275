# SPDX-License-Identifier: Apache-2.0
"""Lists of all objects."""

from __future__ import annotations

from collections.abc import Callable

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import joined, seen
from mrmllm_ros.datasets.questions.scene_sampler import (
    Form,
    NothingToAskError,
    SceneSampler,
    words_of,
)

MAX_GROUPS = 5


def _listing(sampler: SceneSampler) -> tuple[str, str, Truth]:
    return sampler.phrase("listing"), *enumerated(sampler, seen)


def enumerated(
    sampler: SceneSampler, part: Callable[[str, tuple[int, ...]], str]
) -> tuple[str, Truth]:
    """The first groups of objects, each as a phrase by `part`, and whether there are more."""
    if sampler.missed and not sampler.groups:
        raise NothingToAskError
    first = dict(list(sampler.groups.items())[:MAX_GROUPS])
    labels = frozenset(first)
    known = words_of(sampler.vocabulary)
    # An answer may name the others too.
    others = sampler.groups.keys() - labels
    truth = Truth(
        mentions=labels,
        # Not a new set for each scene, where it can be helped.
        among=known if labels <= known and not others else (known | labels) - others,
        cited=frozenset(i for ids in first.values() for i in ids),
    )
    parts = [part(label, ids) for label, ids in first.items()]
    if len(sampler.groups) > len(first):
        parts.append("more")
    return f"I see {joined(parts)}." if parts else "I see no objects.", truth


FORMS: tuple[Form, ...] = (_listing,)
# Training asks these more often: a small language model learns them last.
EXTRA = 1
