# SPDX-License-Identifier: Apache-2.0
"""Find and read MR-MLLM checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers.utils import cached_file

from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig

_WEIGHTS = "model.safetensors"


class CheckpointError(MrmllmError):
    """A checkpoint cannot be read, or was made for other backbones."""


def read_config(source: str | Path) -> MrMllmConfig:
    """Read the configuration of a checkpoint, which names the backbones.

    Raises:
        CheckpointError: If the checkpoint is missing or damaged.
    """
    with _encoded(source):
        return MrMllmConfig.from_pretrained(source)


def read_weights(source: str | Path) -> dict[str, torch.Tensor]:
    """Read the trained weights of a checkpoint, by name.

    Raises:
        CheckpointError: If the weights are missing or damaged.
    """
    with _encoded(source):
        return load_file(cached_file(source, _WEIGHTS))


@contextmanager
def _encoded(source: str | Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Missing, damaged and foreign folders raise different exceptions.
        reason = " ".join(str(error).split())
        raise CheckpointError(f"the checkpoint {source} cannot be read: {reason}") from error


def check_backbones(config: MrMllmConfig, backbones: Backbones) -> None:
    """Check that a configuration was made for these backbones.

    Raises:
        CheckpointError: If a backbone is missing, or its name or revision differs.
    """
    needed = ["language_model"]
    needed += ["visual_encoder"] if config.needs_image else []
    needed += ["detector"] if config.has_queries and config.detector else []
    for field in needed:
        kind = field.replace("_", " ")
        wanted = (getattr(config, field), getattr(config, f"{field}_revision"))
        backbone = getattr(backbones, field)
        if backbone is None:
            raise CheckpointError(f"the {kind} {_named(*wanted)} is required but not loaded")
        given = (backbone.name, backbone.revision)
        same_state = "" in (wanted[1], given[1]) or wanted[1] == given[1]
        if wanted[0] != given[0] or not same_state:
            raise CheckpointError(
                f"made for the {kind} {_named(*wanted)}, not for {_named(*given)}; set the "
                f"parameter {field}.model to it, or choose another checkpoint"
            )
    detector_width = backbones.detector.feature_width
    if "detector" in needed and detector_width != config.perception_hidden_size:
        raise CheckpointError(
            f"made for detector features of size {config.perception_hidden_size}, but the "
            f"detector {backbones.detector.name!r} gives {detector_width or 'none'}; set "
            "the parameter detector.model to the detector that the checkpoint was trained with"
        )


def _named(name: str, revision: str) -> str:
    return f"{name!r}, revision {revision}" if revision else repr(name)
