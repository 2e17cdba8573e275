# SPDX-License-Identifier: Apache-2.0
"""Scenes as models read them; images are perceived once for all variants of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.mrmllm_answerer import MrMllmAnswerer, MrMllmReading
from mrmllm_ros.model.processing_mrmllm import stated_attributes
from mrmllm_ros.perception.enriched_detections import EnrichedDetections
from mrmllm_ros.training.collation import frame_batch
from mrmllm_ros.training.data.example import Example
from mrmllm_ros.training.data.real_frames import batches


@torch.inference_mode()
def perceive(images: Iterable[np.ndarray], backbones: Backbones) -> list[Example]:
    """What the frozen models make of images, without questions.

    Args:
        images: (H, W, 3) uint8 arrays in BGR order; read one batch at a time.
        backbones: The detector, and the visual encoder where there is one.
    """
    return [example for batch in batches(images) for example in _perceive(batch, backbones)]


def read(answerer: MrMllmAnswerer, examples: Sequence[Example]) -> Iterator[MrMllmReading]:
    """Have the fusion model read scenes with or without images.

    Args:
        answerer: The model.
        examples: The scenes; read one batch at a time, as readings are asked for.
    """
    for batch in batches(examples):
        # Nothing of what should be found may reach the model, not even as a label to choose.
        frames = frame_batch(answerer.processor, [replace(each, targets=None) for each in batch])
        yield from answerer.read_frames(frames, [each.perception for each in batch])


def enrich(answerer: MrMllmAnswerer, examples: Sequence[Example]) -> list[EnrichedDetections]:
    """What the fusion model makes of what was perceived in images."""
    return [reading.enriched for reading in read(answerer, examples)]


def _perceive(images: Sequence[np.ndarray], backbones: Backbones) -> list[Example]:
    perceptions = backbones.detector.detect(images)
    encoder = backbones.visual_encoder
    tokens: Sequence[torch.Tensor | None] = [None] * len(images)
    if encoder is not None:
        # Cloned: a view would keep the tokens of the whole batch.
        tokens = [each.clone() for each in encoder(encoder.preprocess(images))]
    return [
        Example(
            perception=perception,
            attributes=stated_attributes(image, perception.candidates),
            questions=(),
            visual=visual,
        )
        for image, perception, visual in zip(images, perceptions, tokens, strict=True)
    ]
