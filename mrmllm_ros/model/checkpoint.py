# SPDX-License-Identifier: Apache-2.0
"""Find and read MR-MLLM checkpoints."""

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
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig
from mrmllm_ros.settings import Validated, setting
from mrmllm_ros.weights.download import digest

AUTO = "auto"
# Weights of ours that come with the package, for the embedded models.
EMBEDDED_CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "embedded"

_WEIGHTS = "model.safetensors"


class CheckpointError(MrmllmError):
    """A checkpoint cannot be read, or was made for other backbones."""


@dataclass(frozen=True)
class MrMllmSettings(Validated):
    """Trained weights of the fusion model."""

    checkpoint: str = setting(
        AUTO,
        "Trained MR-MLLM weights: embedded (shipped with the package), a folder, or a repository "
        "of the Hugging Face hub. Empty disables the fusion: the language model answers from the "
        "prompt alone. auto selects embedded for the models that these weights were trained with, "
        "and disables the fusion for other models.",
    )
    head_uses_language_model: bool = setting(
        True,
        "Whether the perception head uses the language model, if it was trained to. The language "
        "model then processes every enriched frame, not only frames that questions are about.",
    )

    @property
    def source(self) -> str:
        """Path or repository of the checkpoint."""
        if self.checkpoint == EMBEDDED_CHECKPOINT.name:
            return str(EMBEDDED_CHECKPOINT)
        folder = expand(self.checkpoint)
        return str(folder) if folder.is_dir() else self.checkpoint

    def resolve(self, language_model: str, detector: str, visual_encoder: str) -> MrMllmSettings:
        """Replace `auto` by the checkpoint for the chosen models.

        Args:
            language_model: Setting `language_model.model`.
            detector: Setting `detector.model`.
            visual_encoder: Setting `visual_encoder.model`.
        """
        if self.checkpoint != AUTO:
            return self
        config = read_config(EMBEDDED_CHECKPOINT)
        made_for = (config.language_model, config.detector, config.visual_encoder)
        fits = made_for == (language_model, detector, visual_encoder)
        return replace(self, checkpoint=EMBEDDED_CHECKPOINT.name if fits else "")


def read_config(source: str | Path) -> MrMllmConfig:
    """Read the configuration of a checkpoint, which names the backbones.

    Raises:
        CheckpointError: If the checkpoint is missing or damaged.
    """
    with _reading(source):
        return MrMllmConfig.from_pretrained(source)


def read_weights(source: str | Path) -> dict[str, torch.Tensor]:
    """Read the trained weights of a checkpoint, by name.

    Raises:
        CheckpointError: If the weights are missing or damaged.
    """
    with _reading(source):
        return load_file(cached_file(source, _WEIGHTS))


def checkpoint_digest(source: str | Path) -> str:
    """SHA-256 digest of the trained weights of a checkpoint.

    Raises:
        CheckpointError: If the weights are missing.
    """
    with _reading(source):
        return digest(Path(cached_file(source, _WEIGHTS)))


@contextmanager
def _reading(source: str | Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Missing, damaged and foreign folders raise different exceptions.
        reason = " ".join(str(error).split())
        raise CheckpointError(f"the checkpoint {source} cannot be read: {reason}") from error
