# SPDX-License-Identifier: Apache-2.0
"""Lists of all objects."""

from __future__ import annotations

from collections.abc import Callable

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import joined, seen
from mrmllm_ros.datasets.questions.scene_draw import Form, NothingToAskError, SceneDraw, words_of

MOST_GROUPS = 5


def _listing(draw: SceneDraw) -> tuple[str, str, Truth]:
    return draw.phrase("listing"), *told(draw, seen)


def told(draw: SceneDraw, part: Callable[[str, tuple[int, ...]], str]) -> tuple[str, Truth]:
    """The first groups of objects, each as `part` tells it, and whether there are more."""
    if draw.missed and not draw.groups:
        raise NothingToAskError
    told = dict(list(draw.groups.items())[:MOST_GROUPS])
    labels = frozenset(told)
    known = words_of(draw.vocabulary)
    # To tell what is left out is no mistake.
    untold = draw.groups.keys() - labels
    truth = Truth(
        mentions=labels,
        # Not a new set for each scene, where it can be helped.
        among=known if labels <= known and not untold else (known | labels) - untold,
        cited=frozenset(i for ids in told.values() for i in ids),
    )
    parts = [part(label, ids) for label, ids in told.items()]
    if len(draw.groups) > len(told):
        parts.append("more")
    return f"I see {joined(parts)}." if parts else "I see no objects.", truth


FORMS: tuple[Form, ...] = (_listing,)
# Training asks these more often: a small language model learns them last.
EXTRA = 1
