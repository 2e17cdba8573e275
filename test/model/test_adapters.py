# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import pytest
import torch
from making import tiny_llama

from mrmllm_ros.model.adapters import PREFIX, merge_adapters

CONFIG = SimpleNamespace(lora_rank=2, lora_alpha=6)
LAYER = "model.layers.0.mlp.up_proj"


def adapters(layer):
    generator = torch.Generator().manual_seed(1)
    return {
        f"{PREFIX}{layer}.lora_A.default.weight": torch.randn(2, 32, generator=generator),
        f"{PREFIX}{layer}.lora_B.default.weight": torch.randn(64, 2, generator=generator),
    }


def test_the_scaled_product_of_the_matrices_is_added():
    model, weights = tiny_llama(8), adapters(LAYER)
    before = model.get_submodule(LAYER).weight.detach().clone()
    merge_adapters(model, weights, CONFIG)
    a, b = weights.values()
    torch.testing.assert_close(model.get_submodule(LAYER).weight - before, 3 * b @ a)


def test_other_weights_of_a_checkpoint_are_ignored():
    model = tiny_llama(8)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    merge_adapters(model, {"head.bias": torch.ones(1)}, CONFIG)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_adapters_of_a_layer_that_does_not_exist_are_an_error():
    with pytest.raises(AttributeError, match="nowhere"):
        merge_adapters(tiny_llama(8), adapters("nowhere"), CONFIG)
