# SPDX-License-Identifier: Apache-2.0
"""Relations between two objects."""

from __future__ import annotations

from itertools import permutations

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import capital
from mrmllm_ros.datasets.questions.phrases import be, the, two_fields, verdict
from mrmllm_ros.datasets.questions.scene_sampler import MIN_VERTICAL_GAP, Form, SceneSampler
from mrmllm_ros.model import prompt

# Minimum horizontal gap between two compared objects, as a share of the image width.
MIN_HORIZONTAL_GAP = 0.08
# Names of the columns of `prompt.grid_positions`.
_AXES = ("across", "down")
# Column of each relation, and its phrase.
_RELATED = {
    "left of": (0, "further left"),
    "right of": (0, "further right"),
    "above": (1, "above"),
    "below": (1, "below"),
}


def _relation(sampler: SceneSampler) -> tuple[str, str, Truth]:
    a, b, words = _related(sampler)
    true, false = words
    holds = sampler.chance()
    fields = two_fields(sampler, a, b, relation=true if holds else false)
    question = sampler.phrase("relation", fields)
    return question, *verdict(_placed(sampler, a, b, true), holds, a, b)


def _which_relation(sampler: SceneSampler) -> tuple[str, str, Truth]:
    a, b, words = _related(sampler)
    first, second = words if sampler.chance() else words[::-1]
    fields = two_fields(sampler, a, b, relation=f"{first.removesuffix(' of')} or {second}")
    choices = frozenset(word.removesuffix(" of") for word in words)
    return (
        sampler.phrase("which_relation", fields),
        f"{_placed(sampler, a, b, words[0])}.",
        Truth(
            mentions=frozenset([words[0].removesuffix(" of")]),
            among=choices,
            cited=frozenset([a, b]),
        ),
    )


def _related(sampler: SceneSampler) -> tuple[int, int, tuple[str, str]]:
    """Sample two objects with the true relation of the first to the second, and the false one."""
    beside = sampler.chance()
    # Of two objects on the same floor, the higher one in the image is higher or farther away.
    boxes = sampler.scene.boxes
    places = prompt.centers_x(boxes) if beside else boxes[:, 3]
    margin = MIN_HORIZONTAL_GAP if beside else MIN_VERTICAL_GAP
    pairs = [
        (a, b)
        for a, b in permutations(sampler.singles, 2)
        if abs(places[a - 1] - places[b - 1]) > margin
    ]
    a, b = sampler.pick(pairs)
    words = ("left of", "right of") if beside else ("above", "below")
    return a, b, words if places[a - 1] < places[b - 1] else words[::-1]


def _placed(sampler: SceneSampler, a: int, b: int, relation: str) -> str:
    """`The dog [3] is 85% across and the door [5] 50%: the dog is further right`.

    Numbers that have been copied from the list are easily compared.
    """
    axis, how = _RELATED[relation]
    of_a, of_b = sampler.places[[a - 1, b - 1], axis]
    verb = be(sampler, a)
    where = f"{the(sampler, a)} {verb} {of_a}% {_AXES[axis]} and {the(sampler, b)} {of_b}%"
    return f"{capital(where)}: the {sampler.label(a)} {verb} {how}"


FORMS: tuple[Form, ...] = (_relation, _relation, _which_relation)
EXTRA = 2
