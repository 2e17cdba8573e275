# SPDX-License-Identifier: Apache-2.0
"""A tiny vision-language model that answers with random words."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from mrmllm_ros.answering.vlm_answerer import INSTRUCTION

SPECIAL = ["<pad>", "<|end|>", "<|user|>", "<|answer|>", "<image>"]
TEMPLATE = (
    "{% for message in messages %}<|user|>{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|end|>{% endfor %}{% if add_generation_prompt %}<|answer|>{% endif %}"
)
PATCHES = 16
LAYERS = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def make_tokenizer():
    """Byte-level tokenizer for any text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=SPECIAL,
        show_progress=False,
    )
    tokenizer.train_from_iterator([INSTRUCTION], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<|end|>",
        additional_special_tokens=["<|user|>", "<|answer|>", "<image>"],
    )


def make_model(tokenizer):
    torch.manual_seed(2)
    ids = dict(zip(("pad_token_id", "eos_token_id"), range(2), strict=True))
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(**LAYERS, image_size=32, patch_size=8),
            text_config=LlamaConfig(
                **LAYERS, vocab_size=len(tokenizer), initializer_range=0.3, **ids
            ),
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            vision_feature_select_strategy="default",
            **ids,
        )
    )
    # Special tokens and single bytes are unlikely, so that answers consist of words.
    words = len(SPECIAL) + 256
    model.lm_head.weight.data[:words] = 0
    return model


def save_tiny_vlm(folder):
    """Save model and processor for transformers."""
    tokenizer = make_tokenizer()
    make_model(tokenizer).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    LlavaProcessor(
        CLIPImageProcessor(size=size, crop_size=size),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
