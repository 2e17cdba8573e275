# SPDX-License-Identifier: Apache-2.0
"""Questions that the object list cannot answer."""

from __future__ import annotations

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import indefinite, plural_only
from mrmllm_ros.datasets.questions.phrases import fields_of, perhaps, yes_no_truth
from mrmllm_ros.datasets.questions.scene_sampler import Form, NothingToAskError, SceneSampler
from mrmllm_ros.datasets.questions.vocabulary import is_person

CANNOT_TELL = "I can't tell that from what I see."


def _cannot_tell(sampler: SceneSampler) -> tuple[str, str, Truth]:
    labels = [label for label in sampler.groups if not plural_only(label)]
    if not labels or sampler.chance(0.4):
        return sampler.phrase("unanswerable"), CANNOT_TELL, Truth(unanswerable=True)
    label = sampler.pick(labels)
    called = sampler.name(label)
    if sampler.chance():
        i, called = sampler.reference(by_color=True, by_side=True)
        label = sampler.label(i)
    name = "unanswerable_person" if is_person(label) else "unanswerable_thing"
    return sampler.phrase(name, fields_of(called)), CANNOT_TELL, Truth(unanswerable=True)


def _presupposed(sampler: SceneSampler) -> tuple[str, str, Truth]:
    """A question about an absent or doubtful object, or about a color that no object has."""
    color, doubtful = None, sampler.doubtful_group()
    if doubtful:
        label, _ = doubtful
    elif sampler.chance(0.4):
        label, color, ids = sampler.label_of_color()
        if ids or plural_only(label):
            raise NothingToAskError
    else:
        label = sampler.absent()
    named = sampler.colored_name(label, color) if color else sampler.described_name(label)
    worn = "color_worn" if is_person(label) else "color"
    name = sampler.pick(["where", "distance"] if color else ["where", "distance", worn])
    question = sampler.phrase(name, fields_of(named))
    if doubtful:
        # The list states no more than its label.
        return question, *perhaps(sampler, [doubtful])
    return question, f"I do not see {indefinite(label, color)}.", yes_no_truth(False)


FORMS: tuple[Form, ...] = (_cannot_tell, _presupposed)
