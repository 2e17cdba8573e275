# SPDX-License-Identifier: Apache-2.0
"""Accuracy of labels at the boxes of true objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from mrmllm_ros.datasets.targets import MATCH_IOU
from mrmllm_ros.detection.boxes import box_iou, non_max_suppression
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.evaluation.average_precision import TrueObjects
from mrmllm_ros.evaluation.statistics import MeanRatio, Ratio, Statistic
from mrmllm_ros.model.label_fusion import SAME_OBJECT_IOU

# Minimum number of true objects of a label; statistics of fewer are noise.
MIN_OBJECTS = 15


def one_label_indices(found: Detections) -> np.ndarray:
    """(M,) indices of the boxes that stay if boxes that cover each other are one object.

    A detector may give one object several labels, each with its own box; the highest score stays.
    Fusion gives an object one label, so that both are compared with one label for each object.
    """
    return np.array(non_max_suppression(found.xyxy, found.scores, SAME_OBJECT_IOU), np.int64)


def one_label_each(found: Detections) -> Detections:
    """Select the objects of `one_label_indices`."""
    return found.take(one_label_indices(found))


def best_matches(objects: Detections, found: Detections) -> np.ndarray:
    """(N,) index of the found object with the highest IoU of each of N objects.

    -1 for an IoU of less than `MATCH_IOU` with all found objects.
    """
    if not len(found):
        return np.full(len(objects), -1)
    overlaps = box_iou(objects.xyxy, found.xyxy)
    return np.where(overlaps.max(axis=1, initial=0) >= MATCH_IOU, overlaps.argmax(axis=1), -1)


def frequent_labels(truth: Sequence[TrueObjects], minimum: int = MIN_OBJECTS) -> tuple[str, ...]:
    """Labels of at least `minimum` objects that must be found, in alphabetical order."""
    counts = Counter(x for each in truth for x in _labels(each, each.counted))
    return tuple(sorted(label for label, count in counts.items() if count >= minimum))


def label_statistics(
    truth: Sequence[TrueObjects], found: Sequence[Detections], labels: Collection[str]
) -> tuple[Statistic, Statistic]:
    """Accuracy of labels at matched boxes, and share of objects with a matched box.

    Args:
        truth: True objects of each of C images.
        found: Objects in each image, with one label each; see `one_label_each`.
        labels: True labels of the accuracy, which is the mean over these labels.

    Returns:
        The accuracy, and the share of all objects that must be found, whatever their label.
    """
    columns = {label: i for i, label in enumerate(labels)}
    right, matched = np.zeros((2, len(truth), len(columns)))
    with_box, objects = np.zeros((2, len(truth)))
    for image, (true, seen) in enumerate(zip(truth, found, strict=True)):
        matches = best_matches(true.objects, seen)
        objects[image] = np.count_nonzero(true.counted)
        with_box[image] = np.count_nonzero(true.counted & (matches >= 0))
        for index in np.flatnonzero(true.counted & (matches >= 0)):
            label = true.objects.labels[index]
            if label in columns:
                matched[image, columns[label]] += 1
                right[image, columns[label]] += seen.labels[matches[index]] == label
    return MeanRatio(right, matched), Ratio(with_box, objects)


def _labels(truth: TrueObjects, chosen: np.ndarray) -> list[str]:
    return [truth.objects.labels[i] for i in np.flatnonzero(chosen)]
