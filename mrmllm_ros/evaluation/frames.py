# SPDX-License-Identifier: Apache-2.0
"""Encode evaluation scenes with the fusion model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer, MrMllmEncodedImage
from mrmllm_ros.datasets.candidate_cache import batches
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.training.collator import frame_batch


def encode_examples(
    answerer: MrMllmAnswerer, examples: Sequence[Example]
) -> Iterator[MrMllmEncodedImage]:
    """Encode scenes with or without images, one batch at a time on demand.

    Args:
        answerer: The model.
        examples: The scenes.
    """
    for batch in batches(examples):
        # The targets must not reach the model, not even as labels to choose from.
        frames = frame_batch(answerer.processor, [replace(each, targets=None) for each in batch])
        yield from answerer.encode_batch(frames, [each.perception for each in batch])


def enrich(answerer: MrMllmAnswerer, examples: Sequence[Example]) -> list[EnrichedDetections]:
    """Enrich the detections of scenes with the fusion model."""
    return [encoded.enriched for encoded in encode_examples(answerer, examples)]
