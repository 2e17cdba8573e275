# SPDX-License-Identifier: Apache-2.0
"""Sheets of images with the detector's objects beside those after fusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mrmllm_ros.datasets.targets import MATCH_IOU
from mrmllm_ros.detection.annotation import draw_caption, draw_detections
from mrmllm_ros.detection.boxes import box_iou
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.evaluation.average_precision import TrueObjects
from mrmllm_ros.evaluation.predicted_objects import ImageSet, PredictedObjects

SHEET_IMAGES = 6  # in a sheet
_WIDTH = 640  # pixels of an image in a sheet
_GAP = 8  # pixels


@dataclass(frozen=True, eq=False)
class ComparedImages:
    """Objects of the detector and after fusion in images, with their F1.

    Attributes:
        images: C images.
        detector: The detector's objects.
        fused: Objects after fusion.
        detector_f1: (C,) F1 of the detector's reported objects, NaN for an image without objects.
        fused_f1: (C,) F1 after fusion.
    """

    images: ImageSet
    detector: PredictedObjects
    fused: PredictedObjects
    detector_f1: np.ndarray
    fused_f1: np.ndarray

    @classmethod
    def of(
        cls, images: ImageSet, detector: PredictedObjects, fused: PredictedObjects
    ) -> ComparedImages:
        """Score the reported objects in each image."""
        scores = [
            np.array([f1(*pair) for pair in zip(images.truth, each.reported, strict=True)])
            for each in (detector, fused)
        ]
        return cls(images, detector, fused, *scores)

    def best(self, count: int = SHEET_IMAGES) -> list[int]:
        """Images with the highest F1 after fusion; of equal ones, those with more objects."""
        return self._ranked(-self.fused_f1)[:count]

    def worst(self, count: int = SHEET_IMAGES) -> list[int]:
        """Images with the lowest F1 after fusion; of equal ones, those with more objects."""
        return self._ranked(self.fused_f1)[:count]

    def changed(self, count: int = SHEET_IMAGES) -> list[int]:
        """Images whose F1 fusion changes most, for better or worse; none without a change."""
        change = np.abs(self.fused_f1 - self.detector_f1)
        return [i for i in self._ranked(-change) if change[i] > 0][:count]

    def sheet(self, indices: Sequence[int]) -> np.ndarray:
        """Draw images one below the other, the detector's objects on the left.

        Args:
            indices: At least one image.

        Returns:
            (H, W, 3) uint8 in BGR order.
        """
        return np.vstack([self._row(index) for index in indices])

    def _ranked(self, keys: np.ndarray) -> list[int]:
        """Images with objects, lowest keys first."""
        objects = np.array([np.count_nonzero(each.counted) for each in self.images.truth])
        order = np.lexsort((-objects, keys))
        return [int(i) for i in order if not np.isnan(keys[i])]

    def _row(self, index: int) -> np.ndarray:
        image, name = self.images.image(index), self.images.file_names[index]
        panels = [
            draw_caption(
                _drawn(image, found.reported[index]), [f"{name}, {which}: F1 {score:.2f}"]
            )
            for which, found, score in (
                ("detector", self.detector, self.detector_f1[index]),
                ("fused", self.fused, self.fused_f1[index]),
            )
        ]
        gap = np.full((panels[0].shape[0], _GAP, 3), 255, np.uint8)
        row = np.hstack([panels[0], gap, panels[1]])
        return np.vstack([row, np.full((_GAP, row.shape[1], 3), 255, np.uint8)])


def f1(truth: TrueObjects, reported: Detections) -> float:
    """F1 of the reported objects in an image, with right labels and an IoU of 0.5 or more.

    Reported objects on crowds and on ignored objects do not count.

    Returns:
        0 to 1, or NaN for an image without objects.
    """
    objects = np.count_nonzero(truth.counted)
    if not objects:
        return float("nan")
    overlaps = box_iou(truth.objects.xyxy, reported.xyxy) >= MATCH_IOU  # (N, M)
    same = np.array(truth.objects.labels)[:, None] == np.array(reported.labels, object)
    hits = np.count_nonzero((overlaps & same)[truth.counted].any(axis=1))
    on_ignored = overlaps[~truth.counted].any(axis=0) & ~overlaps[truth.counted].any(axis=0)
    return 2 * hits / (objects + len(reported) - np.count_nonzero(on_ignored))


def _drawn(image: np.ndarray, found: Detections) -> np.ndarray:
    """Draw objects in a copy of an image, scaled to the width of a sheet's column."""
    captions = [
        f"{label} {score:.2f}" for label, score in zip(found.labels, found.scores, strict=True)
    ]
    drawn = draw_detections(image, found, captions)
    height = round(drawn.shape[0] * _WIDTH / drawn.shape[1])
    return cv2.resize(drawn, (_WIDTH, height), interpolation=cv2.INTER_AREA)
