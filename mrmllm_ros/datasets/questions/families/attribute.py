# SPDX-License-Identifier: Apache-2.0
"""Colors and states of objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import cite, counted, one, plural, seen
from mrmllm_ros.datasets.questions.phrases import (
    be,
    color_fields,
    fields_of,
    has_color,
    number,
    polar,
    the,
    yes_no,
)
from mrmllm_ros.datasets.questions.scene_draw import (
    MOST_PLACES,
    Form,
    NothingToAskError,
    SceneDraw,
)
from mrmllm_ros.datasets.questions.vocabulary import STATES, is_person
from mrmllm_ros.model.configuration_mrmllm import COLORS

_OPPOSITES = {a: b for pair in STATES.values() for a, b in (pair, pair[::-1])}


def _color(draw: SceneDraw) -> tuple[str, str, Truth]:
    i, called = _colored(draw)
    label, color = draw.label(i), draw.color(i)
    name = "color_worn" if is_person(label) else "color"
    question = draw.phrase(name, fields_of(called))
    if color is None:
        return question, *_unknown_color(draw, i)
    answer = f"The {label} {cite([i])} {has_color(draw, i, color)}."
    return question, answer, _colors_truth([color], [i])


def _colors(draw: SceneDraw) -> tuple[str, str, Truth]:
    label, ids = draw.pick(draw.groups_of(2, MOST_PLACES))
    colors = draw.colors(ids)
    name, verb = ("colors_worn", "wear") if is_person(label) else ("colors", "are")
    each = ", ".join(f"{cite([i])} {color}" for i, color in zip(ids, colors, strict=True))
    return (
        draw.phrase(name, fields_of(draw.neutral(label))),
        f"The {plural(label)} {verb} {each}.",
        replace(_colors_truth(colors, ids), pairs=frozenset(zip(ids, colors, strict=True))),
    )


def _is_color(draw: SceneDraw) -> tuple[str, str, Truth]:
    i, called = _colored(draw)
    label, color = draw.label(i), draw.color(i)
    holds = draw.unless_missed(label, draw.chance())
    asked = color if color and holds else draw.other_color([color or ""])
    name = "wears_color" if is_person(label) else "is_color"
    question = draw.phrase(name, fields_of(called, color=asked))
    if color is None:
        return question, *_unknown_color(draw, i)
    verb, true = has_color(draw, i, color).split(" ", 1)
    return question, yes_no(the(draw, i), holds, verb, true), polar(holds, i)


def _existence_color(draw: SceneDraw) -> tuple[str, str, Truth]:
    label, color, ids = draw.of_color()
    found = f"Yes, I see {seen(label, ids, color)}." if ids else ""
    return (
        draw.phrase("existence_color", color_fields(draw, label, color)),
        found or f"No, I do not see {one(label, color)}.",
        polar(bool(ids), *ids),
    )


def _count_color(draw: SceneDraw) -> tuple[str, str, Truth]:
    label, color, ids = draw.of_color()
    # More of them may have it where one is unknown.
    draw.colors(draw.groups.get(label, ()))
    question = draw.phrase("count_color", color_fields(draw, label, color))
    return question, counted(label, ids, color), number(ids)


def _state(draw: SceneDraw) -> tuple[str, str, Truth]:
    i = draw.pick([i for i in draw.singles if _state_of(draw, i) in _OPPOSITES])
    state = _state_of(draw, i)
    holds = draw.chance()
    asked = state if holds else _OPPOSITES[state]
    return (
        draw.phrase("state", fields_of(draw.label(i), state=asked)),
        yes_no(the(draw, i), holds, be(draw, i), state),
        polar(holds, i),
    )


def _state_of(draw: SceneDraw, i: int) -> str:
    return draw.scene.attributes[i - 1].get("state", "")


def _colored(draw: SceneDraw) -> tuple[int, str]:
    """An object whose name is no color, and what it is called."""
    i, called = draw.referred(by_side=True)
    if draw.label(i) in COLORS:
        raise NothingToAskError
    return i, called


def _unknown_color(draw: SceneDraw, i: int) -> tuple[str, Truth]:
    answer = f"I can't tell the color of {the(draw, i)}."
    return answer, Truth(cited=frozenset([i]), unanswerable=True)


def _colors_truth(colors: Iterable[str], ids: Iterable[int]) -> Truth:
    return Truth(mentions=frozenset(colors), among=frozenset(COLORS), cited=frozenset(ids))


FORMS: tuple[Form, ...] = (_color, _colors, _is_color, _existence_color, _count_color, _state)
