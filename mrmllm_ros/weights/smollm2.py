# SPDX-License-Identifier: Apache-2.0
"""Convert SmolLM2 from a quantized GGUF file to the Hugging Face layout in float32.

Transformers needs more than ten seconds to read the GGUF file, and less than one for the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig


def convert(files: Mapping[str, Path], directory: Path) -> None:
    """Write model, tokenizer, chat template and generation configuration.

    Args:
        files: Downloaded files by name: a GGUF file.
        directory: Existing output folder.
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
    # GGUF only names the pre-tokenizer ("smollm"), and transformers falls back to that of GPT-2.
    # SmolLM2 was trained with individual digits.
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
