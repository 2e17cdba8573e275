# SPDX-License-Identifier: Apache-2.0
"""Parts for tests of the fusion model."""

from types import SimpleNamespace

import numpy as np
import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from mrmllm_ros.detection.colors import color_names
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Perception

LABELS = ("person", "bus", "dog", "traffic light")
PERCEPTION_WIDTH = 24


class Recorder:
    """`TextListener` that records the pieces of text; a function stops generation."""

    def __init__(self, should_stop=lambda: False):
        self.pieces = []
        self.should_stop = should_stop

    def on_text(self, text):
        self.pieces.append(text)


def make_frames(processor, images, perceptions):
    """Batch of frames with prompts, as in the answerer."""
    attributes = [
        color_names(image, perception.detections)
        for image, perception in zip(images, perceptions, strict=True)
    ]
    return processor.add_prompts(processor.frames(images, perceptions), perceptions, attributes)


def make_perception(count, seed=0, labels=LABELS, width=PERCEPTION_WIDTH):
    """Random objects, sorted by score; half of the scores are below the threshold."""
    random = np.random.default_rng(seed)
    corner, size = random.uniform(0, 300, (count, 2)), random.uniform(20, 180, (count, 2))
    candidates = Detections(
        xyxy=np.hstack([corner, corner + size]).astype(np.float32),
        scores=np.linspace(0.9, 0.05, count, dtype=np.float32),
        labels=tuple(labels[i % len(labels)] for i in range(count)),
        resolution_wh=(640, 480),
    )
    features = torch.from_numpy(random.normal(size=(count, width)).astype(np.float32))
    return Perception(candidates, 0.45, features if width else None)


def make_image(seed=0):
    return np.random.default_rng(seed).integers(0, 255, (480, 640, 3), np.uint8)


def detector_stub(width=PERCEPTION_WIDTH, labels=LABELS):
    """Attributes of a detector that a model uses."""
    return SimpleNamespace(name="stub", revision="1", labels=labels, feature_width=width)


def tiny_llama(vocabulary):
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    )


def tiny_gemma2(vocabulary):
    """Family with other widths, sliding windows, capped logits and scaled embeddings."""
    return Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=vocabulary,
            hidden_size=24,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=12,
        )
    )


TINY = {
    **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2},
}


def tiny_granite(vocabulary):
    """Family with divided logits."""
    return GraniteForCausalLM(GraniteConfig(vocab_size=vocabulary, logits_scaling=4.0, **TINY))


def tiny_cohere(vocabulary):
    """Family with multiplied logits."""
    return CohereForCausalLM(CohereConfig(vocab_size=vocabulary, logit_scale=0.25, **TINY))


def open_up(model):
    """Randomize the outputs that are initialized with zeros."""
    with torch.no_grad():
        if model.head is not None:
            head = model.head
            for name, output in head.outputs.items():
                torch.nn.init.normal_(output.weight, std=0.5 if name == "attribute" else 0.05)
            if head.context is not None:
                torch.nn.init.normal_(head.context[1].weight, std=0.1)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.02)
