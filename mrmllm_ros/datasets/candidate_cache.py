# SPDX-License-Identifier: Apache-2.0
"""Images as the frozen models perceive them."""

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
from mrmllm_ros.model.visual_encoder import VisualEncoder

T = TypeVar("T")

_BATCH = 4


def batches(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    """As many items at once as go well through the models together."""
    remaining = iter(items)
    while batch := tuple(islice(remaining, _BATCH)):
        yield batch


def compute_candidates(
    images: Iterable[np.ndarray], detector: Detector, encoder: VisualEncoder | None
) -> Iterator[Example]:
    """Look at images.

    Args:
        images: (H, W, 3) uint8 arrays in BGR order; sizes may differ. Read one batch at a time.
        detector: Finds the candidates.
        encoder: Gives the tokens `V_m`, unless it is None.

    Yields:
        What is perceived in each image, without questions and targets.
    """
    for batch in batches(images):
        yield from _perceive(batch, detector, encoder)


@torch.no_grad()
def _perceive(
    images: Sequence[np.ndarray], detector: Detector, encoder: VisualEncoder | None
) -> list[Example]:
    visual: Sequence[torch.Tensor | None] = [None] * len(images)
    if encoder is not None:
        # Cloned: a view would keep the tokens of the whole batch.
        visual = [tokens.clone() for tokens in encoder(encoder.preprocess(images))]
    return [
        Example(
            perception=perception,
            attributes=color_names(image, perception.candidates),
            questions=(),
            visual=tokens,
        )
        for image, perception, tokens in zip(images, detector.detect(images), visual, strict=True)
    ]


def half_precision(example: Example) -> Example:
    """The same with its tensors in half precision in main memory."""
    perception, visual = example.perception, example.visual
    if perception.features is not None:
        perception = replace(perception, features=_stored(perception.features))
    return replace(
        example, perception=perception, visual=None if visual is None else _stored(visual)
    )


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", torch.float16)
