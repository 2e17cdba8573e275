# SPDX-License-Identifier: Apache-2.0
"""Detections and answers on real images, against what people see in them."""

from __future__ import annotations

from collections.abc import Sequence

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.evaluation.ablations import ANSWER_VARIANTS, DETECTION_VARIANTS, DETECTOR_ALONE
from mrmllm_ros.evaluation.accuracy import accuracy_on
from mrmllm_ros.evaluation.average_precision import AveragePrecision, Matches
from mrmllm_ros.evaluation.frames import enrich
from mrmllm_ros.evaluation.labeled_images import LabeledImages
from mrmllm_ros.evaluation.suite_result import Progress, Suite, SuiteResult


class LabeledDetectionsSuite(Suite):
    """Average precision."""

    name = "labeled detections"
    title = "boxes on real frames and photographs, labeled by hand"
    variants = DETECTION_VARIANTS

    def __init__(self, images: LabeledImages) -> None:
        self._images = images

    def run(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.run`."""
        examples = self._images.examples
        if variant == DETECTOR_ALONE:
            found = [each.perception.candidates for each in examples]
        else:
            found = [each.fused for each in enrich(answerer, examples)]
        matches = Matches(self._images.annotations.truth, found)
        statistics = {"AP50": AveragePrecision(matches), "AP": AveragePrecision(matches, "AP")}
        return SuiteResult(len(examples), statistics)


class LabeledAnswersSuite(Suite):
    """Accuracy by family of question."""

    name = "labeled answers"
    title = "questions about real frames and photographs, answered by hand"
    variants = ANSWER_VARIANTS

    def __init__(self, images: LabeledImages) -> None:
        self._images = images

    def run(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.run`."""
        return accuracy_on(answerer, self._examples, progress)

    @property
    def _examples(self) -> Sequence[Example]:
        return self._images.examples


class TrueBoxesSuite(LabeledAnswersSuite):
    """Accuracy where nothing is missed: what is left to lose is not the detector's fault."""

    name = "labeled answers, true boxes"
    title = "the same questions, with the labeled boxes in place of the detector's"

    @property
    def _examples(self) -> Sequence[Example]:
        return self._images.with_true_boxes
