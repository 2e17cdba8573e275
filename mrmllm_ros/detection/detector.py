# SPDX-License-Identifier: Apache-2.0
"""What every detector backend offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.raw_objects import OUTSIDE, printable
from mrmllm_ros.errors import MrmllmError
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
        "ultralytics",
        "Library that runs the detector.",
        choices=("ultralytics", "transformers"),
    )
    model: str = setting(
        "nanodet-g",
        "With ultralytics the name of an embedded model (see `mrmllm models list`) or the path of "
        "a .onnx, .pt or .engine file; with transformers a folder or a model of the Hugging Face "
        "hub, such as a DETR, RT-DETR, Grounding DINO or OWLv2.",
    )
    vocabulary: str = setting(
        "person, car, truck, bus, bicycle, motorcycle, dog, cat, chair, table, bottle, cup, "
        "backpack, box, door",
        "Labels, with commas between them, that an open-vocabulary detector looks for at first.",
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

    @property
    def minimum_score(self) -> float:
        """The score from which on an object is a candidate: every reported object is one too."""
        return min(self.candidate_threshold, self.score_threshold)

    @property
    def initial_labels(self) -> tuple[str, ...]:
        """The labels of `vocabulary`; a final comma counts for nothing."""
        return tuple(label.strip() for label in self.vocabulary.rstrip(", ").split(","))


@dataclass(frozen=True, eq=False)
class Perception:
    """What a detector says of one image.

    Attributes:
        candidates: K objects: first those that the detector reports, largest first, then the
            doubtful ones, surest first. The object at index i has the id i + 1.
        score_threshold: Confidence from which on an object is reported.
        features: (K, d_p) features of each candidate on the detector's device (`V_p` of the
            paper), or None where the model gives none.
        dropped: Number of objects that were dropped because they are not usable, by reason; see
            `RawObjects.check`.
    """

    candidates: Detections
    score_threshold: float
    features: torch.Tensor | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def ranked(
        cls,
        candidates: Detections,
        score_threshold: float,
        features: torch.Tensor | None = None,
        dropped: Mapping[str, int] | None = None,
    ) -> Perception:
        """Put candidates into their order, and their features with them.

        Args:
            candidates: K objects in any order; equals keep it.
            score_threshold: Confidence from which on an object is reported.
            features: (K, d_p) features of the candidates, if there are any. Values that are not
                finite count as zero: fusion would carry them over to all objects.
            dropped: Number of dropped objects by reason, if there are any.
        """
        order = rank(candidates, score_threshold)
        if features is not None:
            features = features[order].nan_to_num(0.0, 0.0, 0.0)
        return cls(candidates.take(order), score_threshold, features, dropped or {})

    @property
    def invalid(self) -> int:
        """Number of dropped objects that show a fault of the model, of whatever reason."""
        return sum(self.dropped.values()) - self.dropped.get(OUTSIDE, 0)

    @property
    def reported(self) -> int:
        """Number of reported objects; they come first."""
        return int(np.count_nonzero(self.candidates.scores >= np.float32(self.score_threshold)))

    @property
    def detections(self) -> Detections:
        """The reported objects."""
        return self.candidates.take(np.arange(self.reported))


def rank(candidates: Detections, score_threshold: float) -> np.ndarray:
    """The order of `Perception.candidates`; equals keep theirs.

    Largest first is our own choice: what is near, and matters most to a robot, is large, and the
    order itself then tells a language model which of two objects is larger.

    Args:
        candidates: K objects in any order.
        score_threshold: Confidence from which on an object is reported.

    Returns:
        (K,) int64, positions.
    """
    doubtful = candidates.scores < np.float32(score_threshold)
    return np.lexsort((np.where(doubtful, -candidates.scores, -candidates.areas), doubtful))


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

        Blanks around a label and repetitions are left out. Where it fails, all stays as it was.

        Args:
            labels: At least one text.

        Raises:
            FixedVocabularyError: If the model knows its own labels only.
            VocabularyError: If there are no labels, one is blank or cannot be looked for, or a
                part that the model needs is missing.
        """
        vocabulary = unique_labels(labels)
        self._set_vocabulary(vocabulary)
        self.labels = vocabulary

    def _set_vocabulary(self, labels: tuple[str, ...]) -> None:
        """Make the model look for these labels, distinct and not blank, or raise."""
        raise FixedVocabularyError(
            f"{self.name} knows its own {len(self.labels)} labels only; for others name an "
            "open-vocabulary detector with the parameter detector.model"
        )


def unique_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels, each on one line without blanks around it, and without repetitions.

    Raises:
        VocabularyError: If there are none, or one is blank.
    """
    vocabulary = tuple(dict.fromkeys(map(printable, labels)))
    if not all(vocabulary or [""]):
        raise VocabularyError(
            f"the labels {list(labels)} are none at all or hold a blank one; name at least one, "
            "each with a text"
        )
    return vocabulary


def load_detector(settings: DetectorSettings, compute: Compute) -> Detector:
    """Load the detector that the settings name.

    Raises:
        DetectorError: If the library or the model is missing or cannot be read.
        WeightsError: If an embedded model is missing or damaged.
    """
    if settings.backend == "transformers":
        from mrmllm_ros.detection.transformers_detector import TransformersDetector

        return TransformersDetector(settings, compute)
    # ultralytics is AGPL-3.0: imported only when chosen.
    from mrmllm_ros.detection.ultralytics_detector import UltralyticsDetector

    return UltralyticsDetector(settings, compute)
