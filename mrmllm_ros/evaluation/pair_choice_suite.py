# SPDX-License-Identifier: Apache-2.0
"""Suite about the choice between the two labels of an object that only the context names.

Both images of a pair show the same shape. Its label in the one image is compared with its label in
the other one by their scores after fusion, so that without a context about half of the choices are
right. The controls replace the context, or the language model that knows what it means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Event
from typing import ClassVar

import numpy as np

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.evaluation.ablations import FULL
from mrmllm_ros.evaluation.context_suite import BOTH_RIGHT, AmbiguousObject, ambiguous_objects
from mrmllm_ros.evaluation.controls import CONTROL
from mrmllm_ros.evaluation.label_accuracy import best_matches
from mrmllm_ros.evaluation.rendered_scenes import DetectedScenes, RenderedImage, RenderedScenes
from mrmllm_ros.evaluation.statistics import Ratio
from mrmllm_ros.evaluation.suite_result import Part, Progress, Suite, SuiteResult
from mrmllm_ros.model.context_shift import MAX_SHIFT, ContextKnowledge
from mrmllm_ros.model.label_fusion import LabelFusion, merge_labels, scores_in_context

PAIR_CHOICE = "right choice between the two labels of a pair"
NO_CONTEXT = f"{CONTROL}no context"
CONTRADICTING = f"{CONTROL}context of the other image"
COOCCURRENCE = f"{CONTROL}co-occurrence in place of the language model"

# Score of a true box for which the detector has no candidate.
_MISSED_SCORE = 0.3

# Shifts (2,) of the labels of a pair in the context of an image.
_Shifts = Callable[[RenderedImage, tuple[str, str]], np.ndarray]


class Cooccurrence:
    """Co-occurrence of labels and places in annotated scenes."""

    def __init__(self, scenes: RenderedScenes) -> None:
        """Count the images with each label, by place."""
        self._images = len(scenes.images)
        self._of_place = Counter(image.place for image in scenes.images)
        present = [(image.place, set(image.truth.objects.labels)) for image in scenes.images]
        self._of_label = Counter(label for _, labels in present for label in labels)
        self._together = Counter((place, label) for place, labels in present for label in labels)

    def shifts(self, place: str, labels: Sequence[str]) -> np.ndarray:
        """Logarithm of the observed by the expected number of images, both plus 1: (V,).

        It is 0 for a label that does not occur.

        Args:
            place: A place.
            labels: V labels.
        """
        share = self._of_place[place] / self._images
        ratios = [
            (self._together[place, label] + 1) / (self._of_label[label] * share + 1)
            for label in labels
        ]
        return np.log(ratios).clip(-MAX_SHIFT, MAX_SHIFT)


@dataclass(frozen=True, eq=False)
class _Choice:
    """An ambiguous object with the scores of both labels of its pair.

    Attributes:
        image: Image of the object.
        labels: Its label, and the label in the other image.
        scores: (1, 2) scores without a context.
        detector_score: (1,) best score of the detector.
    """

    image: RenderedImage
    labels: tuple[str, str]
    scores: np.ndarray
    detector_score: np.ndarray

    def rightness(self, shifts: np.ndarray | None) -> float:
        """1 if its label has the higher score, 0.5 if both have the same, 0 otherwise.

        Args:
            shifts: (2,) shifts of the labels; None for no context.
        """
        scores = self.scores
        if shifts is not None:
            scores = scores_in_context(scores, self.detector_score, shifts)
        own, other = scores[0]
        return (float(np.sign(own - other)) + 1) / 2


class PairChoiceSuite(Suite):
    """Choices between the two labels of each pair."""

    title = "choices between the two labels of an object that only its context names"
    variants = (FULL,)
    part: Part = "detections"
    headline: ClassVar[Mapping[str, str]] = {"pair_choice": PAIR_CHOICE}

    def __init__(
        self,
        group: str,
        scenes: DetectedScenes,
        fusion: LabelFusion,
        annotated: RenderedScenes | None,
    ) -> None:
        """Create the suite; scores are computed on first use.

        Args:
            group: Name of the set of scenes.
            scenes: Scenes with pairs.
            fusion: Fusion of labels, with a context and with knowledge of names.
            annotated: Scenes for training or tuning, to count which labels occur where; None to
                leave this control out.
        """
        self.group = group
        self.name = f"{group} choices"
        self._scenes = scenes
        self._fusion = fusion
        self._annotated = annotated
        self._contexts: dict[str, ContextKnowledge] = {}

    def evaluate(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.evaluate`; the language model shifts the labels of the true context."""
        return self._result(
            lambda image, labels: self._language_model_shifts(image.entry["context"], labels)
        )

    def controls(self, progress: Progress) -> Mapping[str, SuiteResult]:
        """See `Suite.controls`."""
        results = {
            NO_CONTEXT: self._result(None),
            CONTRADICTING: self._result(
                lambda image, labels: self._language_model_shifts(self._others[image], labels)
            ),
        }
        if self._annotated is None:
            progress("co-occurrence skipped: it is counted in the scenes of --probe-folder")
            return results
        table = Cooccurrence(self._annotated)
        results[COOCCURRENCE] = self._result(
            lambda image, labels: table.shifts(image.place, labels)
        )
        return results

    def _result(self, shifts: _Shifts | None) -> SuiteResult:
        right = np.array(
            [
                [each.rightness(shifts and shifts(each.image, each.labels)) for each in pair]
                for pair in self._choices
            ]
        )
        pairs = len(right)
        return SuiteResult(
            pairs,
            {
                PAIR_CHOICE: Ratio(right.sum(axis=1), np.full(pairs, 2)),
                BOTH_RIGHT: Ratio((right == 1).all(axis=1), np.ones(pairs)),
            },
        )

    def _language_model_shifts(self, context: str, labels: Sequence[str]) -> np.ndarray:
        return self._knowledge_of(context).shifts(labels)

    def _knowledge_of(self, context: str) -> ContextKnowledge:
        if context not in self._contexts:
            self._contexts[context] = self._fusion.context.make_knowledge(context)
            self._contexts[context].learn(self._labels, Event())
        return self._contexts[context]

    @cached_property
    def _pairs(self) -> Sequence[tuple[AmbiguousObject, AmbiguousObject]]:
        return ambiguous_objects(self._scenes.scenes)

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        return tuple(sorted({each.label for pair in self._pairs for each in pair}))

    @cached_property
    def _others(self) -> Mapping[RenderedImage, str]:
        """Context of the other image of each image's pair."""
        images = self._scenes.scenes.images
        return {
            images[one.image]: images[other.image].entry["context"]
            for first, second in self._pairs
            for one, other in ((first, second), (second, first))
        }

    @cached_property
    def _choices(self) -> Sequence[tuple[_Choice, _Choice]]:
        self._fusion.knowledge.learn(self._labels, Event())
        return [
            (self._choice(first, second.label), self._choice(second, first.label))
            for first, second in self._pairs
        ]

    def _choice(self, own: AmbiguousObject, other: str) -> _Choice:
        perception, probabilities = self._candidate(own)
        labels = (own.label, other)
        table = self._fusion.knowledge.table(labels)
        scores = self._fusion.label_scores(perception, probabilities, table)
        image = self._scenes.scenes.images[own.image]
        return _Choice(image, labels, scores, perception.candidates.scores)

    def _candidate(self, own: AmbiguousObject) -> tuple[Perception, np.ndarray]:
        """The candidate of an object and its (1, N) class names; its true box if it is missed."""
        example, image = self._scenes.examples[own.image], self._scenes.scenes.images[own.image]
        truth = image.truth.objects.take(np.array([own.index]))
        merged, indices = merge_labels(example.perception)
        matched = best_matches(truth, merged.candidates)
        if matched[0] >= 0:
            return merged.take(matched), example.region_names[indices[matched]]
        missed = _missed(truth)
        [names] = self._fusion.classify([self._scenes.image(own.image)], [missed])
        return missed, names


def _missed(truth: Detections) -> Perception:
    """A candidate without a label at a true box."""
    scores = np.array([_MISSED_SCORE], np.float32)
    return Perception(Detections(truth.xyxy, scores, ("",), truth.resolution_wh), _MISSED_SCORE)
