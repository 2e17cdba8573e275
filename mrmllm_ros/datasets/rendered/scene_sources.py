# SPDX-License-Identifier: Apache-2.0
"""Kinds of scenes: rendered rooms, pairs that differ in context, and cut-outs in photographs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mrmllm_ros.datasets.questions.vocabulary import COCO
from mrmllm_ros.datasets.rendered.context_scenes import ContextScenes, context_labels
from mrmllm_ros.datasets.rendered.cutout_material import (
    Material,
    cutout_nouns,
    load_backdrops,
    load_material,
)
from mrmllm_ros.datasets.rendered.cutouts import Composition, PastedObject, compose
from mrmllm_ros.datasets.rendered.furniture import FurnitureLibrary
from mrmllm_ros.datasets.rendered.ground_truth import VisibleObject, annotate
from mrmllm_ros.datasets.rendered.model_map import SPLITS, Split, read_model_map
from mrmllm_ros.datasets.rendered.scene_renderer import Frame, SceneRenderer, SceneSettings
from mrmllm_ros.weights import WeightsError
from mrmllm_ros.weights.store import locate

Kind = Literal["rooms", "context", "cutouts"]
KINDS: tuple[Kind, ...] = ("rooms", "context", "cutouts")
FURNITURE = "furniture"

# Makes the images of the scene of a number.
SceneSource = Callable[[int], Sequence[Frame]]

_WORN = {"tie"}  # by some persons, without an annotation
_CUTOUT_CREDIT = {"creator": "Tux Paint contributors", "license": "GPL-2.0-or-later"}


@dataclass(frozen=True, kw_only=True)
class SourceSettings:
    """Which scenes to make.

    Attributes:
        kind: Kind of the scenes.
        split: Split of models, surfaces, photographs and statistics.
        seed: Random seed.
        scene: Look of the scenes.
    """

    kind: Kind
    split: Split
    seed: int
    scene: SceneSettings

    def labels(self) -> tuple[str, ...]:
        """All labels that scenes of this kind annotate, in alphabetical order."""
        if self.kind == "cutouts":
            return tuple(sorted(cutout_nouns()))
        # Also COCO's labels that no room has: a detector that reports them is wrong.
        labels = {entry.noun for entry in read_model_map()} | ({*COCO} - _WORN)
        if self.kind == "context":
            labels |= context_labels()
        return tuple(sorted(labels))

    def create(self) -> SceneSource:
        """Open models and renderer.

        Raises:
            WeightsError: If an asset has not been fetched; names the command.
            RenderError: If there is no OpenGL.
        """
        try:
            return self._create()
        except WeightsError as error:
            raise WeightsError(
                f"{error}; `mrmllm models fetch --profile scenes` fetches all of the scenes"
            ) from error

    def _create(self) -> SceneSource:
        if self.kind == "cutouts":
            return CutoutScenes(load_material(self.split), self).frames
        library = FurnitureLibrary.open(locate(FURNITURE))
        views = [x.path for x in load_backdrops(self.split) if x.ground is not None]
        rooms = SceneRenderer(library, views, self.split, self.seed, self.scene)
        if self.kind == "context":
            return ContextScenes(rooms, self.split, self.scene.effects).frames
        return rooms.frames


@dataclass(frozen=True)
class CutoutScenes:
    """Makes scenes of cut-outs in photographs.

    Attributes:
        material: Cut-outs and backdrops of the split.
        settings: Seed and size of the images.
    """

    material: Material
    settings: SourceSettings

    def frames(self, number: int) -> list[Frame]:
        """Compose the scene of a number.

        Args:
            number: Number of the scene, from 0.
        """
        # From 1, because numpy ignores trailing zeros of a seed.
        key = [self.settings.seed, SPLITS.index(self.settings.split), number + 1]
        composed = compose(
            self.material, np.random.default_rng(key), self.settings.scene.resolution_wh
        )
        objects = [
            _annotation(each, index + 1, composed.image)
            for index, each in enumerate(composed.objects)
            if each.visible.any()
        ]
        credits = {x.model: {"title": x.model, **_CUTOUT_CREDIT} for x in composed.objects}
        return [
            Frame(
                image=composed.image,
                depth=None,
                entry={"place": "outdoors", "scene": number},
                objects=[*objects, *_shown(composed)],
                credits=credits,
            )
        ]


def _annotation(pasted: PastedObject, instance: int, image: np.ndarray) -> Mapping[str, Any]:
    inside = int(pasted.whole.sum())
    found = VisibleObject(
        instance=instance,
        noun=pasted.noun,
        family=pasted.family,
        model=pasted.model,
        visible=pasted.visible,
        own_pixels=inside,
        all_pixels=round(inside / max(1 - pasted.truncation, 1e-3)),
    )
    return {"noun": found.noun, **annotate(found, image)}


def _shown(composed: Composition) -> list[Mapping[str, Any]]:
    """Regions with any number of the objects that the photograph itself shows."""
    height, width = composed.image.shape[:2]
    known = cutout_nouns()
    return [
        {"noun": noun, "bbox": [0, 0, width, height], "area": width * height, "iscrowd": 1}
        for noun in composed.backdrop.shows
        if noun in known
    ]
