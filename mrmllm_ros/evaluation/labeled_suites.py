# SPDX-License-Identifier: Apache-2.0
"""Suites about the labeled images."""

from __future__ import annotations

from collections.abc import Sequence

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.evaluation.ablations import ANSWER_VARIANTS, DETECTION_VARIANTS, DETECTOR_ALONE
from mrmllm_ros.evaluation.average_precision import AveragePrecision, Matches
from mrmllm_ros.evaluation.batched_inference import enrich
from mrmllm_ros.evaluation.labeled_images import LabeledImages
from mrmllm_ros.evaluation.suite_result import Progress, Suite, SuiteResult, evaluate_accuracy


class LabeledDetectionsSuite(Suite):
    """Average precision of detections."""

    title = "detections in labeled frames and photographs"
    variants = DETECTION_VARIANTS

    def __init__(self, images: LabeledImages) -> None:
        self.name = f"{images.name} detections"
        self._images = images

    def evaluate(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.evaluate`."""
        examples = self._images.examples
        if variant == DETECTOR_ALONE:
            found = [each.perception.candidates for each in examples]
        else:
            found = [each.fused for each in enrich(answerer, examples)]
        matches = Matches(self._images.annotations.truth, found)
        statistics = {"AP50": AveragePrecision(matches), "AP": AveragePrecision(matches, "AP")}
        return SuiteResult(len(examples), statistics)


class LabeledAnswersSuite(Suite):
    """Accuracy by question family."""

    title = "answers about labeled frames and photographs"
    variants = ANSWER_VARIANTS
    suffix = "answers"

    def __init__(self, images: LabeledImages) -> None:
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

    @property
    def _examples(self) -> Sequence[Example]:
        return self._images.with_true_boxes
