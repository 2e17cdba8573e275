# SPDX-License-Identifier: Apache-2.0
"""Colors and states of objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import cite, counted, indefinite, mention, plural
from mrmllm_ros.datasets.questions.phrases import (
    be,
    color_fields,
    count_truth,
    denial,
    fields_of,
    has_color,
    the,
    verdict,
    yes_no_truth,
)
from mrmllm_ros.datasets.questions.scene_sampler import (
    MAX_PLACES,
    Form,
    NothingToAskError,
    SceneSampler,
)
from mrmllm_ros.datasets.questions.vocabulary import STATES, is_person
from mrmllm_ros.model.configuration_mrmllm import COLORS

_OPPOSITES = {a: b for pair in STATES.values() for a, b in (pair, pair[::-1])}


def _color(sampler: SceneSampler) -> tuple[str, str, Truth]:
    i, called = _colored(sampler)
    label, color = sampler.label(i), sampler.color(i)
    name = "color_worn" if is_person(label) else "color"
    question = sampler.phrase(name, fields_of(called))
    if color is None:
        return question, *_unknown_color(sampler, i)
    answer = f"The {label} {cite([i])} {has_color(sampler, i, color)}."
    return question, answer, _colors_truth([color], [i])


def _colors(sampler: SceneSampler) -> tuple[str, str, Truth]:
    label, ids = sampler.pick(sampler.groups_of(2, MAX_PLACES))
    colors = sampler.colors(ids)
    name, verb = ("colors_worn", "wear") if is_person(label) else ("colors", "are")
    each = ", ".join(f"{cite([i])} {color}" for i, color in zip(ids, colors, strict=True))
    return (
        sampler.phrase(name, fields_of(sampler.group_name(label))),
        f"The {plural(label)} {verb} {each}.",
        replace(_colors_truth(colors, ids), pairs=frozenset(zip(ids, colors, strict=True))),
    )


def _is_color(sampler: SceneSampler) -> tuple[str, str, Truth]:
    i, called = _colored(sampler)
    label, color = sampler.label(i), sampler.color(i)
    holds = sampler.unless_missed(label, sampler.chance())
    asked = color if color and holds else sampler.other_color([color or ""])
    name = "wears_color" if is_person(label) else "is_color"
    question = sampler.phrase(name, fields_of(called, color=asked))
    if color is None:
        return question, *_unknown_color(sampler, i)
    evidence = f"{the(sampler, i)} {has_color(sampler, i, color)}"
    return question, *verdict(evidence, holds, i)


def _existence_color(sampler: SceneSampler) -> tuple[str, str, Truth]:
    label, color, ids = sampler.label_of_color()
    question = sampler.phrase("existence_color", color_fields(sampler, label, color))
    if not ids:
        return question, *denial(indefinite(label, color))
    return question, f"Yes, I see {mention(label, ids, color)}.", yes_no_truth(True, *ids)


def _count_color(sampler: SceneSampler) -> tuple[str, str, Truth]:
    label, color, ids = sampler.label_of_color()
    sampler.require_complete(label)
    # Raises if any color is unknown, since the count would be unknown too.
    sampler.colors(sampler.groups.get(label, ()))
    question = sampler.phrase("count_color", color_fields(sampler, label, color))
    return question, counted(label, ids, color), count_truth(ids)


def _state(sampler: SceneSampler) -> tuple[str, str, Truth]:
    i = sampler.pick([i for i in sampler.singles if _state_of(sampler, i) in _OPPOSITES])
    state = _state_of(sampler, i)
    holds = sampler.chance()
    asked = state if holds else _OPPOSITES[state]
    question = sampler.phrase("state", fields_of(sampler.label(i), state=asked))
    return question, *verdict(f"{the(sampler, i)} {be(sampler, i)} {state}", holds, i)


def _state_of(sampler: SceneSampler, i: int) -> str:
    return sampler.scene.attributes[i - 1].get("state", "")


def _colored(sampler: SceneSampler) -> tuple[int, str]:
    """Sample an object whose label is not a color, and a name for it."""
    i, called = sampler.reference(by_side=True)
    if sampler.label(i) in COLORS:
        raise NothingToAskError
    return i, called


def _unknown_color(sampler: SceneSampler, i: int) -> tuple[str, Truth]:
    answer = f"I can't tell the color of {the(sampler, i)}."
    return answer, Truth(cited=frozenset([i]), unanswerable=True)


def _colors_truth(colors: Iterable[str], ids: Iterable[int]) -> Truth:
    return Truth(mentions=frozenset(colors), among=frozenset(COLORS), cited=frozenset(ids))


FORMS: tuple[Form, ...] = (_color, _colors, _is_color, _existence_color, _count_color, _state)
