# SPDX-License-Identifier: Apache-2.0
"""Suites about rendered scenes: detections, and answers to questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from threading import Event

import numpy as np

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.datasets.example import QuestionAnswer
from mrmllm_ros.evaluation.ablations import ANSWER_VARIANTS
from mrmllm_ros.evaluation.batched_inference import fuse_labels
from mrmllm_ros.evaluation.controls import CONTROL, Controls
from mrmllm_ros.evaluation.detection_statistics import detection_statistics
from mrmllm_ros.evaluation.detections_suite import DetectionsSuite
from mrmllm_ros.evaluation.predicted_objects import PredictedObjects
from mrmllm_ros.evaluation.rendered_questions import rendered_questions, with_listed_ids
from mrmllm_ros.evaluation.rendered_scenes import DetectedScenes
from mrmllm_ros.evaluation.statistics import Statistic
from mrmllm_ros.evaluation.suite_result import (
    Progress,
    Suite,
    SuiteResult,
    accuracies,
    accuracy,
    answer_all,
)
from mrmllm_ros.model.label_fusion import LabelFusion

# The other controls take something away; this one adds what a robot may know.
IN_CONTEXT = f"{CONTROL}label fusion with the place as context"


class RenderedDetectionsSuite(DetectionsSuite):
    """Average precision and labels, also by size, occlusion and place."""

    title = "detections in rendered scenes"

    def __init__(self, group: str, scenes: DetectedScenes, controls: Controls | None) -> None:
        """Create the suite; see `DetectionsSuite`."""
        super().__init__(group, scenes, controls)
        self.name = f"{group} detections"
        self._groups = scenes.scenes.groups
        self._scenes = scenes

    def statistics(self, found: PredictedObjects) -> Mapping[str, Statistic]:
        """See `DetectionsSuite.statistics`."""
        return detection_statistics(self.images.truth, found, self._groups)

    def controls(self, progress: Progress) -> Mapping[str, SuiteResult]:
        """See `Suite.controls`; also label fusion with the place of each image as context."""
        results = dict(super().controls(progress))
        fusion = self._scenes.label_fusion
        if fusion is not None and fusion.context is not None:
            found = self._in_context(fusion)
            results[IN_CONTEXT] = SuiteResult(self.scenes, self.statistics(found), found)
        return results

    def _in_context(self, fusion: LabelFusion) -> PredictedObjects:
        shifts: dict[str, np.ndarray] = {}
        for place in self._scenes.scenes.places:
            article = "an" if place[0] in "aeiou" else "a"
            knowledge = fusion.context.make_knowledge(f"{article} {place}")
            knowledge.learn(fusion.labels, Event())
            shifts[place] = knowledge.shifts(fusion.labels)
        fused = [
            fusion.fuse(example.perception, example.region_names, shifts.get(image.place))[0]
            for image, example in zip(
                self._scenes.scenes.images, self._scenes.examples, strict=True
            )
        ]
        return PredictedObjects([x.candidates for x in fused], [x.detections for x in fused])


class RenderedQuestionsSuite(Suite):
    """Accuracy by question family and by place."""

    title = "answers about rendered scenes, missed objects included"
    variants = ANSWER_VARIANTS

    def __init__(self, group: str, scenes: DetectedScenes) -> None:
        """Create the suite; candidates are computed on first use.

        Args:
            group: Name of the set of scenes.
            scenes: The scenes.
        """
        self.group = group
        self.name = f"{group} questions"
        self._scenes = scenes

    def evaluate(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.evaluate`."""
        images = self._scenes.scenes.images
        # Labels are fused once, since the list that answers cite depends on them.
        fused = fuse_labels(answerer, self._scenes.examples)
        examples = [
            replace(
                example,
                questions=with_listed_ids(questions, image, example.perception.detections),
            )
            for example, questions, image in zip(fused, self._questions, images, strict=True)
        ]
        answered = answer_all(answerer, examples, progress)
        families = sorted({each.item.family for each in answered})
        statistics = accuracies(answered, len(images), families)
        for place in self._scenes.scenes.places:
            of_place = [each for each in answered if images[each.scene].place == place]
            statistics[f"accuracy, in {place}"] = accuracy(of_place, len(images))
        return SuiteResult(len(images), statistics)

    @cached_property
    def _questions(self) -> Sequence[tuple[QuestionAnswer, ...]]:
        scenes = self._scenes
        return rendered_questions(scenes.scenes, scenes.backbones.detector.labels)
