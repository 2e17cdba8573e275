# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import pytest
import torch
from making import tiny_llama
from transformers import GPT2Config, GPT2LMHeadModel

from mrmllm_ros.model.adapters import (
    ADAPTERS,
    adapter_shapes,
    create_adapters,
    merge_adapters,
)
from mrmllm_ros.model.checkpoint import CheckpointError

CONFIG = SimpleNamespace(lora_rank=2, lora_alpha=6)


def tiny_gpt2():
    """Has layers with transposed weights."""
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=50, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    )


@pytest.mark.parametrize("make", [lambda: tiny_llama(50), tiny_gpt2], ids=["llama", "gpt2"])
def test_merged_adapters_equal_those_of_peft(make):
    torch.manual_seed(0)
    plain = make().eval()
    weights = {name: weight.clone() for name, weight in plain.state_dict().items()}
    shapes = adapter_shapes(plain, CONFIG)
    adapters = {name: torch.randn(shape) * 0.1 for name, shape in shapes.items()}
    checkpoint = {f"{ADAPTERS}{name}": weight for name, weight in adapters.items()}
    merge_adapters(plain, CONFIG, checkpoint | {"head.bias": torch.ones(1)})

    reference = make().eval()
    reference.load_state_dict(weights)
    reference = create_adapters(reference, CONFIG)
    own = reference.state_dict()
    assert {name: tuple(w.shape) for name, w in own.items() if "lora_" in name} == shapes
    reference.load_state_dict(adapters, strict=False)
    ids = torch.arange(8)[None]
    with torch.inference_mode():
        torch.testing.assert_close(plain(ids).logits, reference(ids).logits, atol=1e-5, rtol=1e-4)


def test_without_a_rank_the_language_model_stays_as_it_is():
    model = tiny_llama(50)
    assert create_adapters(model, SimpleNamespace(lora_rank=0)) is model
    assert not any("lora" in name for name in model.state_dict())


def test_adapters_that_do_not_fit_are_named():
    with pytest.raises(CheckpointError, match=r"missing .*lora_A.*unexpected .*nowhere"):
        merge_adapters(tiny_llama(8), CONFIG, {f"{ADAPTERS}nowhere": torch.ones(1)})
