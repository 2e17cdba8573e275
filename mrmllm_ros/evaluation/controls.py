# SPDX-License-Identifier: Apache-2.0
"""Control baselines of labels: accuracy without the pixels of an object.

Each control names the detector's boxes:

- the most frequent label;
- a probe on the geometry of the box and the detector's label and score;
- a probe that also has the detector's features of the box (`V_p`);
- the same probe with the features of other boxes: features that matter make it worse.

The probes are multinomial logistic regressions. They are fitted on the boxes of true objects in
scenes for training or tuning, never on the evaluated images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from mrmllm_ros.datasets.example import Example
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.evaluation.average_precision import TrueObjects
from mrmllm_ros.evaluation.label_accuracy import best_matches, one_label_indices
from mrmllm_ros.evaluation.predicted_objects import ImageSet, PredictedObjects
from mrmllm_ros.evaluation.suite_result import EvaluationError

CONTROL = "control: "  # prefix of all names
MAJORITY = f"{CONTROL}majority"
GEOMETRY = f"{CONTROL}geometry + detector's label"
FEATURES = f"{CONTROL}features + geometry + detector's label"
SHUFFLED = f"{CONTROL}features shuffled between boxes"

_SEED = 20250311
# Weights of the squared coefficients; the best is chosen on a fifth of the boxes.
_PENALTIES = (1e-4, 1e-3, 1e-2)
_HELD_OUT = 5
_STEPS = 100


class Controls:
    """Controls that are fitted on images on first use."""

    def __init__(self, images: ImageSet) -> None:
        """Create the controls.

        Args:
            images: Images for training or tuning.
        """
        self._images = images

    def found(self, examples: Sequence[Example]) -> Mapping[str, PredictedObjects]:
        """Name the detector's boxes in images, by control.

        Args:
            examples: Candidates of C images.

        Raises:
            EvaluationError: If the controls have no box of a true object to be fitted on.
        """
        perceptions = [_one_label_each(each.perception) for each in examples]
        return {
            name: _relabeled(perceptions, labels, scores)
            for name, (labels, scores) in self._fitted.predict(perceptions).items()
        }

    @cached_property
    def _fitted(self) -> _FittedControls:
        perceptions, labels = [], []
        for example, truth in zip(self._images.examples, self._images.truth, strict=True):
            perception = _one_label_each(example.perception)
            indices, names = _named_boxes(perception.candidates, truth)
            perceptions.append(perception.take(indices))
            labels += names
        if not labels:
            raise EvaluationError(
                "the detector finds no true object in the scenes of --probe-folder; give a folder "
                "with more scenes"
            )
        return _FittedControls.fit(perceptions, labels)


@dataclass(frozen=True, eq=False)
class _FittedControls:
    """Controls after fitting.

    Attributes:
        majority: The most frequent label.
        detector_labels: The detector's labels.
        without_features: Probe on the geometry of the box and the detector's label and score.
        with_features: Probe that also has the features; None for a detector without features.
    """

    majority: str
    detector_labels: tuple[str, ...]
    without_features: _Probe
    with_features: _Probe | None

    @classmethod
    def fit(cls, perceptions: Sequence[Perception], labels: Sequence[str]) -> _FittedControls:
        known = tuple(sorted({x for each in perceptions for x in each.candidates.labels}))
        inputs, features = _inputs(perceptions, known), _features(perceptions)
        return cls(
            majority=Counter(sorted(labels)).most_common(1)[0][0],
            detector_labels=known,
            without_features=_Probe.fit(inputs, labels),
            with_features=None
            if features is None
            else _Probe.fit(np.hstack([inputs, features]), labels),
        )

    def predict(
        self, perceptions: Sequence[Perception]
    ) -> dict[str, tuple[Sequence[str], np.ndarray]]:
        """Label and probability of each of N boxes, in the order of the images."""
        inputs, features = _inputs(perceptions, self.detector_labels), _features(perceptions)
        predicted: dict[str, tuple[Sequence[str], np.ndarray]] = {
            MAJORITY: ([self.majority] * len(inputs), np.ones(len(inputs), np.float32)),
            GEOMETRY: self.without_features.predict(inputs),
        }
        if self.with_features is not None and features is not None:
            shuffled = features[np.random.default_rng(_SEED).permutation(len(features))]
            predicted[FEATURES] = self.with_features.predict(np.hstack([inputs, features]))
            predicted[SHUFFLED] = self.with_features.predict(np.hstack([inputs, shuffled]))
        return predicted


@dataclass(frozen=True, eq=False)
class _Probe:
    """Multinomial logistic regression on D standardized inputs.

    Attributes:
        labels: L labels.
        mean: (D,) mean of the inputs.
        scale: (D,) standard deviation of the inputs, 1 for constants.
        weights: (D + 1, L) coefficients; the last row is the bias.
    """

    labels: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray

    @classmethod
    def fit(cls, inputs: np.ndarray, labels: Sequence[str]) -> _Probe:
        """Fit to (N, D) inputs with N labels."""
        names = tuple(sorted(set(labels)))
        targets = np.searchsorted(names, labels)
        mean, scale = inputs.mean(axis=0), inputs.std(axis=0)
        probe = cls(names, mean, np.where(scale > 0, scale, 1), np.zeros(0))
        standardized = probe._standardized(inputs)
        held_out = np.random.default_rng(_SEED).permutation(len(targets)) % _HELD_OUT == 0

        def accuracy(penalty: float) -> float:
            weights = _fit(standardized[~held_out], targets[~held_out], len(names), penalty)
            return float(
                ((standardized[held_out] @ weights).argmax(1) == targets[held_out]).mean()
            )

        best = max(_PENALTIES, key=accuracy) if held_out.sum() < len(targets) else _PENALTIES[-1]
        return replace(probe, weights=_fit(standardized, targets, len(names), best))

    def predict(self, inputs: np.ndarray) -> tuple[Sequence[str], np.ndarray]:
        """Most probable label of each of N inputs, and (N,) its probability."""
        logits = self._standardized(inputs) @ self.weights
        probabilities = torch.from_numpy(logits).softmax(1).numpy()
        best = probabilities.argmax(1)
        return [self.labels[i] for i in best], probabilities[np.arange(len(best)), best]

    def _standardized(self, inputs: np.ndarray) -> np.ndarray:
        """(N, D + 1) float32 with a column of ones."""
        values = (inputs - self.mean) / self.scale
        return np.hstack([values, np.ones((len(values), 1))]).astype(np.float32)


def _fit(inputs: np.ndarray, targets: np.ndarray, classes: int, penalty: float) -> np.ndarray:
    """Minimize the cross-entropy of N targets given (N, D) inputs; returns (D, classes)."""
    values, wanted = torch.from_numpy(inputs), torch.from_numpy(targets)
    weights = torch.zeros(values.shape[1], classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        entropy = torch.nn.functional.cross_entropy(values @ weights, wanted)
        # Without the bias.
        total = entropy + penalty * weights[:-1].square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return weights.detach().numpy()


def _one_label_each(perception: Perception) -> Perception:
    return perception.take(one_label_indices(perception.candidates))


def _named_boxes(found: Detections, truth: TrueObjects) -> tuple[np.ndarray, list[str]]:
    """Indices of the boxes that match true objects, and the labels of these objects."""
    matches = best_matches(truth.objects, found)
    objects = np.flatnonzero(truth.counted & (matches >= 0))
    return matches[objects], [truth.objects.labels[i] for i in objects]


def _inputs(perceptions: Sequence[Perception], detector_labels: Sequence[str]) -> np.ndarray:
    """(N, 6 + 1 + V) geometry of each box, and the detector's score and label (one-hot)."""
    rows = []
    for candidates in (each.candidates for each in perceptions):
        center, sides = np.hsplit(
            candidates.xywh / np.tile(candidates.resolution_wh, 2).clip(1), [2]
        )
        area = sides.prod(axis=1, keepdims=True)
        aspect = np.log(sides[:, :1].clip(1e-6) / sides[:, 1:].clip(1e-6))
        is_label = np.array(candidates.labels)[:, None] == np.array(detector_labels)
        scores = candidates.scores[:, None]
        is_label = is_label.reshape(len(candidates), len(detector_labels))
        rows.append(np.hstack([center, sides, area, aspect, scores, is_label]))
    return np.concatenate(rows)


def _features(perceptions: Sequence[Perception]) -> np.ndarray | None:
    """(N, d_p) features of each box, or None for a detector without features."""
    features = [each.features for each in perceptions]
    if any(each is None for each in features):
        return None
    return torch.cat(features).float().cpu().numpy()


def _relabeled(
    perceptions: Sequence[Perception], labels: Sequence[str], probabilities: np.ndarray
) -> PredictedObjects:
    """Give the boxes other labels, with the detector's score times the label's probability."""
    candidates, start = [], 0
    for perception in perceptions:
        found = perception.candidates
        end = start + len(found)
        scores = (found.scores * probabilities[start:end]).astype(np.float32)
        candidates.append(replace(found, labels=tuple(labels[start:end]), scores=scores))
        start = end
    reported = [
        each.take(np.flatnonzero(each.scores >= np.float32(perception.score_threshold)))
        for each, perception in zip(candidates, perceptions, strict=True)
    ]
    return PredictedObjects(candidates, reported)
