# SPDX-License-Identifier: Apache-2.0
"""Kinds of scenes: rendered rooms, cut-outs in photographs, and pairs that differ in context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from mrmllm_ros.datasets.rendered.furniture import FurnitureLibrary
from mrmllm_ros.datasets.rendered.model_map import Split, read_model_map
from mrmllm_ros.datasets.rendered.scene_renderer import Frame, SceneRenderer, SceneSettings
from mrmllm_ros.weights import locate

Kind = Literal["rooms"]
KINDS: tuple[Kind, ...] = ("rooms",)
FURNITURE = "furniture"

# Makes the images of the scene of a number.
SceneSource = Callable[[int], Sequence[Frame]]


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
        return tuple(sorted({entry.noun for entry in read_model_map()}))

    def create(self) -> SceneSource:
        """Open models and renderer.

        Raises:
            WeightsError: If the models have not been fetched; names the command.
            RenderError: If there is no OpenGL.
        """
        library = FurnitureLibrary.open(locate(FURNITURE))
        return SceneRenderer(library, [], self.split, self.seed, self.scene).frames
