# SPDX-License-Identifier: Apache-2.0
"""What every detector backend offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.perception.detections import Detections
from mrmllm_ros.settings import Validated, setting

if TYPE_CHECKING:
    import torch

    from mrmllm_ros.compute import Compute


class DetectorError(MrmllmError):
    """A detector cannot be loaded; the message names the model and the fix."""


class VocabularyError(MrmllmError):
    """A model cannot use other labels; the message says why and what would."""


class FixedVocabularyError(VocabularyError):
    """A model was made for its own labels only."""


@dataclass(frozen=True)
class DetectorSettings(Validated):
    """Which detector, and what it reports."""

    backend: str = setting(
        "ultralytics", "Library that runs the detector.", choices=("ultralytics",)
    )
    model: str = setting(
        "nanodet-g",
        "Name of an embedded model (see `mrmllm models list`) or path of a .onnx, .pt or .engine "
        "file.",
    )
    score_threshold: float = setting(
        0.3,
        "Objects below this confidence are not reported.",
        minimum=0.01,
        maximum=1.0,
        live=True,
    )
    candidate_threshold: float = setting(
        0.05,
        "Objects from this confidence on are candidates, which fusion may report after all.",
        minimum=0.01,
        maximum=1.0,
        live=True,
    )
    iou_threshold: float = setting(
        0.6,
        "Of two boxes of one label that overlap more than this, the less sure is left out.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    max_detections: int = setting(
        50, "Most candidates in an image.", minimum=1, maximum=300, live=True
    )


@dataclass(frozen=True, eq=False)
class Perception:
    """What a detector says of one image.

    Attributes:
        candidates: K objects: first those that the detector reports, most salient first, then
            the doubtful ones, most salient first. The object at index i has the id i + 1.
        score_threshold: Confidence from which on an object is reported.
        features: (K, d_p) features of each candidate on the detector's device (`V_p` of the
            paper), or None where the model gives none.
    """

    candidates: Detections
    score_threshold: float
    features: torch.Tensor | None = None

    @property
    def reported(self) -> int:
        """Number of reported objects; they come first."""
        return int(np.count_nonzero(self.candidates.scores >= np.float32(self.score_threshold)))

    @property
    def detections(self) -> Detections:
        """The reported objects."""
        return self.candidates.take(np.arange(self.reported))


class Detector(ABC):
    """Finds objects in images.

    Attributes:
        name: The model's name for messages and logs.
        labels: Every label it can give.
        revision: State of its weights, where known; else empty.
        feature_width: Width d_p of its features; 0 where it gives none.
    """

    name: str
    labels: tuple[str, ...]
    revision: str = ""
    feature_width: int

    @abstractmethod
    def detect(self, images: Sequence[np.ndarray]) -> list[Perception]:
        """Find the objects in each image of a batch.

        Args:
            images: (H, W, 3) uint8 arrays in BGR order; sizes may differ.

        Returns:
            One `Perception` for each image.
        """

    @abstractmethod
    def configure(self, settings: DetectorSettings) -> None:
        """Take over thresholds and limits from `settings`; the model stays as it is."""

    def set_vocabulary(self, labels: Sequence[str]) -> None:
        """Look for objects of these labels from now on.

        Args:
            labels: At least one text.

        Raises:
            FixedVocabularyError: If the model knows its own labels only.
            VocabularyError: If there are no labels, or a part that it needs is missing.
        """
        raise FixedVocabularyError(
            f"{self.name} knows its own {len(self.labels)} labels only; for others name an "
            "open-vocabulary detector with the parameter detector.model"
        )


def load_detector(settings: DetectorSettings, compute: Compute) -> Detector:
    """Load the detector that the settings name.

    Raises:
        DetectorError: If the library or the model is missing or cannot be read.
        WeightsError: If an embedded model is missing or damaged.
    """
    # ultralytics is AGPL-3.0: imported only when chosen.
    from mrmllm_ros.perception.ultralytics_detector import UltralyticsDetector

    return UltralyticsDetector(settings, compute)
