# SPDX-License-Identifier: Apache-2.0
"""Scenes as the fusion model reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer, MrMllmReading
from mrmllm_ros.datasets.candidate_cache import batches
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.training.collator import frame_batch


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
