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
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig
from mrmllm_ros.weights.download import digest

_WEIGHTS = "model.safetensors"


class CheckpointError(MrmllmError):
    """A checkpoint cannot be read, or was made for other backbones."""


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
