# SPDX-License-Identifier: Apache-2.0
"""Small random language models of the families that have an int8 form."""

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

VOCABULARY = 96
_SIZES = {
    **{"vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96},
    **{"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
    **{"max_position_embeddings": 512},
}
FAMILIES = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**_SIZES)),
    "llama with biases": lambda: LlamaForCausalLM(
        LlamaConfig(attention_bias=True, mlp_bias=True, tie_word_embeddings=True, **_SIZES)
    ),
    "mistral": lambda: MistralForCausalLM(
        MistralConfig(sliding_window=None, head_dim=32, **_SIZES)
    ),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**_SIZES)),
}


def tiny(family):
    """A model with large random weights, so that tokens differ."""
    torch.manual_seed(4)
    model = FAMILIES[family]().eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
        elif name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.1)
    return model
