# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: which one, what it was made for, and its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers.utils import cached_file

from mrmllm_ros.environment import expand
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig
from mrmllm_ros.settings import Validated, setting

AUTO = "auto"
# Weights of ours that come with the package, for the embedded models.
EMBEDDED_CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "embedded"

_WEIGHTS = "model.safetensors"


class CheckpointError(MrmllmError):
    """A checkpoint cannot be read or was made for other backbones; the message says which."""


@dataclass(frozen=True)
class MrMllmSettings(Validated):
    """Which trained weights."""

    checkpoint: str = setting(
        AUTO,
        "Trained MR-MLLM weights: embedded (those that come with the package), a folder, or a "
        "repository of the Hugging Face hub. Empty leaves the fusion out: the language model "
        "answers from the prompt alone. auto takes the embedded ones with the models that they "
        "were made for, and none with others.",
    )
    head_reads: bool = setting(
        True,
        "Whether the perception head, where it has learnt to, judges also by what the language "
        "model has read, which then reads every enriched frame and not only those that are asked "
        "about.",
    )

    @property
    def source(self) -> str:
        """The checkpoint, its folder opened."""
        if self.checkpoint == EMBEDDED_CHECKPOINT.name:
            return str(EMBEDDED_CHECKPOINT)
        folder = expand(self.checkpoint)
        return str(folder) if folder.is_dir() else self.checkpoint

    def resolve(self, language_model: str, detector: str, visual_encoder: str) -> MrMllmSettings:
        """These settings without `auto`.

        Args:
            language_model: What the user named.
            detector: What the user named.
            visual_encoder: What the user named.
        """
        if self.checkpoint != AUTO:
            return self
        config = read_config(EMBEDDED_CHECKPOINT)
        made_for = (config.language_model, config.detector, config.visual_encoder)
        fits = made_for == (language_model, detector, visual_encoder)
        return replace(self, checkpoint=EMBEDDED_CHECKPOINT.name if fits else "")


def read_config(source: str | Path) -> MrMllmConfig:
    """The configuration of a checkpoint, which says what backbones it needs.

    Raises:
        CheckpointError: If there is none or it is damaged.
    """
    with _reading(source):
        return MrMllmConfig.from_pretrained(source)


def read_weights(source: str | Path) -> dict[str, torch.Tensor]:
    """The trained weights of a checkpoint, by name.

    Raises:
        CheckpointError: If there are none or they are damaged.
    """
    with _reading(source):
        return load_file(cached_file(source, _WEIGHTS))


@contextmanager
def _reading(source: str | Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # A missing, a damaged and a foreign folder each fail in their own way.
        reason = " ".join(str(error).split())
        raise CheckpointError(f"the checkpoint {source} cannot be read: {reason}") from error


def check_backbones(config: MrMllmConfig, backbones: Backbones) -> None:
    """Check that a configuration is for these backbones.

    Raises:
        CheckpointError: If one is missing, or another one or another revision is needed.
    """
    needed = ["language_model"]
    needed += ["visual_encoder"] if config.needs_image else []
    needed += ["detector"] if config.has_queries and config.detector else []
    for field in needed:
        kind = field.replace("_", " ")
        wanted = (getattr(config, field), getattr(config, f"{field}_revision"))
        backbone = getattr(backbones, field)
        if backbone is None:
            raise CheckpointError(f"the {kind} {_named(*wanted)} is needed and not loaded")
        given = (backbone.name, backbone.revision)
        same_state = "" in (wanted[1], given[1]) or wanted[1] == given[1]
        if wanted[0] != given[0] or not same_state:
            raise CheckpointError(
                f"made for the {kind} {_named(*wanted)}, not for {_named(*given)}; name the right "
                f"one with the parameter {field}.model, or another checkpoint"
            )
    detector_width = backbones.detector.feature_width
    if "detector" in needed and detector_width != config.perception_width:
        raise CheckpointError(
            f"made for features of width {config.perception_width}, and the detector "
            f"{backbones.detector.name!r} gives {detector_width or 'none'}; name the file that it "
            "was trained with by the parameter detector.model"
        )


def _named(name: str, revision: str) -> str:
    return f"{name!r}, revision {revision}" if revision else repr(name)
