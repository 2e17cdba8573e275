# SPDX-License-Identifier: Apache-2.0
"""Objects that other objects hide in part, where an annotation says so."""

from __future__ import annotations

from itertools import permutations

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.phrases import (
    be,
    fields_of,
    name_truth,
    the,
    two_fields,
    verdict,
)
from mrmllm_ros.datasets.questions.scene_sampler import Form, NothingToAskError, SceneSampler

# Occlusion above which an object is partly hidden, and below which it is in full view. Values
# between them are not asked about.
HIDDEN_ABOVE, VISIBLE_BELOW = 0.4, 0.05


def _is_hidden(sampler: SceneSampler) -> tuple[str, str, Truth]:
    i, called, hidden = _known(sampler)
    question = sampler.phrase("is_hidden", fields_of(called))
    return question, *verdict(_stated(sampler, i, hidden), hidden, i)


def _is_visible(sampler: SceneSampler) -> tuple[str, str, Truth]:
    i, called, hidden = _known(sampler)
    question = sampler.phrase("is_visible", fields_of(called))
    return question, *verdict(_stated(sampler, i, hidden), not hidden, i)


def _which_hidden(sampler: SceneSampler) -> tuple[str, str, Truth]:
    a, b = sampler.pick(
        [
            (a, b)
            for a, b in permutations(sampler.singles, 2)
            if {is_hidden(sampler, a), is_hidden(sampler, b)} == {True, False}
        ]
    )
    i = a if is_hidden(sampler, a) else b
    answer = f"The hidden one {be(sampler, i)} {the(sampler, i)}."
    return (
        sampler.phrase("which_hidden", two_fields(sampler, a, b)),
        answer,
        name_truth(sampler, i),
    )


def is_hidden(sampler: SceneSampler, i: int) -> bool | None:
    """Whether an object is partly hidden; None if that is unknown or unclear."""
    if sampler.scene.annotation is None:
        return None
    occlusion = sampler.scene.annotation.occlusion[i - 1]
    if occlusion > HIDDEN_ABOVE:
        return True
    return False if occlusion < VISIBLE_BELOW else None


def _known(sampler: SceneSampler) -> tuple[int, str, bool]:
    """Sample an object with a name for it, and whether it is hidden."""
    i, called = sampler.reference(by_color=True, by_side=True)
    hidden = is_hidden(sampler, i)
    # Few objects are hidden: where there are any, most questions are about them.
    some = any(is_hidden(sampler, other) for other in sampler.ids)
    if hidden is None or (some and not hidden and sampler.chance(0.7)):
        raise NothingToAskError
    return i, called, hidden


def _stated(sampler: SceneSampler, i: int, hidden: bool) -> str:
    return f"{the(sampler, i)} {be(sampler, i)} {'partly hidden' if hidden else 'in full view'}"


FORMS: tuple[Form, ...] = (_is_hidden, _is_visible, _which_hidden)
EXTRA = 1
ASKED = "annotation"
