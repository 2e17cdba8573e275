# SPDX-License-Identifier: Apache-2.0
"""Suite about pairs of rendered scenes with an object that only the context names.

Both images of a pair show the same model, under another label in another place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from mrmllm_ros.evaluation.controls import Controls
from mrmllm_ros.evaluation.detections_suite import DetectionsSuite
from mrmllm_ros.evaluation.found_objects import FoundObjects
from mrmllm_ros.evaluation.label_accuracy import MIN_OBJECTS, best_matches
from mrmllm_ros.evaluation.rendered_scenes import DetectedScenes, RenderedImage, RenderedScenes
from mrmllm_ros.evaluation.statistics import MeanRatio, Ratio, Statistic
from mrmllm_ros.evaluation.suite_result import EvaluationError

LABEL_ACCURACY, BOTH_RIGHT = "label accuracy", "pairs with both right"


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

    def statistics(self, found: FoundObjects) -> Mapping[str, Statistic]:
        """See `DetectionsSuite.statistics`."""
        right = np.array(
            [[self._is_right(each, found) for each in pair] for pair in self._pairs], bool
        ).reshape(-1, 2)
        labels = np.array([[each.label for each in pair] for pair in self._pairs])
        names, counts = np.unique(labels, return_counts=True)
        # (P, 2, L)
        of_label = labels.reshape(-1, 2, 1) == names[counts >= MIN_OBJECTS]
        return {
            LABEL_ACCURACY: MeanRatio(
                (right[..., None] & of_label).sum(axis=1).astype(float),
                of_label.sum(axis=1).astype(float),
            ),
            "right labels": Ratio(right.sum(axis=1), np.full(len(right), 2)),
            BOTH_RIGHT: Ratio(right.all(axis=1), np.ones(len(right))),
        }

    def _is_right(self, ambiguous: AmbiguousObject, found: FoundObjects) -> bool:
        truth = self._scenes.images[ambiguous.image].truth.objects
        seen = found.one_label_each[ambiguous.image]
        [match] = best_matches(truth.take(np.array([ambiguous.index])), seen)
        return bool(match >= 0 and seen.labels[match] == ambiguous.label)

    @cached_property
    def _pairs(self) -> Sequence[tuple[AmbiguousObject, AmbiguousObject]]:
        return ambiguous_objects(self._scenes)


def ambiguous_objects(
    scenes: RenderedScenes,
) -> list[tuple[AmbiguousObject, AmbiguousObject]]:
    """Find the ambiguous object of each pair of images.

    Args:
        scenes: Scenes whose images have a `pair`; other images are not used.

    Raises:
        EvaluationError: If there are no pairs, a pair does not have two images, or its images do
            not share a model under different labels.
    """
    pairs: dict[int, list[int]] = defaultdict(list)
    for number, image in enumerate(scenes.images):
        if image.entry.get("pair") is not None:
            pairs[image.entry["pair"]].append(number)
    if not pairs:
        raise EvaluationError(
            f"{scenes.folder} has no pairs of images; give a folder of context scenes with "
            "--context-folder, see `mrmllm scenes render --help`"
        )
    return [_ambiguous(scenes, name, numbers) for name, numbers in sorted(pairs.items())]


def _ambiguous(
    scenes: RenderedScenes, name: int, numbers: Sequence[int]
) -> tuple[AmbiguousObject, AmbiguousObject]:
    if len(numbers) != 2:
        raise EvaluationError(
            f"pair {name} of {scenes.folder} has {len(numbers)} images, expected 2; render the "
            "scenes again"
        )
    first, second = (_models(scenes.images[number]) for number in numbers)
    for model, (index, label) in first.items():
        other_index, other_label = second.get(model, (0, label))
        if label != other_label:
            return (
                AmbiguousObject(numbers[0], index, label),
                AmbiguousObject(numbers[1], other_index, other_label),
            )
    raise EvaluationError(
        f"the images of pair {name} of {scenes.folder} share no model under different labels; "
        "render the scenes again"
    )


def _models(image: RenderedImage) -> dict[str, tuple[int, str]]:
    """Index and label of the largest object of each model."""
    models: dict[str, tuple[int, str]] = {}
    for index, annotation in enumerate(image.annotations):
        label = image.truth.objects.labels[index]
        models.setdefault(str(annotation.get("model")), (index, label))
    return models
