# SPDX-License-Identifier: Apache-2.0
"""Existence of objects that are in the image and not in the list; answers cannot cite them."""

from __future__ import annotations

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import indefinite
from mrmllm_ros.datasets.questions.phrases import fields_of, yes_no_truth
from mrmllm_ros.datasets.questions.scene_sampler import Form, SceneSampler
from mrmllm_ros.datasets.questions.vocabulary import overlap
from mrmllm_ros.detection.boxes import box_areas

# Minimum area as a share of the image: smaller objects are lost in the tokens of the image.
MIN_AREA = 0.005


def _missed(sampler: SceneSampler) -> tuple[str, str, Truth]:
    labels = {x.label for x in sampler.unlisted if box_areas(x.box[None])[0] >= MIN_AREA}
    named = (*sampler.groups, *sampler.scene.doubtful.values())
    label = sampler.pick([x for x in sorted(labels) if not any(overlap(x, y) for y in named)])
    # The templates of other questions about existence, so that they do not tell the answer.
    question = sampler.phrase("existence", fields_of(sampler.group_name(label)))
    return question, f"Yes, I see {indefinite(label)}.", yes_no_truth(True)


FORMS: tuple[Form, ...] = (_missed,)
ASKED = "request"
