# SPDX-License-Identifier: Apache-2.0
"""Kind of room, where an annotation states it."""

from __future__ import annotations

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import with_article
from mrmllm_ros.datasets.questions.phrases import fields_of, verdict
from mrmllm_ros.datasets.questions.scene_sampler import Form, NothingToAskError, SceneSampler
from mrmllm_ros.datasets.questions.vocabulary import PLACES


def _which_place(sampler: SceneSampler) -> tuple[str, str, Truth]:
    place = _place(sampler)
    truth = Truth(mentions=frozenset([place]), among=PLACES, cited=frozenset())
    return sampler.phrase("place"), f"This is {with_article(place)}.", truth


def _is_place(sampler: SceneSampler) -> tuple[str, str, Truth]:
    place, holds = _place(sampler), sampler.chance()
    asked = place if holds else sampler.pick(sorted(PLACES - {place}))
    question = sampler.phrase("is_place", fields_of(asked))
    return question, *verdict(f"this is {with_article(place)}", holds)


def _place(sampler: SceneSampler) -> str:
    annotation = sampler.scene.annotation
    # Other places, such as outdoors, are not rooms.
    if annotation is None or annotation.place not in PLACES:
        raise NothingToAskError
    return annotation.place


FORMS: tuple[Form, ...] = (_which_place, _which_place, _is_place)
ASKED = "request"
