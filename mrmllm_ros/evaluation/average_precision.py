# SPDX-License-Identifier: Apache-2.0
"""Average precision as COCO defines it, computed by `faster-coco-eval`.

Each class counts the same, and only classes that occur in the truth count. Boxes of all sizes are
taken together, and up to a hundred of an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.evaluation.suite_result import EvaluationError

Kind = Literal["AP50", "AP"]


@dataclass(frozen=True, eq=False)
class TrueObjects:
    """What is there in one image.

    Attributes:
        objects: The objects; their scores do not matter.
        crowd: (N,) bool, true for a region of things that cannot be told apart: what is found
            in it counts neither as right nor as wrong. None where there is none.
    """

    objects: Detections
    crowd: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """Average precision over images; a `Statistic` of them.

    Attributes:
        matches: What is found in each image, matched with what is there.
        kind: `AP50` counts a box from an overlap of one half on, `AP` is the mean over overlaps
            of 0.5 to 0.95.
    """

    matches: Matches
    kind: Kind = "AP50"

    def __call__(self, chosen: np.ndarray) -> np.ndarray:
        """See `statistics.Statistic`."""
        return np.array([self.matches.average_precision(row, self.kind) for row in chosen])


@dataclass(frozen=True, eq=False)
class Matches:
    """Found objects of images, to be matched with the true ones.

    Attributes:
        truth: What is there in each of C images.
        found: What is found in each of them, with scores.

    Raises:
        ValueError: If they are not about the same number of images.
    """

    truth: Sequence[TrueObjects]
    found: Sequence[Detections]
    _known: dict[tuple[int, ...], Mapping[Kind, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.truth) != len(self.found):
            raise ValueError(f"the truth of {len(self.truth)} images, and {len(self.found)} found")

    def average_precision(self, chosen: np.ndarray, kind: Kind) -> float:
        """Average precision over some of the images.

        Args:
            chosen: Indices of images; one may be there several times.
            kind: Which.

        Returns:
            0 to 1, or NaN where the images show no objects.
        """
        key = tuple(sorted(chosen.tolist()))
        if key not in self._known:
            self._known[key] = self._accumulated(key)
        return self._known[key][kind]

    @cached_property
    def _classes(self) -> dict[str, int]:
        labels = {x for each in self.truth for x in each.objects.labels}
        labels |= {x for each in self.found for x in each.labels}
        return {label: i for i, label in enumerate(sorted(labels), start=1)}

    @cached_property
    def _evaluated(self) -> tuple[Any, list[Any]]:
        """The library's parameters, and its matches by class, then by image."""
        library = load_library()
        truth = library.COCO(self._dataset(list(self._true_annotations())), print_function=_silent)
        found = library.COCO(
            self._dataset(list(self._found_annotations())), print_function=_silent
        )
        evaluation = library.COCOeval_faster(
            truth, found, "bbox", print_function=_silent, separate_eval=True
        )
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        return evaluation._paramsEval, list(evaluation._evalImgs_cpp)

    def _accumulated(self, chosen: Sequence[int]) -> Mapping[Kind, float]:
        if not self._classes:
            return {"AP50": float("nan"), "AP": float("nan")}
        parameters, matches = self._evaluated
        count = len(self.truth)
        of_chosen = [matches[c * count + i] for c in range(len(self._classes)) for i in chosen]
        parameters.imgIds = list(range(1, len(chosen) + 1))
        accumulated = load_library().accumulate(parameters, of_chosen)
        # (overlaps, recalls, classes, sizes, limits); -1 for classes that are not there.
        precision = np.asarray(accumulated["precision"])[:, :, :, 0, 0]
        there = precision[0, 0] > -1
        if not there.any():
            return {"AP50": float("nan"), "AP": float("nan")}
        by_overlap = precision[:, :, there].mean(axis=(1, 2))
        return {"AP50": float(by_overlap[0]), "AP": float(by_overlap.mean())}

    def _dataset(self, annotations: list[dict[str, Any]]) -> dict[str, Any]:
        for number, annotation in enumerate(annotations, start=1):
            annotation["id"] = number
        sizes = [each.objects.resolution_wh for each in self.truth]
        return {
            "images": [
                {"id": i, "width": width, "height": height}
                for i, (width, height) in enumerate(sizes, start=1)
            ],
            "categories": [{"id": i, "name": name} for name, i in self._classes.items()],
            "annotations": annotations,
        }

    def _true_annotations(self) -> Iterator[dict[str, Any]]:
        for image, each in enumerate(self.truth, start=1):
            crowd = np.zeros(len(each.objects), bool) if each.crowd is None else each.crowd
            for annotation, is_crowd in zip(
                self._annotations(image, each.objects), crowd.tolist(), strict=True
            ):
                yield {**annotation, "iscrowd": int(is_crowd)}

    def _found_annotations(self) -> Iterator[dict[str, Any]]:
        for image, each in enumerate(self.found, start=1):
            for annotation, score in zip(
                self._annotations(image, each), each.scores.tolist(), strict=True
            ):
                yield {**annotation, "iscrowd": 0, "score": score}

    def _annotations(self, image: int, objects: Detections) -> Iterator[dict[str, Any]]:
        sides = objects.xyxy[:, 2:] - objects.xyxy[:, :2]
        corners = np.hstack([objects.xyxy[:, :2], sides]).astype(float)
        for label, box in zip(objects.labels, corners.tolist(), strict=True):
            yield {
                "image_id": image,
                "category_id": self._classes[label],
                "bbox": box,
                "area": box[2] * box[3],
            }


@dataclass(frozen=True)
class _Library:
    COCO: Any
    COCOeval_faster: Any
    accumulate: Any


def load_library() -> _Library:
    """The parts of `faster-coco-eval` that are used here.

    Raises:
        EvaluationError: If it is not installed.
    """
    try:
        import faster_coco_eval.faster_eval_api_cpp as compiled
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise EvaluationError(
            "average precision needs faster-coco-eval; install it with "
            "`pip install 'mrmllm_ros[train]'`"
        ) from error
    return _Library(COCO, COCOeval_faster, compiled.COCOevalAccumulate)


def _silent(*words: object) -> None:
    """The library's progress, which nobody needs."""
