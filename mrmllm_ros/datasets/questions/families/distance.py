# SPDX-License-Identifier: Apache-2.0
"""Distances in meters, if the prompt states them."""

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
    indefinite,
    number_word,
    plural,
    plural_only,
)
from mrmllm_ros.datasets.questions.phrases import (
    be,
    denial,
    fields_of,
    the,
    two_fields,
    verdict,
)
from mrmllm_ros.datasets.questions.scene_sampler import (
    MAX_PLACES,
    MIN_DEPTH_GAP,
    MIN_VERTICAL_GAP,
    Form,
    NothingToAskError,
    SceneSampler,
)
from mrmllm_ros.datasets.questions.vocabulary import is_person

# Minimum difference in meters between two compared objects.
MIN_METERS_GAP = 0.15
# Share of questions about unknown distances that are kept: they all have the same answer.
_UNKNOWN_SHARE = 0.3


def _distance(sampler: SceneSampler) -> tuple[str, str, Truth]:
    i, name = sampler.reference(by_color=True, by_side=True)
    question = sampler.phrase("distance", fields_of(name))
    if not sampler.is_known([i]):
        return question, *_unknown_distance(sampler, [i])
    return question, f"{_stated(sampler, i)}.", _distances_truth(sampler, [i])


def _distances(sampler: SceneSampler) -> tuple[str, str, Truth]:
    """Distances of all objects of a label; the question is in the plural or the singular."""
    label, ids = sampler.pick(sampler.groups_of(2, MAX_PLACES))
    name = "distances" if plural_only(label) or sampler.chance() else "distance"
    question = sampler.phrase(name, fields_of(sampler.group_name(label)))
    if not sampler.is_known(ids):
        return question, *_unknown_distance(sampler, ids)
    pairs = frozenset((i, _meters(sampler, i)) for i in ids)
    truth = replace(_distances_truth(sampler, ids), pairs=pairs)
    return question, f"{_all_stated(sampler, ids)}.", truth


def _distance_to_nearest(sampler: SceneSampler) -> tuple[str, str, Truth]:
    """Distance of the nearest object of a label; the answer states all distances first."""
    label, ids = sampler.pick(sampler.groups_of(1, MAX_PLACES))
    if plural_only(label):
        raise NothingToAskError
    i = sampler.nearest_of(ids)
    question = sampler.phrase("distance_to_nearest", fields_of(sampler.group_name(label)))
    if not sampler.is_known(ids):
        return question, *_unknown_distance(sampler, ids)
    answer = _all_stated(sampler, ids)
    if len(ids) > 1:
        answer += f", so the nearest is {cite([i])}, {_meters(sampler, i)} away"
    return question, f"{answer}.", replace(_distances_truth(sampler, [i]), cited=frozenset(ids))


def _distance_to_nearest_object(sampler: SceneSampler) -> tuple[str, str, Truth]:
    i = sampler.nearest_of(sampler.ids)
    question = sampler.phrase("distance_to_nearest", fields_of("object"))
    if not sampler.is_known([i]):
        return question, *_unknown_distance(sampler, [i])
    return question, f"{_nearest_stated(sampler, i)}.", _distances_truth(sampler, [i])


def _closer(sampler: SceneSampler) -> tuple[str, str, Truth]:
    """Whether an object is closer than another; for several of a label, the nearest counts."""
    label, ids = sampler.singular_group()
    other, others = sampler.singular_group()
    if label == other or max(len(ids), len(others)) > MAX_PLACES:
        raise NothingToAskError
    name = sampler.pick(["closer", "farther"])
    question = sampler.phrase(
        name, fields_of(sampler.group_name(label), y=sampler.group_name(other))
    )
    for unknown in (ids, others):
        if sampler.has_distances and not sampler.is_known(unknown):
            return question, *_unknown_distance(sampler, unknown)
    a, b = (sampler.nearest_of(group) for group in (ids, others))
    is_closer = _is_closer(sampler, a, b)
    holds = is_closer == (name == "closer")
    comparison = f"the {label} is {'closer' if is_closer else 'farther away'}"
    if sampler.is_known([*ids, *others]):
        evidence = _both_stated(sampler, ids, others)
        cited = (*ids, *others)
    else:
        evidence, cited = _heights_stated(sampler, a, b), (a, b)
    return question, *verdict(f"{evidence}: {comparison}", holds, *cited)


def _both_stated(sampler: SceneSampler, ids: Sequence[int], others: Sequence[int]) -> str:
    """`The dogs are [3] 2.1 m, [2] 4.0 m away and the bus [1] is 6.0 m away`, nearer first."""
    nearer, farther = sorted(
        (ids, others), key=lambda group: min(sampler.meters[i - 1] for i in group)
    )
    second = _all_stated(sampler, farther)
    return f"{_all_stated(sampler, nearer)} and {second[0].lower()}{second[1:]}"


def _heights_stated(sampler: SceneSampler, a: int, b: int) -> str:
    """`The bus [1] is 80% down and the nearest dog [3] 40%`.

    Of two objects on the same floor, the one further down in the image is nearer.
    """
    first, second = (_nearest_named(sampler, i) for i in (a, b))
    down_a, down_b = sampler.places[[a - 1, b - 1], 1]
    return f"{capital(first)} is {down_a}% down and {second} {down_b}%"


def _is_closer(sampler: SceneSampler, a: int, b: int) -> bool:
    """Whether an object is clearly closer than another.

    Raises:
        NothingToAskError: If the difference is too small.
    """
    if sampler.is_known([a, b]):
        difference, minimum = sampler.meters[b - 1] - sampler.meters[a - 1], MIN_METERS_GAP
    else:
        lower_edges = sampler.scene.boxes[:, 3]
        difference, minimum = lower_edges[a - 1] - lower_edges[b - 1], MIN_VERTICAL_GAP
    if abs(difference) < minimum:
        raise NothingToAskError
    return bool(difference > 0)


def _which_closer(sampler: SceneSampler) -> tuple[str, str, Truth]:
    a, b = sampler.pick(list(permutations(sampler.singles, 2)))
    if sampler.has_distances and not sampler.is_known([a, b]):
        raise NothingToAskError
    word = sampler.pick(["closer", "farther"])
    i = a if _is_closer(sampler, a, b) == (word == "closer") else b
    question = sampler.phrase(f"which_{word}", two_fields(sampler, a, b))
    cited, evidence = [i], ""
    if sampler.is_known([a, b]):
        cited, evidence = [a, b], f"{_both_stated(sampler, [a], [b])}, so "
    answer = f"{evidence}the {word} {be(sampler, i)} {the(sampler, i)}."
    truth = Truth(
        mentions=frozenset([sampler.label(i)]),
        among=frozenset([sampler.label(a), sampler.label(b)]),
        cited=frozenset(cited),
        cites_answer=not evidence,
    )
    return question, capital(answer), truth


def _existence_within(sampler: SceneSampler) -> tuple[str, str, Truth]:
    absent = sampler.chance(0.1)
    label, ids = (
        (sampler.absent(), ()) if absent else sampler.pick(sampler.groups_of(1, MAX_PLACES))
    )
    holds = sampler.unless_missed(label, sampler.chance())
    known = bool(ids) and sampler.is_known(ids)
    i = min(ids, key=lambda i: sampler.meters[i - 1], default=0)
    reference = sampler.meters[i - 1] if known else _some_distance(sampler)
    meters, limit = _limit(sampler, reference, holds)
    name = label if absent else sampler.group_name(label)
    question = sampler.phrase("existence_within", fields_of(name, limit=limit))
    if absent:
        return question, *denial(indefinite(label))
    if not known:
        return question, *_unknown_distance(sampler, ids)
    return question, *verdict(_below_limit(meters, _all_stated(sampler, ids)), holds, *ids)


def _any_within(sampler: SceneSampler) -> tuple[str, str, Truth]:
    """Whether any object, or any person, is within a distance."""
    people = [i for i in sampler.ids if is_person(sampler.label(i))]
    name, ids = sampler.pick([("anything_within", sampler.ids), ("anybody_within", people)])
    holds = sampler.chance()
    if not sampler.is_known(ids) or (sampler.missed and not holds):
        raise NothingToAskError
    i = sampler.nearest_of(ids)
    meters, limit = _limit(sampler, sampler.meters[i - 1], holds)
    question = sampler.phrase(name, {"limit": limit})
    return question, *verdict(_below_limit(meters, _nearest_stated(sampler, i)), holds, i)


def _is_within(sampler: SceneSampler) -> tuple[str, str, Truth]:
    """Whether an object is within or beyond a distance."""
    i, called = sampler.reference(by_color=True, by_side=True)
    known, is_near = sampler.is_known([i]), sampler.chance()
    reference = sampler.meters[i - 1] if known else _some_distance(sampler)
    meters, limit = _limit(sampler, reference, is_near)
    name = sampler.pick(["is_within", "is_within", "is_beyond"])
    question = sampler.phrase(name, fields_of(called, limit=limit))
    if not known:
        return question, *_unknown_distance(sampler, [i])
    holds = is_near == (name == "is_within")
    return question, *verdict(_below_limit(meters, _stated(sampler, i)), holds, i)


def _count_within(sampler: SceneSampler) -> tuple[str, str, Truth]:
    label, ids = sampler.pick(sampler.groups_of(2, MAX_PLACES) or sampler.groups_of(1, 1))
    sampler.require_complete(label)
    known = sampler.is_known(ids)
    reference = sampler.meters[sampler.pick(ids) - 1] if known else _some_distance(sampler)
    meters, limit = _limit(sampler, reference, sampler.chance())
    question = sampler.phrase("count_within", fields_of(sampler.group_name(label), limit=limit))
    if not known:
        return question, *_unknown_distance(sampler, ids)
    distances = sampler.meters[[i - 1 for i in ids]]
    if (np.abs(distances - meters) < MIN_DEPTH_GAP).any():
        raise NothingToAskError
    count = int((distances < meters).sum())
    evidence = _below_limit(meters, _all_stated(sampler, ids))
    answer = f"{evidence}, so {number_word(count) if count else 'none'}."
    return question, answer, Truth(number=count, cited=frozenset(ids))


def _meters(sampler: SceneSampler, i: int) -> str:
    return f"{sampler.meters[i - 1]:.1f} m"


def _some_distance(sampler: SceneSampler) -> float:
    return float(sampler.rng.uniform(1, 8))


def _limit(sampler: SceneSampler, meters: float, is_longer: bool) -> tuple[float, str]:
    """Sample a longer or shorter distance in meters, and its text."""
    limit = meters * sampler.rng.uniform(*((1.05, 2.0) if is_longer else (0.4, 0.95)))
    if sampler.chance(0.6):
        limit = float(np.ceil(limit) if is_longer else np.floor(limit))
    limit = round(limit, 1)
    if limit <= 0 or abs(limit - meters) < MIN_DEPTH_GAP or (limit > meters) != is_longer:
        raise NothingToAskError
    if limit < 1 and sampler.chance():
        return limit, f"{limit * 100:.0f} {sampler.pick(['cm', 'centimeters'])}"
    unit = "meter" if limit == 1 else "meters"
    if limit.is_integer() and limit < len(NUMBERS) and sampler.chance(0.4):
        return limit, f"{number_word(int(limit))} {unit}"
    return limit, f"{limit:g} {sampler.pick([unit, unit, 'm'])}"


def _below_limit(limit: float, stated: str) -> str:
    """`Limit 3.0 m: the dog [3] is 2.1 m away`.

    The limit of the question is repeated in the format of the distances and beside the nearest
    one; a small language model compares digits most reliably there.
    """
    return f"Limit {limit:.1f} m: {stated[0].lower()}{stated[1:]}"


def _stated(sampler: SceneSampler, i: int) -> str:
    """`The dog [3] is 2.1 m away`."""
    return f"{capital(the(sampler, i))} {be(sampler, i)} {_meters(sampler, i)} away"


def _all_stated(sampler: SceneSampler, ids: Sequence[int]) -> str:
    """`The dogs are [3] 2.1 m, [2] 4.0 m away`, nearest first, or `The dog [3] is 2.1 m away`.

    The prompt has this order in its line `nearest first`; a small language model copies an order
    more reliably than it compares numbers.
    """
    if len(ids) == 1:
        return _stated(sampler, ids[0])
    nearest_first = sorted(ids, key=lambda i: sampler.meters[i - 1])
    each = ", ".join(f"{cite([i])} {_meters(sampler, i)}" for i in nearest_first)
    return f"The {plural(sampler.label(ids[0]))} are {each} away"


def _nearest_stated(sampler: SceneSampler, i: int) -> str:
    """`The nearest is [4], the dog, 2.1 m away`: the citation first, as in `nearest`."""
    return f"The nearest is {cite([i])}, the {sampler.label(i)}, {_meters(sampler, i)} away"


def _nearest_named(sampler: SceneSampler, i: int) -> str:
    """`the dog [3]` or, if there are several, `the nearest dog [3]`."""
    nearest = "nearest " if len(sampler.groups[sampler.label(i)]) > 1 else ""
    return f"the {nearest}{sampler.label(i)} {cite([i])}"


def _distances_truth(sampler: SceneSampler, ids: Sequence[int]) -> Truth:
    known = [i for i in sampler.ids if sampler.is_known([i])]
    return Truth(
        mentions=frozenset(_meters(sampler, i) for i in ids),
        among=frozenset(_meters(sampler, i) for i in known),
        cited=frozenset(ids),
    )


def _unknown_distance(sampler: SceneSampler, ids: Sequence[int]) -> tuple[str, Truth]:
    """Answer about objects of one label without distances."""
    if any(sampler.is_known([i]) for i in ids) or not sampler.chance(_UNKNOWN_SHARE):
        raise NothingToAskError
    label = sampler.label(ids[0])
    named = f"{the(sampler, ids[0])} {be(sampler, ids[0])}"
    if len(ids) > 1:
        named = f"the {plural(label)} {cite(ids)} are"
    return f"I can't tell how far {named}.", Truth(cited=frozenset(ids), unanswerable=True)


FORMS: tuple[Form, ...] = (
    *(_distance, _distances, _distance_to_nearest, _distance_to_nearest_object),
    *(_closer, _closer, _which_closer, _is_within, _count_within),
    *(_existence_within, _existence_within, _any_within),
)
EXTRA = 5
