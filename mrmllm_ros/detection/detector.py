# SPDX-License-Identifier: Apache-2.0
"""Interface, settings and output of detector backends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mrmllm_ros.detection.boxes import box_iou
from mrmllm_ros.detection.detections import Attribute, Detections
from mrmllm_ros.detection.raw_objects import OUTSIDE, printable
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.settings import Validated, setting

if TYPE_CHECKING:
    import torch

    from mrmllm_ros.compute import Compute


# Maximum number of doubtful objects of an image.
MAX_DOUBTFUL = 8
# Boxes of one label with a larger IoU are one object.
DUPLICATE_IOU = 0.45


class DetectorError(MrmllmError):
    """A detector cannot be loaded; the message names the model and the fix."""


class VocabularyError(MrmllmError):
    """A model cannot use a vocabulary; the message names the reason and the fix."""


class FixedVocabularyError(VocabularyError):
    """The labels of a model cannot be changed."""


@dataclass(frozen=True)
class DetectorSettings(Validated):
    """Settings of the detector."""

    backend: str = setting(
        "ultralytics",
        "Library that runs the detector.",
        choices=("ultralytics", "transformers"),
    )
    model: str = setting(
        "nanodet-g",
        "For ultralytics: name of an embedded model (see `mrmllm models list`) or path of a "
        ".onnx, .pt or .engine file. For transformers: folder or name of a model of the Hugging "
        "Face hub, such as DETR, RT-DETR, Grounding DINO or OWLv2.",
    )
    vocabulary: str = setting(
        "person, car, truck, bus, bicycle, motorcycle, dog, cat, chair, table, bottle, cup, "
        "backpack, box, door",
        "Initial labels of an open-vocabulary detector, separated by commas.",
    )
    score_threshold: float = setting(
        0.3,
        "Minimum score of reported objects.",
        minimum=0.01,
        maximum=1.0,
        live=True,
    )
    candidate_threshold: float = setting(
        0.05,
        "Minimum score of candidates, which fusion may report.",
        minimum=0.01,
        maximum=1.0,
        live=True,
    )
    iou_threshold: float = setting(
        0.6,
        "IoU threshold of per-class non-maximum suppression.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    max_detections: int = setting(
        50, "Maximum number of candidates in an image.", minimum=1, maximum=300, live=True
    )
    rate_under_questions_hz: float = setting(
        9.0,
        "Maximum rate of detection of each camera while a question is pending, in frames per "
        "second, so that the answer comes sooner; 0 for no limit. On a CPU only.",
        minimum=0.0,
        maximum=1000.0,
        live=True,
    )

    @property
    def minimum_score(self) -> float:
        """Minimum score of candidates; reported objects are candidates too."""
        return min(self.candidate_threshold, self.score_threshold)

    @property
    def initial_labels(self) -> tuple[str, ...]:
        """Labels in `vocabulary`; a trailing comma is ignored."""
        return tuple(label.strip() for label in self.vocabulary.rstrip(", ").split(","))


@dataclass(frozen=True, eq=False)
class LabelScores:
    """Scores of all labels of a detector for K candidates.

    Attributes:
        labels: C labels.
        scores: (K, C) float32, from 0 to 1.

    Raises:
        ValueError: If there is not one score for each label.
    """

    labels: tuple[str, ...]
    scores: np.ndarray

    def __post_init__(self) -> None:
        if self.scores.ndim != 2 or self.scores.shape[1] != len(self.labels):
            raise ValueError(
                f"scores has shape {self.scores.shape}, expected (K, {len(self.labels)})"
            )

    @classmethod
    def of_classes(cls, names: Mapping[int, str], scores: np.ndarray) -> LabelScores:
        """Convert the scores of a network's classes to scores of labels.

        Args:
            names: Labels by class id; classes without a label are left out. Of classes with the
                same label, the highest score counts.
            scores: (K, classes) float32. Scores in half precision may exceed 1 by rounding; they
                are clipped.
        """
        ids = [i for i in range(scores.shape[1]) if i in names]
        labels = tuple(dict.fromkeys(names[i] for i in ids))
        by_label = scores[:, ids].clip(0, 1)
        if len(labels) < len(ids):
            columns = {label: column for column, label in enumerate(labels)}
            of_ids, by_label = by_label, np.zeros((len(scores), len(labels)), np.float32)
            np.maximum.at(by_label, (slice(None), [columns[names[i]] for i in ids]), of_ids)
        return cls(labels, by_label)

    def take(self, indices: np.ndarray) -> LabelScores:
        """Select candidates by (M,) indices, in that order."""
        return LabelScores(self.labels, self.scores[indices])


@dataclass(frozen=True, eq=False)
class DeferredFeatures:
    """Features of boxes that are pooled when they are first used.

    Attributes:
        pool: Pools the features (K, d_p) of boxes (K, 4) in pixels of the image.
        xyxy: (K, 4) boxes in pixels of the image.
    """

    pool: Callable[[np.ndarray], torch.Tensor]
    xyxy: np.ndarray

    def __getitem__(self, indices: np.ndarray) -> DeferredFeatures:
        """Select boxes by (M,) indices, in that order."""
        return DeferredFeatures(self.pool, self.xyxy[indices])


@dataclass(frozen=True, eq=False)
class Perception:
    """Output of a detector for one image.

    Attributes:
        candidates: K objects: the reported objects by descending area, then the other candidates
            by descending score. The object at index i has the id i + 1.
        score_threshold: Minimum score of reported objects.
        box_features: What `features` returns, or where it comes from.
        dropped: Number of unusable objects by reason, see `RawObjects.check`.
        label_scores: Scores of all labels for the K candidates, or None if the model returns only
            the score of the best label.
        region_names: (K, N) float32 probabilities of the visual encoder's class names, zeros for
            a candidate without a name; None until the regions are named.
        detected: The candidates with the detector's own labels and scores, if others replaced
            them; see `with_labels`.
        attributes: K tuples of attributes, which explain the labels.
    """

    candidates: Detections
    score_threshold: float
    box_features: torch.Tensor | DeferredFeatures | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    label_scores: LabelScores | None = None
    region_names: np.ndarray | None = None
    detected: Detections | None = None
    attributes: tuple[tuple[Attribute, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.attributes:
            object.__setattr__(self, "attributes", ((),) * len(self.candidates))

    @classmethod
    def ranked(
        cls,
        candidates: Detections,
        score_threshold: float,
        features: torch.Tensor | DeferredFeatures | None = None,
        dropped: Mapping[str, int] | None = None,
        label_scores: LabelScores | None = None,
    ) -> Perception:
        """Sort candidates, their features and their label scores with `rank`.

        Args:
            candidates: K objects in any order.
            score_threshold: Minimum score of reported objects.
            features: (K, d_p) features of the candidates. NaN and infinite values become zero,
                because fusion would spread them to all objects.
            dropped: Number of dropped objects by reason.
            label_scores: Scores of all labels for the candidates.
        """
        if not (features is None or isinstance(features, DeferredFeatures)):
            features = features.nan_to_num(0.0, 0.0, 0.0)
        perception = cls(candidates, score_threshold, features, dropped or {}, label_scores)
        return perception.take(rank(candidates, score_threshold))

    def with_labels(
        self,
        labels: Sequence[str],
        scores: np.ndarray,
        attributes: Sequence[tuple[Attribute, ...]],
    ) -> Perception:
        """Replace labels and scores; the candidates must then be ranked again.

        Args:
            labels: K labels.
            scores: (K,) float32 confidences from 0 to 1.
            attributes: K tuples of attributes.
        """
        return replace(
            self,
            candidates=replace(self.candidates, labels=tuple(labels), scores=scores),
            detected=self.before_label_fusion,
            attributes=tuple(attributes),
        )

    def take(self, indices: np.ndarray) -> Perception:
        """Select candidates by (M,) indices, in that order."""
        return replace(
            self,
            candidates=self.candidates.take(indices),
            box_features=None if self.box_features is None else self.box_features[indices],
            label_scores=None if self.label_scores is None else self.label_scores.take(indices),
            region_names=None if self.region_names is None else self.region_names[indices],
            detected=None if self.detected is None else self.detected.take(indices),
            attributes=tuple(self.attributes[i] for i in indices),
        )

    @cached_property
    def features(self) -> torch.Tensor | None:
        """(K, d_p) features of the candidates on the detector's device (`V_p` in the paper).

        None if the model has none.
        """
        if isinstance(self.box_features, DeferredFeatures):
            pooled = self.box_features.pool(self.box_features.xyxy)
            return pooled.nan_to_num(0.0, 0.0, 0.0)
        return self.box_features

    @property
    def before_label_fusion(self) -> Detections:
        """The candidates with the detector's own labels and scores."""
        return self.candidates if self.detected is None else self.detected

    @property
    def invalid(self) -> int:
        """Number of objects dropped for faults of the model."""
        return sum(self.dropped.values()) - self.dropped.get(OUTSIDE, 0)

    @property
    def reported(self) -> int:
        """Number of reported objects, which come first in `candidates`."""
        return int(np.count_nonzero(self.candidates.scores >= np.float32(self.score_threshold)))

    @property
    def detections(self) -> Detections:
        """Reported objects."""
        return self.candidates.take(np.arange(self.reported))

    def doubtful(self, minimum_score: float) -> dict[int, str]:
        """Candidates that are not reported, and not unlikely either.

        Duplicates of objects with the same label are left out.

        Args:
            minimum_score: Minimum score; from `score_threshold` on there are none.

        Returns:
            Labels of at most `MAX_DOUBTFUL` candidates by id, highest score first.
        """
        labels, xyxy, reported = self.candidates.labels, self.candidates.xyxy, self.reported
        kept = list(range(reported))
        likely = self.candidates.scores >= np.float32(minimum_score)
        for i in range(reported, len(labels)):
            same = [j for j in kept if labels[j] == labels[i]]
            if likely[i] and (box_iou(xyxy[[i]], xyxy[same]) <= DUPLICATE_IOU).all():
                kept.append(i)
        return {i + 1: labels[i] for i in kept[reported : reported + MAX_DOUBTFUL]}


def rank(candidates: Detections, score_threshold: float) -> np.ndarray:
    """Order of `Perception.candidates`; the sort is stable.

    Near objects matter most to a robot and are large in the image, so the largest come first.
    The order also tells the language model which of two objects is larger.

    Args:
        candidates: K objects in any order.
        score_threshold: Minimum score of reported objects.

    Returns:
        (K,) int64 indices.
    """
    unreported = candidates.scores < np.float32(score_threshold)
    return np.lexsort((np.where(unreported, -candidates.scores, -candidates.areas), unreported))


class Detector(ABC):
    """Finds objects in images.

    Attributes:
        name: Name of the model for messages and logs.
        labels: Labels that the model detects.
        revision: Revision of the weights; empty if unknown.
        feature_width: Width d_p of the features; 0 if the model has none.
    """

    name: str
    labels: tuple[str, ...]
    revision: str = ""
    feature_width: int

    @abstractmethod
    def detect(self, images: Sequence[np.ndarray]) -> list[Perception]:
        """Detect the objects in a batch of images.

        Args:
            images: (H, W, 3) uint8 arrays in BGR order; sizes may differ.

        Returns:
            One `Perception` for each image.
        """

    @abstractmethod
    def configure(self, settings: DetectorSettings) -> None:
        """Apply thresholds and limits of `settings`; the model is not changed."""

    def set_vocabulary(self, labels: Sequence[str]) -> None:
        """Detect objects of other labels. On an error nothing changes.

        Args:
            labels: At least one label; see `unique_labels`.

        Raises:
            FixedVocabularyError: If the labels of the model cannot be changed.
            VocabularyError: If there are no labels, a label is blank or not supported, or the
                text encoder is missing.
        """
        vocabulary = unique_labels(labels)
        self._set_vocabulary(vocabulary)
        self.labels = vocabulary

    def _set_vocabulary(self, labels: tuple[str, ...]) -> None:
        """Apply unique labels to the model; open-vocabulary detectors override this."""
        raise FixedVocabularyError(
            f"{self.name} has {len(self.labels)} fixed labels; for other labels name an "
            "open-vocabulary detector with the parameter detector.model"
        )


def unique_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Normalize white space of labels and remove duplicates.

    Raises:
        VocabularyError: If there are no labels, or one is blank.
    """
    vocabulary = tuple(dict.fromkeys(map(printable, labels)))
    if not all(vocabulary or [""]):
        raise VocabularyError(
            f"the labels {list(labels)} are empty or contain a blank label; name at least one "
            "label, and none that is blank"
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
