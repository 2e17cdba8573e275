# SPDX-License-Identifier: Apache-2.0
"""Comparison of sizes."""

from __future__ import annotations

from itertools import permutations

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.phrases import be, name_truth, the, two_fields, verdict
from mrmllm_ros.datasets.questions.scene_sampler import (
    MIN_AREA_RATIO,
    Form,
    SceneSampler,
)


def _extreme(sampler: SceneSampler) -> tuple[str, str, Truth]:
    name = sampler.pick(["largest", "smallest"])
    i = sampler.largest_of(sampler.ids, smallest=name == "smallest")
    return (
        sampler.phrase(name),
        f"The {name} {be(sampler, i)} {the(sampler, i)}.",
        name_truth(sampler, i),
    )


def _bigger(sampler: SceneSampler) -> tuple[str, str, Truth]:
    sizes = sampler.areas
    holds = sampler.chance()
    a, b = sampler.pick(
        [(a, b) if holds else (b, a) for a, b in _unequal(sampler) if sizes[a - 1] >= sizes[b - 1]]
    )
    word = "bigger" if holds else "smaller"
    bigger = f"the {sampler.label(a)} {be(sampler, a)} {word}"
    evidence = f"of {the(sampler, a)} and {the(sampler, b)}, {bigger}"
    question = sampler.phrase("bigger", two_fields(sampler, a, b))
    return question, *verdict(evidence, holds, a, b)


def _which_bigger(sampler: SceneSampler) -> tuple[str, str, Truth]:
    sizes = sampler.areas
    a, b = sampler.pick(_unequal(sampler))
    word = sampler.pick(["bigger", "smaller"])
    i = max((a, b), key=lambda i: sizes[i - 1] if word == "bigger" else -sizes[i - 1])
    truth = Truth(
        mentions=frozenset([sampler.label(i)]),
        among=frozenset([sampler.label(a), sampler.label(b)]),
        cited=frozenset([i]),
        cites_answer=True,
    )
    question = sampler.phrase(f"which_{word}", two_fields(sampler, a, b))
    return question, f"The {word} {be(sampler, i)} {the(sampler, i)}.", truth


def _unequal(sampler: SceneSampler) -> list[tuple[int, int]]:
    """Pairs of objects, in both orders, with clearly different sizes."""
    sizes = sampler.areas
    return [
        (a, b)
        for a, b in permutations(sampler.singles, 2)
        if max(sizes[a - 1], sizes[b - 1]) >= MIN_AREA_RATIO * min(sizes[a - 1], sizes[b - 1])
    ]


FORMS: tuple[Form, ...] = (_extreme, _extreme, _bigger, _which_bigger)
