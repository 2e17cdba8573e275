# SPDX-License-Identifier: Apache-2.0
"""Suite about pairs of rendered scenes with an object that only the context names.

Both images of a pair show the same shape, under another label in another place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from mrmllm_ros.evaluation.controls import Controls
from mrmllm_ros.evaluation.detection_statistics import LABEL_ACCURACY, WITH_BOX
from mrmllm_ros.evaluation.detections_suite import DetectionsSuite
from mrmllm_ros.evaluation.label_accuracy import MIN_OBJECTS, best_matches
from mrmllm_ros.evaluation.predicted_objects import PredictedObjects
from mrmllm_ros.evaluation.rendered_scenes import DetectedScenes, RenderedImage, RenderedScenes
from mrmllm_ros.evaluation.statistics import MeanRatio, Ratio, Statistic
from mrmllm_ros.evaluation.suite_result import EvaluationError

BOTH_RIGHT = "pairs with both right"


@dataclass(frozen=True)
class AmbiguousObject:
    """Object of an image that only the context names.

    Attributes:
        image: Index of the image.
        index: Index of the object in the truth of the image.
        label: Its label.
    """

    image: int
    index: int
    label: str


class ContextLabelsSuite(DetectionsSuite):
    """Labels of ambiguous objects; an object without a box of the detector is wrong."""

    title = "labels of objects that only their context names, in pairs of rendered scenes"
    headline: ClassVar[Mapping[str, str]] = {
        "label_accuracy": LABEL_ACCURACY,
        "pairs_with_both_right": BOTH_RIGHT,
    }

    def __init__(self, group: str, scenes: DetectedScenes, controls: Controls | None) -> None:
        """Create the suite; see `DetectionsSuite`."""
        super().__init__(group, scenes, controls)
        self.name = f"{group} labels"
        self._scenes = scenes.scenes

    @property
    def scenes(self) -> int:
        """See `DetectionsSuite.scenes`: the number of pairs."""
        return len(self._pairs)

    def statistics(self, found: PredictedObjects) -> Mapping[str, Statistic]:
        """See `DetectionsSuite.statistics`."""
        seen = np.array([[self._label(each, found) for each in pair] for pair in self._pairs])
        labels = np.array([[each.label for each in pair] for pair in self._pairs])
        right, with_box = seen == labels, seen != ""
        names, counts = np.unique(labels, return_counts=True)
        # (P, 2, L)
        of_label = labels.reshape(-1, 2, 1) == names[counts >= MIN_OBJECTS]
        return {
            LABEL_ACCURACY: MeanRatio(
                (right[..., None] & of_label).sum(axis=1).astype(float),
                of_label.sum(axis=1).astype(float),
            ),
            "right labels": Ratio(right.sum(axis=1), np.full(len(right), 2)),
            WITH_BOX: Ratio(with_box.sum(axis=1), np.full(len(right), 2)),
            BOTH_RIGHT: Ratio(right.all(axis=1), np.ones(len(right))),
        }

    def _label(self, ambiguous: AmbiguousObject, found: PredictedObjects) -> str:
        """Label at the true box; empty if no found object has about this box."""
        truth = self._scenes.images[ambiguous.image].truth.objects
        seen = found.one_label_each[ambiguous.image]
        [match] = best_matches(truth.take(np.array([ambiguous.index])), seen)
        return seen.labels[match] if match >= 0 else ""

    @cached_property
    def _pairs(self) -> Sequence[tuple[AmbiguousObject, AmbiguousObject]]:
        return ambiguous_objects(self._scenes)


def ambiguous_objects(scenes: RenderedScenes) -> list[tuple[AmbiguousObject, AmbiguousObject]]:
    """Find the ambiguous object in both images of each pair.

    Args:
        scenes: Scenes whose images have a `pair`; other images are not used.

    Raises:
        EvaluationError: If there are no pairs, a pair does not have two images, or an image of a
            pair does not have one object that is `ambiguous`.
    """
    pairs: dict[int, list[AmbiguousObject]] = defaultdict(list)
    for number, image in enumerate(scenes.images):
        if image.entry.get("pair") is not None:
            pairs[image.entry["pair"]].append(_ambiguous_object(number, image))
    if not pairs or any(len(objects) != 2 for objects in pairs.values()):
        raise EvaluationError(
            f"{scenes.folder} has no pairs of images, or not two images of each pair; make a "
            "folder with `mrmllm scenes render --kind context` and give it with --context-folder"
        )
    return [(first, second) for _, (first, second) in sorted(pairs.items())]


def _ambiguous_object(number: int, image: RenderedImage) -> AmbiguousObject:
    found = [i for i, each in enumerate(image.annotations) if each.get("ambiguous")]
    if len(found) != 1:
        raise EvaluationError(
            f'{image.path} has {len(found)} objects with "ambiguous": 1, expected one; make the '
            "folder with `mrmllm scenes render --kind context`"
        )
    return AmbiguousObject(number, found[0], image.truth.objects.labels[found[0]])
