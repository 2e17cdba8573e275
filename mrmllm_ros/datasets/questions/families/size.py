# SPDX-License-Identifier: Apache-2.0
"""Comparison of sizes."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.phrases import be, named, polar, the, two_fields
from mrmllm_ros.datasets.questions.scene_draw import BIGGER, Form, SceneDraw, ahead


def _extreme(draw: SceneDraw) -> tuple[str, str, Truth]:
    name = draw.pick(["largest", "smallest"])
    areas = draw.areas if name == "largest" else 1 / np.maximum(draw.areas, 1e-9)
    i = ahead(areas, range(1, len(areas) + 1))
    return draw.phrase(name), f"The {name} {be(draw, i)} {the(draw, i)}.", named(draw, i)


def _bigger(draw: SceneDraw) -> tuple[str, str, Truth]:
    sizes = draw.areas
    holds = draw.chance()
    a, b = draw.pick(
        [(a, b) if holds else (b, a) for a, b in _unequal(draw) if sizes[a - 1] >= sizes[b - 1]]
    )
    word = "bigger" if holds else "smaller"
    bigger = f"the {draw.label(a)} {be(draw, a)} {word}"
    return (
        draw.phrase("bigger", two_fields(draw, a, b)),
        f"Of {the(draw, a)} and {the(draw, b)}, {bigger}, so {'yes' if holds else 'no'}.",
        polar(holds, a, b),
    )


def _which_bigger(draw: SceneDraw) -> tuple[str, str, Truth]:
    sizes = draw.areas
    a, b = draw.pick(_unequal(draw))
    word = draw.pick(["bigger", "smaller"])
    i = max((a, b), key=lambda i: sizes[i - 1] if word == "bigger" else -sizes[i - 1])
    truth = Truth(
        mentions=frozenset([draw.label(i)]),
        among=frozenset([draw.label(a), draw.label(b)]),
        cited=frozenset([i]),
        cites_answer=True,
    )
    question = draw.phrase(f"which_{word}", two_fields(draw, a, b))
    return question, f"The {word} {be(draw, i)} {the(draw, i)}.", truth


def _unequal(draw: SceneDraw) -> list[tuple[int, int]]:
    """Two objects, in either order, one of which is clearly the bigger."""
    sizes = draw.areas
    return [
        (a, b)
        for a, b in permutations(draw.singles, 2)
        if max(sizes[a - 1], sizes[b - 1]) >= BIGGER * min(sizes[a - 1], sizes[b - 1])
    ]


FORMS: tuple[Form, ...] = (_extreme, _extreme, _bigger, _which_bigger)
