# SPDX-License-Identifier: Apache-2.0
"""LoRA adapters of the language model: created by peft for training, merged for inference.

Merging needs no peft, which takes a second to import. The names of the weights are those of peft.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from mrmllm_ros.model.checkpoint import CheckpointError
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig

# Beginning of the names of adapters in a checkpoint.
ADAPTERS = "language_model."


def create_adapters(language_model: PreTrainedModel, config: MrMllmConfig) -> PreTrainedModel:
    """Add trainable adapters to all linear layers of a language model, if it has a rank.

    Args:
        language_model: Language model; changed in place.
        config: Rank and scale of the adapters.
    """
    if not config.lora_rank:
        return language_model
    from peft import LoraConfig, inject_adapter_in_model

    adapters = LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules="all-linear"
    )
    return inject_adapter_in_model(adapters, language_model)


def adapter_shapes(
    language_model: PreTrainedModel, config: MrMllmConfig
) -> dict[str, tuple[int, int]]:
    """Shapes of the weights of the adapters by name, for a model without adapters.

    Args:
        language_model: The language model.
        config: Rank of the adapters.
    """
    rank, shapes = config.lora_rank, {}
    for name, layer in _linear_layers(language_model):
        size_out, size_in = _by_output(layer.weight, layer).shape
        down, up = _names(name)
        shapes |= {down: (rank, size_in), up: (size_out, rank)}
    return shapes


@torch.no_grad()
def merge_adapters(
    language_model: PreTrainedModel, config: MrMllmConfig, weights: Mapping[str, torch.Tensor]
) -> None:
    """Add the products of the adapters to the weights of a language model.

    Args:
        language_model: Language model without adapters; changed in place.
        config: Rank and scale of the adapters.
        weights: Weights of a checkpoint by name.

    Raises:
        CheckpointError: If adapters are missing, unexpected or of other sizes.
    """
    own = {k.removeprefix(ADAPTERS): w for k, w in weights.items() if k.startswith(ADAPTERS)}
    expected = set(adapter_shapes(language_model, config).items())
    found = {(name, tuple(weight.shape)) for name, weight in own.items()}
    if expected != found:
        raise CheckpointError(
            f"the adapters do not fit the language model: missing {sorted(expected - found)[:3]}, "
            f"unexpected {sorted(found - expected)[:3]}; export the checkpoint again with mrmllm "
            "train"
        )
    for name, layer in _linear_layers(language_model):
        down, up = (own[each].to(layer.weight.device).float() for each in _names(name))
        _by_output(layer.weight, layer).add_(up @ down * (config.lora_alpha / config.lora_rank))


def _linear_layers(language_model: PreTrainedModel) -> Iterator[tuple[str, nn.Module]]:
    """All linear layers except the output embeddings, as `all-linear` of peft."""
    head = language_model.get_output_embeddings()
    for name, layer in language_model.named_modules():
        if isinstance(layer, (nn.Linear, Conv1D)) and layer is not head:
            yield name, layer


def _names(layer: str) -> tuple[str, str]:
    return tuple(f"{layer}.lora_{side}.default.weight" for side in "AB")


def _by_output(weight: torch.Tensor, layer: nn.Module) -> torch.Tensor:
    """View of a weight as (outputs, inputs)."""
    return weight.T if isinstance(layer, Conv1D) else weight
