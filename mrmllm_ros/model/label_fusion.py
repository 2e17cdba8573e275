# SPDX-License-Identifier: Apache-2.0
"""Fuse the detector's scores of labels with the visual encoder's names of regions.

Candidates that cover each other are one object, with the scores of all their labels. For candidate
i and label y, with the detector's score `D_i(y)`, the encoder's probabilities
`p_i(n)` of class names and the table `K(y|n)` of `label_table`:

    logit p(y|i) = logit D_i(y) + log((e + s) / s),    e = sum over n of p_i(n) K(y|n)

so that names that say nothing about a label leave the detector's score. Of a label that the
detector does not know, its score is taken to be min(1, g e) times its best score: there is an
object, and its name means the label.

Where the place of the robot is known, the log-odds of all labels of a candidate that the detector
is not sure about are shifted by what `context_shift` says, from a minimum score on.

Then boxes of one label with a large IoU are one object. If one is inside the other, the less
likely one gets a lower score. Of each label, the best object's log-odds are raised by c: to miss
the only cup costs more answers than to miss the second one.

The numbers s, g and c are fitted (docs/labels.md). All of this is ours, not the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Event, Lock, Thread

import numpy as np

from mrmllm_ros.compute import Step, at_once
from mrmllm_ros.detection.boxes import box_coverage, box_iou, non_max_suppression, suppress
from mrmllm_ros.detection.detections import LOOKS_LIKE, Attribute
from mrmllm_ros.detection.detector import (
    DUPLICATE_IOU,
    Detector,
    LabelScores,
    Perception,
    rank,
)
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.context_shift import ContextKnowledge, ContextShift
from mrmllm_ros.model.label_knowledge import LabelKnowledge, start_learning
from mrmllm_ros.model.label_table import LabelTable
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.region_classifier import (
    RegionClassifier,
    ZeroShotClassifier,
    region_classifier,
)
from mrmllm_ros.settings import SettingsError

# Fitted on the tuning half of the photographs; see docs/labels.md.
SMOOTHING = 0.2
GAIN = 2.0
BEST_OBJECT_SHIFT = 0.5
# Fitted on the tuning split of the rendered scenes; see docs/labels.md.
CONTEXT_WEIGHT = 0.5
# Share of a candidate's best score that every label has in a context, however unlikely it looks.
CONTEXT_FLOOR = 0.02
# Best score of the detector from which a context does not change labels.
SURE_SCORE = 0.6
# Boxes with a larger IoU are one object, whatever their labels.
SAME_OBJECT_IOU = 0.6
# Of two boxes of a label of which one has a larger share inside the other, the less likely one is
# probably no object of its own.
MAX_COVERAGE = 0.8
COVERED_FACTOR = 0.25
# Minimum of p(n) K(y|n) for which the name is reported as a reason.
_MIN_CONTRIBUTION = 0.05


class LabelFusion:
    """Corrects labels and scores of candidates.

    Attributes:
        labels: Labels to choose from.
        max_crops: Maximum number of regions of an image to name.
        classifier: Names regions.
        knowledge: Where `table` comes from, or None if the names are the labels.
        context: Shifts of labels in the place where the robot is, or None.
        table: What the names mean; may be replaced for an ablation.
    """

    def __init__(
        self,
        detector: Detector,
        classifier: RegionClassifier,
        knowledge: LabelKnowledge | None,
        max_crops: int,
        context: ContextShift | None = None,
    ) -> None:
        """Choose from the labels of the detector.

        Args:
            detector: The detector of the candidates.
            classifier: Names regions.
            knowledge: What the names mean, or None if the names are the labels.
            max_crops: Maximum number of regions of an image to name.
            context: Shifts of labels in the place where the robot is; None to use no place.
        """
        self.context = context
        self.max_crops = max_crops
        self.classifier = classifier
        self._detector = detector
        self.knowledge = knowledge
        self._lock = Lock()
        self._stop = Event()
        self._learner: Thread | None = None
        self.set_labels(detector.labels)

    @classmethod
    def create(
        cls,
        backbones: Backbones,
        max_crops: int,
        load_language_model: Callable[[], LanguageModel],
    ) -> LabelFusion:
        """Create the fusion for loaded models.

        Args:
            backbones: Loaded backbones; the language model may have the adapters of a checkpoint.
            max_crops: Maximum number of regions of an image to name.
            load_language_model: Gives the language model without adapters.

        Raises:
            SettingsError: If the visual encoder cannot name regions.
            VisualEncoderError: If its text encoder cannot be loaded.
        """
        encoder = backbones.visual_encoder
        classifier = region_classifier(encoder)
        if classifier is None:
            raise SettingsError(
                f"evidence.visual_labels: the visual encoder {encoder.name} cannot name regions; "
                "set visual_encoder.model to efficientnet-lite0, CLIP or SigLIP, or "
                "evidence.visual_labels to never"
            )
        language_model = backbones.language_model
        knowledge = None
        if not isinstance(classifier, ZeroShotClassifier):
            knowledge = LabelKnowledge(language_model, classifier.names, load_language_model)
        context = ContextShift(
            lambda text: ContextKnowledge(language_model, text, load_language_model)
        )
        return cls(backbones.detector, classifier, knowledge, max_crops, context)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels to choose from."""
        return self.table.labels

    def set_labels(self, labels: Sequence[str]) -> None:
        """Set the labels to choose from.

        If the language model has not scored all of them yet, a thread computes the scores; until
        then only class names that end with such a label mean it.

        Args:
            labels: At least one label.
        """
        labels = tuple(labels)
        self._stop.set()
        if self.context is not None:
            self.context.set_labels(labels)
        if isinstance(self.classifier, ZeroShotClassifier):
            with self._lock:
                self.classifier.set_names(labels)
                self.table = LabelTable.identity(labels)
            return
        self.table = self.knowledge.table(labels)
        if self.knowledge.missing(labels):
            self._learner, self._stop = start_learning(
                self, self.knowledge, labels, lambda fusion: fusion._use_table_of(labels)
            )

    def _use_table_of(self, labels: Sequence[str]) -> None:
        self.table = self.knowledge.table(labels)

    def wait(self) -> None:
        """Wait until all labels are scored."""
        if self._learner is not None:
            self._learner.join()
        if self.context is not None:
            self.context.wait()

    def fuse_images(
        self,
        images: Sequence[np.ndarray],
        perceptions: Sequence[Perception],
        step: Step = at_once,
    ) -> list[Perception]:
        """Correct the labels and scores of the candidates in B images; see `fuse`.

        Args:
            images: (H, W, 3) uint8 arrays in BGR order.
            perceptions: Detections in each image.
            step: Context of each step.
        """
        # Another thread may set the names of the classifier.
        with self._lock:
            named = self.classify(images, perceptions, step)
            with step("labels"):
                pairs = zip(perceptions, named, strict=True)
                return [self.fuse(perception, names)[0] for perception, names in pairs]

    def classify(
        self,
        images: Sequence[np.ndarray],
        perceptions: Sequence[Perception],
        step: Step = at_once,
    ) -> list[np.ndarray]:
        """Name the regions of the most likely candidates in B images.

        Args:
            images: (H, W, 3) uint8 arrays in BGR order.
            perceptions: Detections in each image.
            step: Context of each step.

        Returns:
            (K, N) float32 probabilities of the class names for each image; zeros for candidates
            beyond `max_crops`, and for those that `merge_labels` leaves out.
        """
        # Highest scores first.
        chosen = [merge_labels(perception)[1][: self.max_crops] for perception in perceptions]
        regions = [p.candidates.xyxy[i] for p, i in zip(perceptions, chosen, strict=True)]
        found = []
        for perception, indices, of_regions in zip(
            perceptions, chosen, self.classifier.classify(images, regions, step), strict=True
        ):
            shape = (len(perception.candidates), of_regions.shape[1])
            probabilities = np.zeros(shape, np.float32)
            probabilities[indices] = of_regions
            found.append(probabilities)
        return found

    def fuse(
        self,
        perception: Perception,
        probabilities: np.ndarray,
        shifts: np.ndarray | None = None,
    ) -> tuple[Perception, np.ndarray]:
        """Correct the labels and scores of the candidates in an image.

        Args:
            perception: K candidates.
            probabilities: (K, N) probabilities of the class names, see `classify`.
            shifts: (V,) shifts of the labels in a context of the image; None for `context`.

        Returns:
            The perception with M of the candidates, ranked again, and their (M,) indices among
            the K. It has the fused scores of all labels, and the names. The attribute `looks_like`
            is the name that speaks for the label.
        """
        table = self.table
        perception, merged = merge_labels(perception)
        probabilities = probabilities[merged]
        of_labels = self.label_scores(perception, probabilities, table)
        if shifts is None and self.context is not None:
            shifts = self.context.of(table.labels)
        if shifts is not None:
            of_labels = scores_in_context(of_labels, perception.candidates.scores, shifts)
        best = of_labels.argmax(1)
        scores = of_labels[np.arange(len(best)), best]
        xyxy = perception.candidates.xyxy
        kept = remove_duplicates(xyxy, scores, best)
        scores[kept] = discount_covered(xyxy[kept], scores[kept], best[kept])
        # The first of each label has its highest score.
        _, first = np.unique(best[kept], return_index=True)
        scores[kept[first]] = shift_log_odds(scores[kept[first]], BEST_OBJECT_SHIFT)
        fused = perception.with_labels(
            [table.labels[column] for column in best],
            scores,
            [
                self._looks_like(row, table.values[column])
                for row, column in zip(probabilities, best, strict=True)
            ],
        )
        fused = replace(
            fused,
            label_scores=LabelScores(table.labels, of_labels),
            region_names=probabilities,
        )
        kept = kept[rank(fused.candidates.take(kept), fused.score_threshold)]
        return fused.take(kept), merged[kept]

    def label_scores(
        self, perception: Perception, probabilities: np.ndarray, table: LabelTable
    ) -> np.ndarray:
        """Scores of labels for K candidates without a context.

        Args:
            perception: K candidates.
            probabilities: (K, N) probabilities of the class names.
            table: What the names mean for V labels.

        Returns:
            (K, V) float32 scores between 0 and 1.
        """
        evidence = probabilities @ table.values.T  # (K, V)
        return fused_scores(self._detector_scores(perception, table.labels, evidence), evidence)

    def _detector_scores(
        self, perception: Perception, labels: Sequence[str], evidence: np.ndarray
    ) -> np.ndarray:
        """(K, V) scores of the detector; for labels that it does not know, see the module."""
        known = set(self._detector.labels)
        best = perception.candidates.scores
        scores = [
            detector_scores(perception, label)
            if label in known
            else best * (GAIN * evidence[:, column]).clip(max=1)
            for column, label in enumerate(labels)
        ]
        return np.stack(scores, axis=1)

    def _looks_like(self, probabilities: np.ndarray, meaning: np.ndarray) -> tuple[Attribute, ...]:
        """The name that contributes most to a label, if it contributes.

        Args:
            probabilities: (N,) probabilities of the names.
            meaning: (N,) `K(y|n)` of the label.
        """
        best = int((probabilities * meaning).argmax())
        if probabilities[best] * meaning[best] < _MIN_CONTRIBUTION:
            return ()
        name = self.classifier.names[best].split(", ")[0]
        return (Attribute(LOOKS_LIKE, name, float(probabilities[best])),)


def merge_labels(perception: Perception) -> tuple[Perception, np.ndarray]:
    """Merge candidates that cover each other, whatever their labels.

    Args:
        perception: K candidates.

    Returns:
        The perception with M of the candidates, highest scores first, and their (M,) indices.
        A candidate has the highest scores of those that it stands for.
    """
    xyxy = perception.candidates.xyxy
    kept = np.array(
        non_max_suppression(xyxy, perception.candidates.scores, SAME_OBJECT_IOU), np.int64
    )
    merged, scores = perception.take(kept), perception.label_scores
    if scores is None or len(kept) == 0:
        return merged, kept
    overlaps = box_iou(xyxy, xyxy[kept])
    members = np.flatnonzero(overlaps.max(1) > SAME_OBJECT_IOU)
    of_kept = scores.scores[kept].copy()
    np.maximum.at(of_kept, overlaps[members].argmax(1), scores.scores[members])
    return replace(merged, label_scores=LabelScores(scores.labels, of_kept)), kept


def detector_scores(perception: Perception, label: str) -> np.ndarray:
    """The detector's scores of a label for K candidates: (K,) float32."""
    of_all = perception.label_scores
    if of_all is not None and label in of_all.labels:
        return of_all.scores[:, of_all.labels.index(label)]
    candidates = perception.candidates
    return candidates.scores * np.array([own == label for own in candidates.labels], np.float32)


def fused_scores(scores: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Fuse scores of labels with evidence for them.

    Args:
        scores: (K, V) scores of the detector.
        evidence: (K, V) probability that the region's name means the label; 0 if it has no name.

    Returns:
        (K, V) float32 scores between 0 and 1.
    """
    return shift_log_odds(scores, np.log((evidence + SMOOTHING) / SMOOTHING))


def scores_in_context(
    scores: np.ndarray, detector_scores: np.ndarray, shifts: np.ndarray
) -> np.ndarray:
    """Shift the scores of doubtful candidates by what a context says about the labels.

    Args:
        scores: (K, V) scores of labels.
        detector_scores: (K,) best scores of the detector.
        shifts: (V,) shifts of log-odds.

    Returns:
        (K, V) float32 scores; those of candidates that the detector is sure about do not change.
    """
    possible = np.maximum(scores, CONTEXT_FLOOR * detector_scores[:, None])
    shifted = shift_log_odds(possible, CONTEXT_WEIGHT * shifts)
    return np.where(detector_scores[:, None] < SURE_SCORE, shifted, scores)


def shift_log_odds(scores: np.ndarray, shift: np.ndarray | float) -> np.ndarray:
    """Add to the log-odds of scores, float32; a shift of 0 is exact, 0 and 1 do not change."""
    return (scores / (scores + (1 - scores) * np.exp(-shift))).astype(np.float32)


def remove_duplicates(xyxy: np.ndarray, scores: np.ndarray, label_ids: np.ndarray) -> np.ndarray:
    """Keep one box of each object.

    Args:
        xyxy: (K, 4) boxes.
        scores: (K,) scores; of two duplicates, the one with the higher score is kept.
        label_ids: (K,) labels; boxes of different labels are different objects.

    Returns:
        (M,) int64 indices of the kept boxes, highest score first.
    """
    overlaps = (box_iou(xyxy, xyxy) > DUPLICATE_IOU) & (label_ids[:, None] == label_ids)
    return np.array(suppress(overlaps, scores), np.int64)


def discount_covered(xyxy: np.ndarray, scores: np.ndarray, label_ids: np.ndarray) -> np.ndarray:
    """Lower scores where one of two boxes of a label is inside the other.

    The box with the higher score keeps it. The other one is kept, because it may be an object
    before or behind the first.

    Args:
        xyxy: (K, 4) boxes.
        scores: (K,) scores.
        label_ids: (K,) labels.

    Returns:
        (K,) float32 scores.
    """
    inside = box_coverage(xyxy, xyxy) > MAX_COVERAGE
    less_likely = (label_ids[:, None] == label_ids) & (scores[:, None] < scores)
    covered = ((inside | inside.T) & less_likely).any(1)
    return np.where(covered, COVERED_FACTOR * scores, scores).astype(np.float32)
