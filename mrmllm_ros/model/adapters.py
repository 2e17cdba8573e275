# SPDX-License-Identifier: Apache-2.0
"""LoRA adapters of the language model: added for training, merged for inference."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from transformers import PreTrainedModel

from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig

# Beginning of the adapters' names in a checkpoint.
PREFIX = "language_model."
_A, _B = ".lora_A.default.weight", ".lora_B.default.weight"


def add_adapters(language_model: PreTrainedModel, config: MrMllmConfig) -> PreTrainedModel:
    """Add trainable adapters to all linear layers of a language model, in place.

    Args:
        language_model: The language model.
        config: Configuration of the fusion model.
    """
    # Only for training: the import takes a second.
    from peft import LoraConfig, inject_adapter_in_model

    adapters = LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules="all-linear"
    )
    return inject_adapter_in_model(adapters, language_model)


@torch.no_grad()
def merge_adapters(
    language_model: PreTrainedModel, weights: Mapping[str, torch.Tensor], config: MrMllmConfig
) -> None:
    """Add the adapters of a checkpoint to the weights of a language model, in place.

    Args:
        language_model: Language model without adapters.
        weights: Weights of the checkpoint by name.
        config: Configuration of the checkpoint.
    """
    for name in weights:
        if not name.endswith(_A):
            continue
        layer = name.removesuffix(_A)
        weight = language_model.get_submodule(layer.removeprefix(PREFIX)).weight
        a, b = (weights[f"{layer}{part}"].to(weight) for part in (_A, _B))
        weight += b @ a * (config.lora_alpha / config.lora_rank)
