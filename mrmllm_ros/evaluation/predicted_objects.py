# SPDX-License-Identifier: Apache-2.0
"""Objects that variants of a model predict in images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.evaluation.ablations import DETECTOR_ALONE
from mrmllm_ros.evaluation.average_precision import TrueObjects
from mrmllm_ros.evaluation.batched_inference import enrich
from mrmllm_ros.evaluation.label_accuracy import one_label_each


class ImageSet(Protocol):
    """Images with true objects and with the detector's candidates."""

    @property
    def file_names(self) -> Sequence[str]:
        """File name of each of C images."""

    @property
    def truth(self) -> Sequence[TrueObjects]:
        """True objects of each image."""

    @property
    def examples(self) -> Sequence[Example]:
        """Candidates of each image."""

    def image(self, index: int) -> np.ndarray:
        """Return an image: (H, W, 3) uint8 in BGR order."""


@dataclass(frozen=True, eq=False)
class PredictedObjects:
    """Objects that one variant predicts in images.

    Attributes:
        candidates: All objects in each of C images, with scores.
        reported: Those that are reported to a user.
    """

    candidates: Sequence[Detections]
    reported: Sequence[Detections]

    @cached_property
    def one_label_each(self) -> list[Detections]:
        """Candidates with one label for each object."""
        return [one_label_each(each) for each in self.candidates]


def predict_objects(
    answerer: MrMllmAnswerer, variant: str, examples: Sequence[Example]
) -> PredictedObjects:
    """Predict the objects in images.

    Args:
        answerer: Answerer of the variant; not used for the detector alone.
        variant: Name of the variant.
        examples: Candidates of C images.
    """
    if variant == DETECTOR_ALONE:
        perceptions = [each.perception for each in examples]
        return PredictedObjects(
            [each.candidates for each in perceptions], [each.detections for each in perceptions]
        )
    enriched = enrich(answerer, examples)
    return PredictedObjects(
        [each.fused for each in enriched], [each.fused.take(each.reported) for each in enriched]
    )
