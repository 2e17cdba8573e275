# SPDX-License-Identifier: Apache-2.0
"""Distances in meters, where the list states them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import (
    NUMBERS,
    capital,
    cite,
    number_word,
    one,
    plural,
    plural_only,
)
from mrmllm_ros.datasets.questions.phrases import (
    be,
    fields_of,
    polar,
    the,
    two_fields,
)
from mrmllm_ros.datasets.questions.scene_draw import (
    ABOVE,
    MOST_PLACES,
    NEARER,
    Form,
    NothingToAskError,
    SceneDraw,
)
from mrmllm_ros.datasets.questions.vocabulary import is_person

# Least difference in meters between two objects that are compared.
METERS_APART = 0.15
# How often a question about an unknown distance is kept: they all have the same answer.
_UNKNOWN_ASKED = 0.3


def _distance(draw: SceneDraw) -> tuple[str, str, Truth]:
    i, name = draw.referred(by_color=True, by_side=True)
    question = draw.phrase("distance", fields_of(name))
    if not draw.is_known([i]):
        return question, *_unknown_distance(draw, [i])
    return question, f"{_stated(draw, i)}.", _distances_truth(draw, [i])


def _distances(draw: SceneDraw) -> tuple[str, str, Truth]:
    """Distances of all objects of a label, asked in the plural or in the singular."""
    label, ids = draw.pick(draw.groups_of(2, MOST_PLACES))
    name = "distances" if plural_only(label) or draw.chance() else "distance"
    question = draw.phrase(name, fields_of(draw.neutral(label)))
    if not draw.is_known(ids):
        return question, *_unknown_distance(draw, ids)
    pairs = frozenset((i, _meters(draw, i)) for i in ids)
    truth = replace(_distances_truth(draw, ids), pairs=pairs)
    return question, f"{_all_stated(draw, ids)}.", truth


def _distance_to_nearest(draw: SceneDraw) -> tuple[str, str, Truth]:
    """The distance of the nearest of a label; of several, all distances come first."""
    label, ids = draw.pick(draw.groups_of(1, MOST_PLACES))
    if plural_only(label):
        raise NothingToAskError
    i = draw.nearest_of(ids)
    question = draw.phrase("distance_to_nearest", fields_of(draw.neutral(label)))
    if not draw.is_known(ids):
        return question, *_unknown_distance(draw, ids)
    answer = _all_stated(draw, ids)
    if len(ids) > 1:
        answer += f", so the nearest is {cite([i])}, {_meters(draw, i)} away"
    return question, f"{answer}.", replace(_distances_truth(draw, [i]), cited=frozenset(ids))


def _distance_to_nearest_object(draw: SceneDraw) -> tuple[str, str, Truth]:
    i = draw.nearest_of(draw.ids)
    question = draw.phrase("distance_to_nearest", fields_of("object"))
    if not draw.is_known([i]):
        return question, *_unknown_distance(draw, [i])
    return question, f"{_nearest_stated(draw, i)}.", _distances_truth(draw, [i])


def _closer(draw: SceneDraw) -> tuple[str, str, Truth]:
    """Whether one thing is closer than another, or the nearest of its name."""
    label, ids = draw.singular_group()
    other, others = draw.singular_group()
    if label == other or max(len(ids), len(others)) > MOST_PLACES:
        raise NothingToAskError
    name = draw.pick(["closer", "farther"])
    question = draw.phrase(name, fields_of(draw.neutral(label), y=draw.neutral(other)))
    for unknown in (ids, others):
        if draw.has_distances and not draw.is_known(unknown):
            return question, *_unknown_distance(draw, unknown)
    a, b = (draw.nearest_of(group) for group in (ids, others))
    is_closer = _is_closer(draw, a, b)
    holds = is_closer == (name == "closer")
    verdict = f"the {label} is {'closer' if is_closer else 'farther away'}"
    if draw.is_known([*ids, *others]):
        evidence = _both_stated(draw, ids, others)
        cited = (*ids, *others)
    else:
        evidence, cited = _heights_stated(draw, a, b), (a, b)
    answer = f"{evidence}: {verdict}, so {'yes' if holds else 'no'}."
    return question, answer, polar(holds, *cited)


def _both_stated(draw: SceneDraw, ids: Sequence[int], others: Sequence[int]) -> str:
    """`The bus [1] is 6.0 m away and the dogs are [2] 4.0 m, [3] 2.1 m away`."""
    second = _all_stated(draw, others)
    return f"{_all_stated(draw, ids)} and {second[0].lower()}{second[1:]}"


def _heights_stated(draw: SceneDraw, a: int, b: int) -> str:
    """`The bus [1] is 80% down and the nearest dog [3] 40%`.

    Of two things on one floor the one further down in the image is nearer.
    """
    first, second = (_nearest_named(draw, i) for i in (a, b))
    down_a, down_b = draw.places[[a - 1, b - 1], 1]
    return f"{capital(first)} is {down_a}% down and {second} {down_b}%"


def _is_closer(draw: SceneDraw, a: int, b: int) -> bool:
    """Whether one object is closer than another, where that is clear."""
    if draw.is_known([a, b]):
        difference, least = draw.meters[b - 1] - draw.meters[a - 1], METERS_APART
    else:
        lower_edges = draw.scene.boxes[:, 3]
        difference, least = lower_edges[a - 1] - lower_edges[b - 1], ABOVE
    if abs(difference) < least:
        raise NothingToAskError
    return bool(difference > 0)


def _which_closer(draw: SceneDraw) -> tuple[str, str, Truth]:
    a, b = draw.pick(list(permutations(draw.singles, 2)))
    if draw.has_distances and not draw.is_known([a, b]):
        raise NothingToAskError
    word = draw.pick(["closer", "farther"])
    i = a if _is_closer(draw, a, b) == (word == "closer") else b
    question = draw.phrase(f"which_{word}", two_fields(draw, a, b))
    cited, evidence = [i], ""
    if draw.is_known([a, b]):
        cited, evidence = [a, b], f"{_both_stated(draw, [a], [b])}, so "
    answer = f"{evidence}the {word} {be(draw, i)} {the(draw, i)}."
    truth = Truth(
        mentions=frozenset([draw.label(i)]),
        among=frozenset([draw.label(a), draw.label(b)]),
        cited=frozenset(cited),
        cites_answer=not evidence,
    )
    return question, capital(answer), truth


def _existence_within(draw: SceneDraw) -> tuple[str, str, Truth]:
    absent = draw.chance(0.1)
    label, ids = (draw.absent(), ()) if absent else draw.pick(draw.groups_of(1, MOST_PLACES))
    holds = draw.unless_missed(label, draw.chance())
    known = bool(ids) and draw.is_known(ids)
    i = min(ids, key=lambda i: draw.meters[i - 1], default=0)
    _, limit = _limit(draw, draw.meters[i - 1] if known else _some_distance(draw), holds)
    name = label if absent else draw.neutral(label)
    question = draw.phrase("existence_within", fields_of(name, limit=limit))
    if absent:
        return question, f"No, I do not see {one(label)}.", polar(False)
    if not known:
        return question, *_unknown_distance(draw, ids)
    evidence = _all_stated(draw, ids)
    return question, f"{evidence}, so {'yes' if holds else 'no'}.", polar(holds, *ids)


def _any_within(draw: SceneDraw) -> tuple[str, str, Truth]:
    """Whether anything, or anybody, is within a distance."""
    people = [i for i in draw.ids if is_person(draw.label(i))]
    name, ids = draw.pick([("anything_within", draw.ids), ("anybody_within", people)])
    holds = draw.chance()
    if not draw.is_known(ids) or (draw.missed and not holds):
        raise NothingToAskError
    i = draw.nearest_of(ids)
    _, limit = _limit(draw, draw.meters[i - 1], holds)
    answer = f"{_nearest_stated(draw, i)}, so {'yes' if holds else 'no'}."
    return draw.phrase(name, {"limit": limit}), answer, polar(holds, i)


def _is_within(draw: SceneDraw) -> tuple[str, str, Truth]:
    """Whether an object is within a distance, or beyond it."""
    i, called = draw.referred(by_color=True, by_side=True)
    known, is_near = draw.is_known([i]), draw.chance()
    _, limit = _limit(draw, draw.meters[i - 1] if known else _some_distance(draw), is_near)
    name = draw.pick(["is_within", "is_within", "is_beyond"])
    question = draw.phrase(name, fields_of(called, limit=limit))
    if not known:
        return question, *_unknown_distance(draw, [i])
    holds = is_near == (name == "is_within")
    return question, f"{_stated(draw, i)}, so {'yes' if holds else 'no'}.", polar(holds, i)


def _count_within(draw: SceneDraw) -> tuple[str, str, Truth]:
    label, ids = draw.pick(draw.groups_of(2, MOST_PLACES) or draw.groups_of(1, 1))
    known = draw.is_known(ids)
    reference = draw.meters[draw.pick(ids) - 1] if known else _some_distance(draw)
    meters, limit = _limit(draw, reference, draw.chance())
    question = draw.phrase("count_within", fields_of(draw.neutral(label), limit=limit))
    if not known:
        return question, *_unknown_distance(draw, ids)
    distances = draw.meters[[i - 1 for i in ids]]
    if (np.abs(distances - meters) < NEARER).any():
        raise NothingToAskError
    count = int((distances < meters).sum())
    answer = f"{_all_stated(draw, ids)}, so {number_word(count) if count else 'none'}."
    return question, answer, Truth(number=count, cited=frozenset(ids))


def _meters(draw: SceneDraw, i: int) -> str:
    return f"{draw.meters[i - 1]:.1f} m"


def _some_distance(draw: SceneDraw) -> float:
    return float(draw.rng.uniform(1, 8))


def _limit(draw: SceneDraw, meters: float, is_longer: bool) -> tuple[float, str]:
    """A distance in meters that is longer or shorter than a given one, and its text."""
    limit = meters * draw.rng.uniform(*((1.05, 2.0) if is_longer else (0.4, 0.95)))
    if draw.chance(0.6):
        limit = float(np.ceil(limit) if is_longer else np.floor(limit))
    limit = round(limit, 1)
    if limit <= 0 or abs(limit - meters) < NEARER or (limit > meters) != is_longer:
        raise NothingToAskError
    if limit < 1 and draw.chance():
        return limit, f"{limit * 100:.0f} {draw.pick(['cm', 'centimeters'])}"
    unit = "meter" if limit == 1 else "meters"
    if limit.is_integer() and limit < len(NUMBERS) and draw.chance(0.4):
        return limit, f"{number_word(int(limit))} {unit}"
    return limit, f"{limit:g} {draw.pick([unit, unit, 'm'])}"


def _stated(draw: SceneDraw, i: int) -> str:
    """`The dog [3] is 2.1 m away`."""
    return f"{capital(the(draw, i))} {be(draw, i)} {_meters(draw, i)} away"


def _all_stated(draw: SceneDraw, ids: Sequence[int]) -> str:
    """`The dogs are [2] 4.0 m, [3] 2.1 m away`, or of one `The dog [3] is 2.1 m away`."""
    if len(ids) == 1:
        return _stated(draw, ids[0])
    each = ", ".join(f"{cite([i])} {_meters(draw, i)}" for i in ids)
    return f"The {plural(draw.label(ids[0]))} are {each} away"


def _nearest_stated(draw: SceneDraw, i: int) -> str:
    """`The nearest is [4], the dog, 2.1 m away`: the number comes first, as in `_nearest`."""
    return f"The nearest is {cite([i])}, the {draw.label(i)}, {_meters(draw, i)} away"


def _nearest_named(draw: SceneDraw, i: int) -> str:
    """`the dog [3]` or, where there are several, `the nearest dog [3]`."""
    nearest = "nearest " if len(draw.groups[draw.label(i)]) > 1 else ""
    return f"the {nearest}{draw.label(i)} {cite([i])}"


def _distances_truth(draw: SceneDraw, ids: Sequence[int]) -> Truth:
    known = [i for i in draw.ids if draw.is_known([i])]
    return Truth(
        mentions=frozenset(_meters(draw, i) for i in ids),
        among=frozenset(_meters(draw, i) for i in known),
        cited=frozenset(ids),
    )


def _unknown_distance(draw: SceneDraw, ids: Sequence[int]) -> tuple[str, Truth]:
    """The answer about objects of one label none of which has a distance."""
    if any(draw.is_known([i]) for i in ids) or not draw.chance(_UNKNOWN_ASKED):
        raise NothingToAskError
    label = draw.label(ids[0])
    named = f"{the(draw, ids[0])} {be(draw, ids[0])}"
    if len(ids) > 1:
        named = f"the {plural(label)} {cite(ids)} are"
    return f"I can't tell how far {named}.", Truth(cited=frozenset(ids), unanswerable=True)


FORMS: tuple[Form, ...] = (
    *(_distance, _distances, _distance_to_nearest, _distance_to_nearest_object),
    *(_closer, _closer, _which_closer, _is_within, _count_within),
    *(_existence_within, _existence_within, _any_within),
)
# Training asks these more often: a small language model learns them last.
EXTRA = 3
