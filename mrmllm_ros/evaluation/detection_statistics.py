# SPDX-License-Identifier: Apache-2.0
"""Statistics of detections: average precision and accuracy of labels, also by groups of objects.

Objects outside of a group are ignored: detections of them count neither as right nor as wrong.
Detections of no object count as wrong in every group, except that those of another size count in
the group of their size, as in COCO, and those in images of another place in the group of that
place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mrmllm_ros.datasets.questions.vocabulary import COCO
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.evaluation.average_precision import (
    ANY_AREA,
    AveragePrecision,
    Matches,
    TrueObjects,
)
from mrmllm_ros.evaluation.label_accuracy import frequent_labels, label_statistics
from mrmllm_ros.evaluation.predicted_objects import PredictedObjects
from mrmllm_ros.evaluation.statistics import Statistic

AP50, AGNOSTIC, LABEL_ACCURACY = "AP50", "class-agnostic AP50", "label accuracy"
WITH_BOX = "objects with a box"
# The label of all objects where labels do not count.
_OBJECT = "object"


@dataclass(frozen=True, eq=False)
class ObjectGroup:
    """A group of true objects.

    Attributes:
        name: Name, such as `small`.
        members: (N,) bool of each of C images, true for the objects of the group.
        images: (C,) bool, images whose detections count; None for all images.
        area_range: Areas of the group's boxes, see `Matches`.
    """

    name: str
    members: Sequence[np.ndarray]
    images: np.ndarray | None = None
    area_range: tuple[float, float] = ANY_AREA


def detection_statistics(
    truth: Sequence[TrueObjects], found: PredictedObjects, groups: Sequence[ObjectGroup] = ()
) -> dict[str, Statistic]:
    """Average precision and accuracy of labels, overall, by kind of label, group and label.

    Means over labels are over those with at least `label_accuracy.MIN_OBJECTS` objects.

    Args:
        truth: True objects of each of C images.
        found: Detections.
        groups: Groups of the objects.
    """
    labels = frequent_labels(truth)
    known, other = ([x for x in labels if (x in COCO) == is_coco] for is_coco in (True, False))
    matches = Matches(truth, found.candidates)
    seen = found.one_label_each
    accuracy, with_box = label_statistics(truth, seen, labels)
    statistics: dict[str, Statistic] = {
        AP50: AveragePrecision(matches, labels=labels),
        f"{AP50}, COCO names": AveragePrecision(matches, labels=known),
        f"{AP50}, other names": AveragePrecision(matches, labels=other),
        AGNOSTIC: agnostic_precision(truth, seen),
        LABEL_ACCURACY: accuracy,
        f"{LABEL_ACCURACY}, COCO names": label_statistics(truth, seen, known)[0],
        f"{LABEL_ACCURACY}, other names": label_statistics(truth, seen, other)[0],
        WITH_BOX: with_box,
    }
    for group in groups:
        statistics |= _of_group(group, truth, found)
    return statistics | {f"{AP50} of {x}": AveragePrecision(matches, labels=[x]) for x in labels}


def agnostic_precision(
    truth: Sequence[TrueObjects],
    found: Sequence[Detections],
    area_range: tuple[float, float] = ANY_AREA,
) -> AveragePrecision:
    """AP50 of boxes, whatever their labels.

    Args:
        truth: True objects of each of C images.
        found: Objects in each image, with one label each.
        area_range: See `Matches`.
    """
    objects = _unlabeled([each.objects for each in truth])
    unlabeled = [replace(t, objects=each) for t, each in zip(truth, objects, strict=True)]
    return AveragePrecision(Matches(unlabeled, _unlabeled(found), area_range))


def _of_group(
    group: ObjectGroup, truth: Sequence[TrueObjects], found: PredictedObjects
) -> dict[str, Statistic]:
    members = [
        replace(each, ignored=~(each.counted & chosen) & ~each.is_crowd)
        for each, chosen in zip(truth, group.members, strict=True)
    ]
    labels = frequent_labels(members)
    candidates = _in_images(found.candidates, group.images)
    seen = _in_images(found.one_label_each, group.images)
    accuracy, with_box = label_statistics(members, seen, labels)
    values: dict[str, Statistic] = {
        AP50: AveragePrecision(Matches(members, candidates, group.area_range), labels=labels),
        AGNOSTIC: agnostic_precision(members, seen, group.area_range),
        LABEL_ACCURACY: accuracy,
        WITH_BOX: with_box,
    }
    return {f"{name}, {group.name}": statistic for name, statistic in values.items()}


def _in_images(found: Sequence[Detections], images: np.ndarray | None) -> Sequence[Detections]:
    """Remove the detections in all other images."""
    if images is None:
        return found
    return [
        each if chosen else Detections.empty(each.resolution_wh)
        for each, chosen in zip(found, images, strict=True)
    ]


def _unlabeled(found: Sequence[Detections]) -> list[Detections]:
    """Give all objects the same label."""
    return [replace(each, labels=(_OBJECT,) * len(each)) for each in found]
