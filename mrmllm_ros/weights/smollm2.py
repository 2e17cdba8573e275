# SPDX-License-Identifier: Apache-2.0
"""SmolLM2: from a quantized GGUF file to the Hugging Face layout in float32.

Reading the GGUF file takes ten seconds and more; the folder written here loads in a fraction of
one, through `AutoTokenizer.from_pretrained` and `AutoModelForCausalLM.from_pretrained`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig


def convert(files: Mapping[str, Path], directory: Path) -> None:
    """Write model, tokenizer, chat template and generation settings.

    Args:
        files: The origin files by name: one GGUF file.
        directory: The existing folder that receives the Hugging Face layout.
    """
    (gguf,) = files.values()
    source = {"gguf_file": gguf.name, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        **source,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    tokenizer = AutoTokenizer.from_pretrained(
        gguf.parent, **source, model_max_length=model.config.max_position_embeddings
    )
    # GGUF names its way of splitting text ("smollm") instead of describing it, and transformers
    # then splits as GPT-2 does. SmolLM2 was trained with each digit apart from what is before it.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
