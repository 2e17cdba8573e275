# SPDX-License-Identifier: Apache-2.0
"""Average precision as defined by COCO, computed by `faster-coco-eval`.

The mean is over the classes that occur in the truth, with boxes of all sizes and at most a hundred
boxes of an image.
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
_UNDEFINED: Mapping[Kind, float] = {"AP50": float("nan"), "AP": float("nan")}


@dataclass(frozen=True, eq=False)
class TrueObjects:
    """Labeled objects of one image.

    Attributes:
        objects: N objects; their scores are not used.
        crowd: (N,) bool, true for a region with any number of objects: detections in it count
            neither as right nor as wrong. None for no such region.
    """

    objects: Detections
    crowd: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """Average precision over images; a `Statistic`.

    Attributes:
        matches: Detections of each image, matched with true objects.
        kind: `AP50` is at an IoU of 0.5, `AP` is the mean over IoUs of 0.5 to 0.95.
    """

    matches: Matches
    kind: Kind = "AP50"

    def __call__(self, chosen: np.ndarray) -> np.ndarray:
        """See `statistics.Statistic`."""
        return np.array([self.matches.average_precision(row, self.kind) for row in chosen])


@dataclass(frozen=True, eq=False)
class Matches:
    """Detections of images, matched with true objects on first use.

    Attributes:
        truth: True objects of each of C images.
        found: Detections in each image.

    Raises:
        ValueError: If the numbers of images differ.
    """

    truth: Sequence[TrueObjects]
    found: Sequence[Detections]
    _cache: dict[tuple[int, ...], Mapping[Kind, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.truth) != len(self.found):
            raise ValueError(
                f"truth of {len(self.truth)} images, but detections of {len(self.found)}"
            )

    def average_precision(self, chosen: np.ndarray, kind: Kind) -> float:
        """Average precision over some images.

        Args:
            chosen: Indices of images, which may repeat.
            kind: `AP50` or `AP`.

        Returns:
            0 to 1, or NaN for images without objects.
        """
        key = tuple(sorted(chosen.tolist()))
        if key not in self._cache:
            self._cache[key] = self._accumulated(key)
        return self._cache[key][kind]

    @cached_property
    def _classes(self) -> dict[str, int]:
        labels = {x for each in self.truth for x in each.objects.labels}
        labels |= {x for each in self.found for x in each.labels}
        return {label: i for i, label in enumerate(sorted(labels), start=1)}

    @cached_property
    def _evaluated(self) -> tuple[Any, list[Any]]:
        """Parameters of the library, and its matches by class, then by image."""
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
            return _UNDEFINED
        parameters, matches = self._evaluated
        count = len(self.truth)
        of_chosen = [matches[c * count + i] for c in range(len(self._classes)) for i in chosen]
        parameters.imgIds = list(range(1, len(chosen) + 1))
        accumulated = load_library().accumulate(parameters, of_chosen)
        # (IoUs, recalls, classes, sizes, limits); -1 for absent classes.
        precision = np.asarray(accumulated["precision"])[:, :, :, 0, 0]
        present = precision[0, 0] > -1
        if not present.any():
            return _UNDEFINED
        by_iou = precision[:, :, present].mean(axis=(1, 2))
        return {"AP50": float(by_iou[0]), "AP": float(by_iou.mean())}

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
    """Import `faster-coco-eval`.

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
    """Discard the progress of the library."""
