# SPDX-License-Identifier: Apache-2.0
"""Phrases about the objects of a scene, and truths to score answers by."""

from __future__ import annotations

from collections.abc import Sequence

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import (
    capital,
    cite,
    ids_of,
    in_color,
    mention_all,
    on_side,
    plural,
    verbs,
    with_article,
)
from mrmllm_ros.datasets.questions.scene_sampler import Group, SceneSampler
from mrmllm_ros.datasets.questions.vocabulary import is_person


def fields_of(label: str, **more: str) -> dict[str, str]:
    """Fields of templates that describe an object; see `templates.yaml`."""
    is_, does = verbs(label)
    return {
        "x": label,
        "xs": plural(label),
        "a_x": with_article(label),
        "Is": is_,
        "Is_cap": is_.capitalize(),
        "Does": does,
        "Does_cap": does.capitalize(),
        **more,
    }


def color_fields(sampler: SceneSampler, label: str, color: str) -> dict[str, str]:
    """Fields of templates that describe an object by its color."""
    name = sampler.group_name(label)
    a_red_x = with_article(name, color)
    if is_person(label):
        a_red_x = f"{with_article(name)} {sampler.phrase('dressed', {'color': color})}"
    return fields_of(
        name,
        color=color,
        red_x=sampler.colored_name(label, color),
        red_xs=in_color(label, plural(name), color),
        a_red_x=a_red_x,
    )


def two_fields(sampler: SceneSampler, a: int, b: int, **more: str) -> dict[str, str]:
    """Fields of templates that name two objects."""
    names = (sampler.name(sampler.label(i)) for i in (a, b))
    return fields_of(next(names), y=next(names), **more)


def the(sampler: SceneSampler, i: int) -> str:
    """A reference such as `the dog [3]`."""
    return f"the {sampler.label(i)} {cite([i])}"


def be(sampler: SceneSampler, i: int) -> str:
    """The form of "be" that agrees with an object."""
    return verbs(sampler.label(i))[0]


def has_color(sampler: SceneSampler, i: int, color: str) -> str:
    """A predicate such as `is red`, or for a person `wears red`."""
    return f"wears {color}" if is_person(sampler.label(i)) else f"{be(sampler, i)} {color}"


def verdict(evidence: str, holds: bool, *ids: int) -> tuple[str, Truth]:
    """Answer such as `The dog [3] is on the left, so no.`, and its truth."""
    return f"{capital(evidence)}, so {'yes' if holds else 'no'}.", yes_no_truth(holds, *ids)


def denial(phrase: str) -> tuple[str, Truth]:
    """Answer such as `No, I do not see a dog.`, and its truth."""
    return f"No, I do not see {phrase}.", yes_no_truth(False)


def perhaps(sampler: SceneSampler, doubtful: Sequence[Group]) -> tuple[str, Truth]:
    """Answer such as `Perhaps I see a dog [3].` about doubtful objects, and its truth."""
    answer = sampler.phrase("perhaps", {"found": mention_all(doubtful)})
    return answer, yes_no_truth(True, *ids_of(doubtful))


def places(sampler: SceneSampler, label: str, ids: Sequence[int]) -> str:
    """`The dog [3] is on the left`, or `The dogs are [1] in the middle, [3] on the left`."""
    if len(ids) == 1:
        return f"The {label} {cite(ids)} {verbs(label)[0]} {on_side(sampler.side(ids[0]))}"
    places = ", ".join(f"{cite([i])} {on_side(sampler.side(i))}" for i in ids)
    return f"The {plural(label)} are {places}"


def yes_no_truth(holds: bool, *ids: int) -> Truth:
    """Truth of a yes-or-no answer that cites these objects."""
    return Truth(polarity=holds, cited=frozenset(ids))


def citation_truth(i: int) -> Truth:
    """Truth of an answer that is a citation."""
    return Truth(cited=frozenset([i]), cites_answer=True)


def name_truth(sampler: SceneSampler, i: int) -> Truth:
    """Truth of an answer that names and cites one object."""
    return Truth(
        mentions=frozenset([sampler.label(i)]),
        among=frozenset(sampler.groups),
        cited=frozenset([i]),
        cites_answer=True,
    )


def count_truth(ids: Sequence[int]) -> Truth:
    """Truth of an answer that counts these objects."""
    return Truth(number=len(ids), cited=frozenset(ids))
