# SPDX-License-Identifier: Apache-2.0
"""Average precision as defined by COCO.

The mean is over the classes that occur in the truth, with at most a hundred boxes of a class in an
image. Detections are matched once; bootstrap samples of images then weigh the matches, all samples
at a time, which libraries for COCO's metrics do not offer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha1
from typing import Literal

import numpy as np

from mrmllm_ros.detection.boxes import box_areas, box_coverage, box_iou
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.evaluation.statistics import mean_of_defined, scene_counts

Kind = Literal["AP50", "AP"]
# Minimum IoUs of each kind.
_IOUS: Mapping[Kind, np.ndarray] = {
    "AP50": np.array([0.5]),
    "AP": np.linspace(0.5, 0.95, 10),
}
_RECALLS = np.linspace(0, 1, 101)
_MAX_DETECTIONS = 100  # of a label in an image
# Rounding of IoUs.
_TOLERANCE = 1e-9
# Maximum number of elements of an array of bootstrap samples: 32 MB.
_MAX_ELEMENTS = 4_000_000
ANY_AREA = (0.0, float("inf"))


@dataclass(frozen=True, eq=False)
class TrueObjects:
    """Labeled objects of one image.

    Attributes:
        objects: N objects; their scores are not used.
        crowd: (N,) bool, true for a region with any number of objects: detections in it count
            neither as right nor as wrong. None for no such region.
        ignored: (N,) bool, true for an object that may be found or not: a detection of it counts
            neither as right nor as wrong. None for no such object.
    """

    objects: Detections
    crowd: np.ndarray | None = None
    ignored: np.ndarray | None = None

    @property
    def is_crowd(self) -> np.ndarray:
        """(N,) bool, regions with any number of objects."""
        return np.zeros(len(self.objects), bool) if self.crowd is None else self.crowd

    @property
    def counted(self) -> np.ndarray:
        """(N,) bool, objects that must be found."""
        return ~self.is_crowd if self.ignored is None else ~(self.is_crowd | self.ignored)


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """Average precision over images; a `Statistic`.

    Attributes:
        matches: Detections of each image, matched with true objects.
        kind: `AP50` is at an IoU of 0.5, `AP` is the mean over IoUs of 0.5 to 0.95.
        labels: Labels of the mean; None for all labels in the truth.
    """

    matches: Matches
    kind: Kind = "AP50"
    labels: Collection[str] | None = None

    def __call__(self, chosen: np.ndarray) -> np.ndarray:
        """See `statistics.Statistic`."""
        return self.matches.average_precision(chosen, self.kind, self.labels)


@dataclass(frozen=True, eq=False)
class Matches:
    """Detections of images, matched with true objects on first use.

    Attributes:
        truth: True objects of each of C images.
        found: Detections in each image.
        area_range: Minimum (inclusive) and maximum (exclusive) area of boxes in square pixels.
            Objects outside are ignored, and so are unmatched detections.

    Raises:
        ValueError: If the numbers of images differ.
    """

    truth: Sequence[TrueObjects]
    found: Sequence[Detections]
    area_range: tuple[float, float] = ANY_AREA
    _cache: dict[tuple[Kind, bytes], Mapping[str, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.truth) != len(self.found):
            raise ValueError(
                f"truth of {len(self.truth)} images, but detections of {len(self.found)}"
            )

    def average_precision(
        self, chosen: np.ndarray, kind: Kind = "AP50", labels: Collection[str] | None = None
    ) -> np.ndarray:
        """Average precision over samples of images.

        Args:
            chosen: (R, C) indices of images, which may repeat.
            kind: `AP50` or `AP`.
            labels: Labels of the mean; None for all labels in the truth.

        Returns:
            (R,) 0 to 1, or NaN for samples without objects.
        """
        key = kind, sha1(chosen.tobytes()).digest()
        if key not in self._cache:
            counts = scene_counts(chosen, len(self.truth))
            self._cache[key] = {
                label: each.average_precision(counts) for label, each in self._of(kind).items()
            }
        by_label = self._cache[key]
        values = [by_label[x] for x in by_label if labels is None or x in labels]
        stacked = np.stack(values) if values else np.full((1, len(chosen)), np.nan)
        return mean_of_defined(stacked, ~np.isnan(stacked))

    def precision_curve(self, labels: Collection[str] | None = None) -> np.ndarray:
        """(101,) precision at an IoU of 0.5 by recall from 0 to 1, the mean over labels.

        NaN without true objects of these labels.
        """
        curves = [
            each.precision_curve()
            for label, each in self._at_50.items()
            if (labels is None or label in labels) and each.objects.any()
        ]
        return np.mean(curves, axis=0) if curves else np.full(len(_RECALLS), np.nan)

    def _of(self, kind: Kind) -> Mapping[str, _LabelMatches]:
        return self._at_50 if kind == "AP50" else self._at_all

    @cached_property
    def _at_50(self) -> Mapping[str, _LabelMatches]:
        return self._match(_IOUS["AP50"])

    @cached_property
    def _at_all(self) -> Mapping[str, _LabelMatches]:
        return self._match(_IOUS["AP"])

    def _match(self, ious: np.ndarray) -> dict[str, _LabelMatches]:
        by_label: dict[str, list[_ImageMatches]] = {
            label: [] for label in sorted({x for t in self.truth for x in t.objects.labels})
        }
        for image, (truth, found) in enumerate(zip(self.truth, self.found, strict=True)):
            of_truth, of_found = np.array(truth.objects.labels), np.array(found.labels)
            for label in {*truth.objects.labels, *found.labels} & by_label.keys():
                true = _Truths.of(truth, np.flatnonzero(of_truth == label), self.area_range)
                chosen = np.flatnonzero(of_found == label)
                order = np.argsort(-found.scores[chosen], kind="stable")[:_MAX_DETECTIONS]
                by_label[label].append(true.match(image, found, chosen[order], ious))
        count = len(self.truth)
        return {label: _LabelMatches.merge(each, count) for label, each in by_label.items()}


@dataclass(frozen=True, eq=False)
class _Truths:
    """True objects of one label in one image.

    Attributes:
        xyxy: (N, 4) float64 boxes.
        ignored: (N,) bool, objects that may be found or not.
        crowd: (N,) bool, regions that may be found several times.
        area_range: See `Matches`.
    """

    xyxy: np.ndarray
    ignored: np.ndarray
    crowd: np.ndarray
    area_range: tuple[float, float]

    @classmethod
    def of(
        cls, truth: TrueObjects, indices: np.ndarray, area_range: tuple[float, float]
    ) -> _Truths:
        xyxy = truth.objects.xyxy[indices].astype(float)
        ignored = ~truth.counted[indices] | ~_within(box_areas(xyxy), area_range)
        return cls(xyxy, ignored, truth.is_crowd[indices], area_range)

    def match(
        self, image: int, found: Detections, chosen: np.ndarray, ious: np.ndarray
    ) -> _ImageMatches:
        """Match detections, given by their indices with the highest scores first."""
        xyxy = found.xyxy[chosen].astype(float)
        overlaps = box_iou(xyxy, self.xyxy)  # (D, N)
        if self.crowd.any():
            overlaps = np.where(self.crowd, box_coverage(xyxy, self.xyxy), overlaps)
        assigned = np.array([self._assign(overlaps, iou) for iou in ious])  # (T, D)
        is_assigned = assigned >= 0
        # The last element stands for no object.
        right = is_assigned & ~np.append(self.ignored, False)[assigned]
        wrong = ~is_assigned & _within(box_areas(xyxy), self.area_range)
        objects = int(np.count_nonzero(~self.ignored))
        return _ImageMatches(image, found.scores[chosen], right, right | wrong, objects)

    def _assign(self, overlaps: np.ndarray, minimum: float) -> np.ndarray:
        """(D,) index of the object of each detection, or -1; ignored objects go last."""
        assigned = np.full(len(overlaps), -1)
        enough = overlaps >= minimum - _TOLERANCE
        free = np.ones(len(self.crowd), bool)
        for detection in np.flatnonzero(enough.any(axis=1)):
            possible = enough[detection] & free
            if (possible & ~self.ignored).any():
                possible &= ~self.ignored
            if possible.any():
                chosen = int(np.where(possible, overlaps[detection], -1).argmax())
                assigned[detection] = chosen
                free[chosen] = self.crowd[chosen]
        return assigned


@dataclass(frozen=True, eq=False)
class _ImageMatches:
    """Detections of one label in one image, at T minimum IoUs.

    Attributes:
        image: Index of the image.
        scores: (D,) scores.
        right: (T, D) bool, whether a detection has found an object.
        counted: (T, D) bool, whether it is right or wrong.
        objects: Number of objects that must be found.
    """

    image: int
    scores: np.ndarray
    right: np.ndarray
    counted: np.ndarray
    objects: int


@dataclass(frozen=True, eq=False)
class _LabelMatches:
    """Detections of one label in C images, at T minimum IoUs.

    Attributes:
        images: (D,) int64 image of each detection, highest scores first.
        right: (T, D) bool, see `_ImageMatches`.
        counted: (T, D) bool, see `_ImageMatches`.
        objects: (C,) number of objects that must be found.
    """

    images: np.ndarray
    right: np.ndarray
    counted: np.ndarray
    objects: np.ndarray

    @classmethod
    def merge(cls, each: Sequence[_ImageMatches], count: int) -> _LabelMatches:
        """Merge images with objects or detections of the label, out of `count`."""
        objects = np.zeros(count)
        objects[[x.image for x in each]] = [x.objects for x in each]
        order = np.argsort(-np.concatenate([x.scores for x in each]), kind="stable")
        return cls(
            images=np.repeat([x.image for x in each], [len(x.scores) for x in each])[order],
            right=np.concatenate([x.right for x in each], axis=1)[:, order],
            counted=np.concatenate([x.counted for x in each], axis=1)[:, order],
            objects=objects,
        )

    def average_precision(self, counts: np.ndarray) -> np.ndarray:
        """(R,) mean over the IoUs from (R, C) numbers of each image; NaN without objects."""
        step = max(1, _MAX_ELEMENTS // max(1, len(self.images)))
        rows = [self._average_precision(counts[i : i + step]) for i in range(0, len(counts), step)]
        return np.concatenate(rows)

    def precision_curve(self) -> np.ndarray:
        """(101,) precision at the first IoU by recall, over all images once."""
        precision, reached = self._curve(0, np.ones((1, len(self.objects))))
        # The first detection with which a recall is reached; zero if it never is.
        first = np.searchsorted(reached[0], np.arange(len(_RECALLS)), side="right")
        return np.append(precision[0], 0)[first]

    def _average_precision(self, counts: np.ndarray) -> np.ndarray:
        total = np.zeros(len(counts))
        for number in range(len(self.right)):
            precision, reached = self._curve(number, counts)
            total += (precision * np.diff(reached, prepend=0, axis=1)).sum(axis=1)
        average = total / len(_RECALLS) / len(self.right)
        average[counts @ self.objects == 0] = np.nan
        return average

    def _curve(self, number: int, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Precision from each right detection on, and the number of recalls reached with it.

        Args:
            number: Index of the minimum IoU.
            counts: (R, C) numbers of each image.

        Returns:
            Two (R, P) arrays for P right detections.
        """
        counted = np.flatnonzero(self.counted[number])
        right = self.right[number, counted]
        weights = counts[:, self.images[counted]]  # (R, D)
        found = weights.cumsum(axis=1)[:, right]
        hits = weights[:, right].cumsum(axis=1)
        precision = np.divide(hits, found, out=np.zeros_like(hits), where=found > 0)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        objects = np.maximum(counts @ self.objects, 1)
        return best, np.searchsorted(_RECALLS, hits / objects[:, None], side="right")


def _within(areas: np.ndarray, area_range: tuple[float, float]) -> np.ndarray:
    return (areas >= area_range[0]) & (areas < area_range[1])
