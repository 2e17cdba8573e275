# SPDX-License-Identifier: Apache-2.0
"""Candidates and features of images, computed once by the frozen models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

import numpy as np
import torch

from mrmllm_ros.datasets.example import Example
from mrmllm_ros.detection.colors import color_names
from mrmllm_ros.detection.detector import Detector
from mrmllm_ros.model.label_fusion import LabelFusion
from mrmllm_ros.model.visual_encoder import VisualEncoder

T = TypeVar("T")

_BATCH = 4


def batches(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    """Split items into batches for the models."""
    remaining = iter(items)
    while batch := tuple(islice(remaining, _BATCH)):
        yield batch


def compute_candidates(
    images: Iterable[np.ndarray],
    detector: Detector,
    encoder: VisualEncoder | None,
    label_fusion: LabelFusion | None = None,
) -> Iterator[Example]:
    """Run the detector and the visual encoder on images.

    Args:
        images: (H, W, 3) uint8 arrays in BGR order; sizes may differ. Read one batch at a time.
        detector: Detector of the candidates.
        encoder: Encoder of the tokens `V_m`, or None for examples without them.
        label_fusion: Names the regions of candidates; None for examples without names.

    Yields:
        An example of each image, without questions and targets.
    """
    for batch in batches(images):
        yield from _compute_batch(batch, detector, encoder, label_fusion)


@torch.no_grad()
def _compute_batch(
    images: Sequence[np.ndarray],
    detector: Detector,
    encoder: VisualEncoder | None,
    label_fusion: LabelFusion | None,
) -> list[Example]:
    visual: Sequence[torch.Tensor | None] = [None] * len(images)
    if encoder is not None:
        # Cloned: a view would keep the tokens of the whole batch.
        visual = [tokens.clone() for tokens in encoder(encoder.preprocess(images))]
    perceptions = detector.detect(images)
    names: Sequence[np.ndarray | None] = [None] * len(images)
    if label_fusion is not None:
        names = label_fusion.classify(images, perceptions)
    return [
        Example(
            # Deferred features would keep the maps of the network.
            perception=replace(perception, box_features=perception.features),
            attributes=color_names(image, perception.candidates),
            questions=(),
            visual=tokens,
            region_names=of_regions,
        )
        for image, perception, tokens, of_regions in zip(
            images, perceptions, visual, names, strict=True
        )
    ]


def fuse_labels(example: Example, fusion: LabelFusion) -> tuple[Example, np.ndarray]:
    """Correct the labels of an example with names of regions; its questions do not change.

    Args:
        example: Example of `compute_candidates`, with K candidates.
        fusion: Correction of the labels.

    Returns:
        The example with M of the candidates, and their (M,) indices among the K.
    """
    perception, order = fusion.fuse(example.perception, example.region_names)
    attributes = tuple(example.attributes[i] for i in order)
    return replace(example, perception=perception, attributes=attributes, region_names=None), order


def half_precision(example: Example) -> Example:
    """Move the tensors of an example to main memory, in half precision."""
    perception, visual = example.perception, example.visual
    if perception.features is not None:
        perception = replace(perception, box_features=_to_half(perception.features))
    return replace(
        example, perception=perception, visual=None if visual is None else _to_half(visual)
    )


def _to_half(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", torch.float16)
