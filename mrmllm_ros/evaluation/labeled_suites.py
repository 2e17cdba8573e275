# SPDX-License-Identifier: Apache-2.0
"""Suites about the labeled images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.evaluation.ablations import ANSWER_VARIANTS
from mrmllm_ros.evaluation.average_precision import AveragePrecision, Matches
from mrmllm_ros.evaluation.controls import Controls
from mrmllm_ros.evaluation.detection_statistics import (
    AGNOSTIC,
    AP50,
    LABEL_ACCURACY,
    WITH_BOX,
    agnostic_precision,
)
from mrmllm_ros.evaluation.detections_suite import DetectionsSuite
from mrmllm_ros.evaluation.label_accuracy import frequent_labels, label_statistics
from mrmllm_ros.evaluation.labeled_images import LabeledImages
from mrmllm_ros.evaluation.predicted_objects import PredictedObjects
from mrmllm_ros.evaluation.statistics import Statistic
from mrmllm_ros.evaluation.suite_result import Progress, Suite, SuiteResult, evaluate_accuracy


class LabeledDetectionsSuite(DetectionsSuite):
    """Average precision and labels of detections."""

    title = "detections in labeled frames and photographs"

    def __init__(self, images: LabeledImages, controls: Controls | None = None) -> None:
        """Create the suite; see `DetectionsSuite`."""
        super().__init__(images.name, images, controls)
        self.name = f"{images.name} detections"

    def statistics(self, found: PredictedObjects) -> Mapping[str, Statistic]:
        """See `DetectionsSuite.statistics`."""
        truth = self.images.truth
        matches, seen = Matches(truth, found.candidates), found.one_label_each
        accuracy, with_box = label_statistics(truth, seen, frequent_labels(truth))
        return {
            AP50: AveragePrecision(matches),
            "AP": AveragePrecision(matches, "AP"),
            AGNOSTIC: agnostic_precision(truth, seen),
            LABEL_ACCURACY: accuracy,
            WITH_BOX: with_box,
        }


class LabeledAnswersSuite(Suite):
    """Accuracy by question family."""

    title = "answers about labeled frames and photographs"
    variants = ANSWER_VARIANTS
    suffix = "answers"

    def __init__(self, images: LabeledImages) -> None:
        self.group = images.name
        self.name = f"{images.name} {self.suffix}"
        self._images = images

    def evaluate(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.evaluate`."""
        return evaluate_accuracy(answerer, self._examples, progress)

    @property
    def _examples(self) -> Sequence[Example]:
        return self._images.examples


class TrueBoxesSuite(LabeledAnswersSuite):
    """Accuracy with labeled boxes in place of detections, without errors of the detector."""

    suffix = "answers, true boxes"
    title = "the same questions, with the labeled boxes in place of the detector's"
    headline: ClassVar[Mapping[str, str]] = {"accuracy_with_true_boxes": "accuracy"}

    @property
    def _examples(self) -> Sequence[Example]:
        return self._images.with_true_boxes
