# SPDX-License-Identifier: Apache-2.0
"""Synthetic scenes without images: simulated detections with targets and questions.

They teach a language model to use the list of objects, to count, compare and cite, with many more
nouns than any labeled data set has. Detector errors are simulated, so that the truth about each
candidate is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from mrmllm_ros.datasets.example import Example, Targets
from mrmllm_ros.datasets.questions.question_sampler import ask
from mrmllm_ros.datasets.questions.scene import Scene
from mrmllm_ros.datasets.questions.vocabulary import (
    RAISED,
    STATES,
    Noun,
    SceneKind,
    Split,
    confusable,
    invented,
    kinds,
    overlap,
    vocabulary,
)
from mrmllm_ros.detection.boxes import box_iou, clip_boxes
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Perception, rank
from mrmllm_ros.model.configuration_mrmllm import COLORS

THRESHOLD = 0.3
MAX_CANDIDATES = 24
MAX_OBJECTS = 14

# Probabilities of detector errors, for each object.
MISSED, DUPLICATED, MISLABELED = 0.08, 0.06, 0.05
# Probabilities of an empty scene and, in training, of labels that do not fit the scene.
EMPTY, RANDOM_LABELS = 0.04, 0.25
# Share of invented words among random labels, which can only be read from the list.
INVENTED = 0.4
# Probability of a crowded scene; small language models learn to count late.
CROWDED: Mapping[Split, float] = {"train": 0.35, "evaluation": 0.2}
# Probabilities that a scene states these properties.
WITH_COLORS, WITH_STATES = 0.75, 0.6
# Small language models learn to compare distances late, too.
WITH_DISTANCES: Mapping[Split, float] = {"train": 0.7, "evaluation": 0.45}
# Probability that some distances of a scene are unknown, and the share of those then.
SOME_UNKNOWN, UNKNOWN_SHARE = 0.3, 0.25
COLORED, COLOR_DETECTED, COLOR_WRONG = 0.8, 0.95, 0.04
HELD_OUT = 0.5

JITTER = 0.04  # standard deviation of a box's edges, as a share of its sides
_MIN_SIDE = 6  # pixels
_MAX_IOU = 0.5
_FALSE_POSITIVES = 4.0  # mean number
_REPORTED_SHARE = 0.07  # of false positives
_RESOLUTIONS = ((640, 480), (1280, 720))
# Estimated frequencies of the `COLORS` of man-made objects.
_COLOR_SHARES = (0.20, 0.19, 0.14, 0.10, 0.04, 0.05, 0.08, 0.11, 0.02, 0.02, 0.05)

T = TypeVar("T")


@dataclass(frozen=True, eq=False, kw_only=True)
class _Object:
    """Object of a scene; `xyxy` in pixels, `distance` in meters."""

    label: str
    xyxy: np.ndarray
    distance: float
    color: str = ""
    state: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class _Candidate:
    """Simulated detection of an object, or a false positive."""

    label: str
    xyxy: np.ndarray
    score: float
    source: _Object
    is_object: bool = False


def synthetic_example(
    seed: int, split: Split, questions: int, *, doubtful: bool = True
) -> Example:
    """Generate a synthetic scene; the same for the same arguments.

    Args:
        seed: Random seed of the scene, at least 0.
        split: Evaluation has kinds of scenes, nouns and templates that training never has.
        questions: Maximum number of questions.
        doubtful: Whether questions are also about doubtful objects, which the prompt then names.

    Returns:
        At most `MAX_CANDIDATES` candidates without features and image.
    """
    rng = np.random.default_rng([seed, ("train", "evaluation").index(split)])
    sampler = _LayoutSampler.create(rng, split)
    candidates = sampler.candidates(sampler.objects())
    # Rank them with their sources, in the order of `Perception.ranked`.
    order = rank(_detections(candidates, sampler.resolution_wh), THRESHOLD)
    candidates = [candidates[i] for i in order]
    attributes, meters = sampler.properties(candidates)
    detections = _detections(candidates, sampler.resolution_wh, meters)
    perception = Perception.ranked(detections, THRESHOLD)
    scene = (
        Scene.of_perception(perception, attributes)
        if doubtful
        else Scene.of(perception.detections, attributes)
    )
    return Example(
        perception=perception,
        attributes=attributes,
        questions=ask(scene, rng, questions, split, vocabulary(split)),
        targets=_targets(candidates),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _LayoutSampler:
    """Samples the objects of one scene and their detections."""

    rng: np.random.Generator
    kind: SceneKind
    split: Split
    resolution_wh: tuple[int, int]
    horizon: float

    @classmethod
    def create(cls, rng: np.random.Generator, split: Split) -> _LayoutSampler:
        choices = kinds(split)
        return cls(
            rng=rng,
            kind=choices[int(rng.integers(len(choices)))],
            split=split,
            resolution_wh=_RESOLUTIONS[int(rng.integers(len(_RESOLUTIONS)))],
            horizon=float(rng.uniform(0.32, 0.48)),
        )

    def objects(self) -> list[_Object]:
        """Sample the objects of the scene, none to `MAX_OBJECTS`."""
        nouns = [] if self._chance(EMPTY) else self._nouns()
        # Otherwise a model learns which objects occur together, instead of reading the list.
        if self.split == "train" and self._chance(RANDOM_LABELS):
            nouns = self._relabeled(nouns)
        objects: list[_Object] = []
        for noun in nouns:
            placed = self._placed(noun, [other.xyxy for other in objects])
            if placed is not None:
                objects.append(placed)
        return objects

    def candidates(self, objects: list[_Object]) -> list[_Candidate]:
        """Simulate the detector: at most `MAX_CANDIDATES`, highest scores first."""
        labels = {item.label for item in objects}
        found = [candidate for item in objects for candidate in self._detected(item, labels)]
        boxes = [item.xyxy for item in objects]
        for _ in range(int(self.rng.poisson(_FALSE_POSITIVES))):
            noun = self._noun()
            false = self._placed(noun, boxes) if _is_unambiguous(noun.label, labels) else None
            if false is not None:
                labels.add(noun.label)
                score = self._false_score()
                found.append(
                    _Candidate(label=false.label, xyxy=false.xyxy, score=score, source=false)
                )
        return sorted(found, key=lambda candidate: -candidate.score)[:MAX_CANDIDATES]

    def properties(
        self, candidates: list[_Candidate]
    ) -> tuple[tuple[Mapping[str, str], ...], np.ndarray]:
        """Sample the stated attributes and (N,) distances in meters of each candidate."""
        stated = [
            name
            for name, share in (("color", WITH_COLORS), ("state", WITH_STATES))
            if self._chance(share)
        ]
        with_distances = self._chance(WITH_DISTANCES[self.split])
        known_share = 1 - UNKNOWN_SHARE * self._chance(SOME_UNKNOWN)
        attributes, meters = [], []
        for candidate in candidates:
            values = self._attributes(candidate)
            attributes.append({name: values[name] for name in stated if values[name]})
            is_known = self._chance(known_share) and with_distances
            meters.append(candidate.source.distance if is_known else np.nan)
        return tuple(attributes), np.array(meters, np.float32)

    def _chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def _pick(self, items: Sequence[T]) -> T:
        return items[int(self.rng.integers(len(items)))]

    def _noun(self) -> Noun:
        """A noun of the kind of scene; in evaluation, half of the nouns are held out."""
        held_out = self.split == "evaluation" and self._chance(HELD_OUT)
        nouns = [noun for noun in self.kind.nouns if noun.held_out == held_out]
        weights = np.cumsum([noun.weight for noun in nouns])
        return nouns[int(np.searchsorted(weights, self.rng.random() * weights[-1], "right"))]

    def _nouns(self) -> list[Noun]:
        """Nouns of the scene, one for each object."""
        frequent = [noun for noun in self.kind.nouns if noun.max_count >= 5]
        nouns: list[Noun] = []
        if self._chance(CROWDED[self.split]):
            nouns = [self._pick(frequent)] * int(self.rng.integers(6, 14))
        count = min(len(nouns) + int(1 + self.rng.binomial(13, 0.37)), MAX_OBJECTS)
        while len(nouns) < count:
            noun = self._noun()
            if any(overlap(noun.label, other.label) for other in nouns):
                continue
            number = min(int(self.rng.geometric(0.55)), noun.max_count, count - len(nouns))
            nouns += [noun] * number
        return nouns

    def _relabeled(self, nouns: list[Noun]) -> list[Noun]:
        """Replace labels by random and invented ones."""
        labels: dict[str, str] = {}
        for noun in nouns:
            while noun.label not in labels:
                label = self._pick(vocabulary("train"))
                if self._chance(INVENTED):
                    label = invented(self.rng, label)
                if not any(overlap(label, other) for other in labels.values()):
                    labels[noun.label] = label
        return [replace(noun, label=labels[noun.label]) for noun in nouns]

    def _placed(self, noun: Noun, others: Sequence[np.ndarray]) -> _Object | None:
        """Place an object where it hides no other object; None if no place is found."""
        for _ in range(6):
            # Near objects are larger and lower in the image.
            scale = float(np.exp(self.rng.normal(-0.25, 0.4)).clip(0.25, 1.6))
            xyxy = self._box(noun, scale)
            hides = len(others) > 0 and box_iou(xyxy[None], np.stack(others)).max() > _MAX_IOU
            if min(xyxy[2:] - xyxy[:2]) >= _MIN_SIDE and not hides:
                states = STATES.get(noun.label)
                return _Object(
                    label=noun.label,
                    xyxy=xyxy,
                    distance=self.kind.distance_m / scale,
                    color=self._color() if self._chance(COLORED) else "",
                    state=self._pick(states) if states else "",
                )
        return None

    def _color(self) -> str:
        return str(self.rng.choice(COLORS, p=_COLOR_SHARES))

    def _box(self, noun: Noun, scale: float) -> np.ndarray:
        """(4,) box in pixels, clipped to the image."""
        image_width, image_height = self.resolution_wh
        height = noun.height * scale * np.exp(self.rng.normal(0, 0.12)) * image_height
        width = noun.aspect * np.exp(self.rng.normal(0, 0.15)) * height
        if noun.label in RAISED:
            bottom = self.rng.uniform(0.1, 0.55) * image_height + height / 2
        else:
            # Small objects often lie on furniture.
            small = noun.height < 0.2
            lifted = self.rng.uniform(0, 0.2) if small else self.rng.normal(0, 0.02)
            bottom = (self.horizon + 0.4 * scale - lifted) * image_height
        center = self.rng.uniform(0.02, 0.98) * image_width
        corners = np.array([center - width / 2, bottom - height, center + width / 2, bottom])
        return clip_boxes(corners, self.resolution_wh)

    def _detected(self, item: _Object, labels: set[str]) -> list[_Candidate]:
        """Simulate detections of an object: none, one or two.

        Args:
            item: The object.
            labels: Labels of objects and detections so far; a wrong label is added.
        """
        score = float(THRESHOLD + 0.05 + 0.6 * self.rng.beta(2.2, 1.4))
        if self._chance(MISSED):
            if self._chance(0.5):
                return []
            score = float(self.rng.uniform(0.06, 0.28))
        label = item.label
        if self._chance(MISLABELED):
            label = self._confused(item.label, labels)
            score *= float(self.rng.uniform(0.55, 1))
        xyxy = self._jittered(item, JITTER)
        best = _Candidate(label=label, xyxy=xyxy, score=score, source=item, is_object=True)
        return [best, self._duplicate(best, labels)] if self._chance(DUPLICATED) else [best]

    def _duplicate(self, best: _Candidate, labels: set[str]) -> _Candidate:
        """A second, worse box of the same object."""
        xyxy = self._jittered(best.source, 4 * JITTER)
        label = self._confused(best.source.label, labels) if self._chance(0.35) else best.label
        score = max(best.score * float(self.rng.uniform(0.35, 0.9)), 0.05)
        return replace(best, label=label, xyxy=xyxy, score=score, is_object=False)

    def _confused(self, label: str, labels: set[str]) -> str:
        """A label that a detector may confuse with this one; the same if there is none."""
        known = frozenset(vocabulary(self.split))
        others = [x for x in confusable(label) if x in known and _is_unambiguous(x, labels)]
        if not others:
            return label
        other = self._pick(others)
        labels.add(other)
        return other

    def _jittered(self, item: _Object, share: float) -> np.ndarray:
        sides = np.tile(item.xyxy[2:] - item.xyxy[:2], 2)
        moved = item.xyxy + self.rng.normal(0, share, 4).clip(-0.4, 0.4) * sides
        return clip_boxes(moved, self.resolution_wh)

    def _false_score(self) -> float:
        if self._chance(_REPORTED_SHARE):
            return float(THRESHOLD + 0.3 * self.rng.beta(1, 2.5))
        # A detector names many doubtful objects.
        return float(self.rng.uniform(0.05, 0.99 * THRESHOLD))

    def _attributes(self, candidate: _Candidate) -> dict[str, str]:
        """Attributes as the detector measures them; empty if unknown."""
        source = candidate.source
        color = self._color() if self._chance(COLOR_WRONG) else source.color
        return {
            "color": color if source.color and self._chance(COLOR_DETECTED) else "",
            "state": source.state if candidate.label == source.label else "",
        }


def _is_unambiguous(label: str, labels: set[str]) -> bool:
    """Whether no other label can mean the same object."""
    return not any(overlap(label, other) for other in labels - {label})


def _detections(
    candidates: list[_Candidate],
    resolution_wh: tuple[int, int],
    meters: np.ndarray | None = None,
) -> Detections:
    return Detections(
        xyxy=np.array([c.xyxy for c in candidates], np.float32).reshape(-1, 4),
        scores=np.array([c.score for c in candidates], np.float32),
        labels=tuple(c.label for c in candidates),
        resolution_wh=resolution_wh,
        distances_m=meters,
    )


def _targets(candidates: list[_Candidate]) -> Targets:
    unknown = np.full(4, np.nan, np.float32)
    return Targets(
        scores=np.array([c.is_object for c in candidates], np.float32),
        labels=tuple(c.source.label if c.is_object else "" for c in candidates),
        xyxy=np.array(
            [c.source.xyxy if c.is_object else unknown for c in candidates], np.float32
        ).reshape(-1, 4),
        attributes=tuple(
            {"color": c.source.color} if c.is_object and c.source.color else {} for c in candidates
        ),
        novelty=np.array(
            [not c.is_object or c.label != c.source.label for c in candidates], np.float32
        ),
    )
