# SPDX-License-Identifier: Apache-2.0
"""Interface of the suites about detections, with control baselines beside the models."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.evaluation.ablations import DETECTION_VARIANTS
from mrmllm_ros.evaluation.controls import MAJORITY, Controls
from mrmllm_ros.evaluation.detection_statistics import AGNOSTIC, AP50, LABEL_ACCURACY
from mrmllm_ros.evaluation.predicted_objects import ImageSet, PredictedObjects, predict_objects
from mrmllm_ros.evaluation.statistics import Statistic
from mrmllm_ros.evaluation.suite_result import Part, Progress, Suite, SuiteResult


class DetectionsSuite(Suite):
    """Detections in images with true objects.

    Attributes:
        group: See `Suite`.
        images: The images.
    """

    variants = DETECTION_VARIANTS
    part: Part = "detections"
    headline: ClassVar[Mapping[str, str]] = {
        "ap50": AP50,
        "class_agnostic_ap50": AGNOSTIC,
        "label_accuracy": LABEL_ACCURACY,
    }
    images: ImageSet

    def __init__(self, group: str, images: ImageSet, controls: Controls | None = None) -> None:
        """Create the suite; candidates are computed on first use.

        Args:
            group: Name of the set of images.
            images: The images.
            controls: Control baselines; None to leave them out.
        """
        self.group = group
        self.images = images
        self._controls = controls

    @abstractmethod
    def statistics(self, found: PredictedObjects) -> Mapping[str, Statistic]:
        """Statistics of the objects predicted in the images.

        Args:
            found: Objects in each of C images.
        """

    @property
    def scenes(self) -> int:
        """Number of scenes that bootstrap samples are drawn from."""
        return len(self.images.truth)

    def evaluate(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.evaluate`."""
        found = predict_objects(answerer, variant, self.images.examples)
        return SuiteResult(self.scenes, self.statistics(found), found)

    def controls(self, progress: Progress) -> Mapping[str, SuiteResult]:
        """See `Suite.controls`."""
        if self._controls is None:
            progress("controls skipped: they are fitted on the scenes of --probe-folder")
            return {}
        progress("controls: started")
        return {
            name: SuiteResult(self.scenes, _meaningful(name, self.statistics(found)), found)
            for name, found in self._controls.found(self.images.examples).items()
        }


def _meaningful(control: str, statistics: Mapping[str, Statistic]) -> Mapping[str, Statistic]:
    """Leave out the average precision of a constant label."""
    return {
        name: statistic
        for name, statistic in statistics.items()
        if control != MAJORITY or "AP" not in name
    }
