# SPDX-License-Identifier: Apache-2.0
"""Made-up scenes without images: boxes as a detector gives them, right and wrong, and questions.

They teach a language model to read the list of objects, to count, compare and cite, on many more
nouns than any set of labeled images has. The detector's mistakes are ours to set, so that the
truth about each candidate is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from mrmllm_ros.datasets.example import Example, Targets
from mrmllm_ros.datasets.questions.question_sampler import ask
from mrmllm_ros.datasets.questions.scene_sampler import Scene
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
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Perception, rank
from mrmllm_ros.model.configuration_mrmllm import COLORS

THRESHOLD = 0.3
MAX_CANDIDATES = 24
MAX_OBJECTS = 14

# Shares of objects that the detector gets wrong, and of scenes that are special.
MISSED, DOUBLED, MISLABELED = 0.08, 0.06, 0.05
EMPTY, RANDOM_NAMES = 0.04, 0.25
# Of random names, those that no dictionary has: they can only be read off the list.
COINED = 0.4
# What a small language model learns last; training shows more of them.
CROWDS: Mapping[Split, float] = {"train": 0.35, "evaluation": 0.2}
WITH_COLORS, WITH_STATES, WITH_DISTANCES = 0.75, 0.6, 0.45
# Where there are distances: how often some are unknown, and how many then.
SOME_WITHOUT, WITHOUT_DISTANCE = 0.3, 0.25
COLOR_KNOWN, COLOR_SEEN, COLOR_WRONG = 0.8, 0.95, 0.04
HELD_OUT = 0.5

JITTER = 0.04  # of a box's sides
_LEAST_SIDE = 6  # pixels
_MOST_IOU = 0.5
_FALSE = 1.8  # boxes with nothing in them, on average
_RESOLUTIONS = ((640, 480), (1280, 720))
# How often things made by people are of each of the `COLORS`; a guess of ours.
_COLOR_SHARES = (0.20, 0.19, 0.14, 0.10, 0.04, 0.05, 0.08, 0.11, 0.02, 0.02, 0.05)

T = TypeVar("T")


@dataclass(frozen=True, eq=False, kw_only=True)
class _Thing:
    """An object that is there; `xyxy` in pixels, `distance` in meters."""

    label: str
    xyxy: np.ndarray
    distance: float
    color: str = ""
    state: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class _Candidate:
    """What the detector makes of a thing, or of nothing."""

    label: str
    xyxy: np.ndarray
    score: float
    seen: _Thing
    is_object: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class _Stage:
    """What all objects of a scene share."""

    rng: np.random.Generator
    kind: SceneKind
    split: Split
    resolution_wh: tuple[int, int]
    horizon: float

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.rng.integers(len(items)))]

    def noun(self) -> Noun:
        """A noun of the kind; in evaluation one that training never shows as often as not."""
        held_out = self.split == "evaluation" and self.chance(HELD_OUT)
        nouns = [noun for noun in self.kind.nouns if noun.held_out == held_out]
        weights = np.cumsum([noun.weight for noun in nouns])
        return nouns[int(np.searchsorted(weights, self.rng.random() * weights[-1], "right"))]


def synthetic_example(seed: int, split: Split, questions: int) -> Example:
    """Make up a scene; the same for the same arguments.

    Args:
        seed: Which scene, at least 0.
        split: Evaluation shows kinds of scenes, nouns and wordings that training never does.
        questions: Most questions about it.

    Returns:
        At most `MAX_CANDIDATES` candidates without features or image.
    """
    rng = np.random.default_rng([seed, ("train", "evaluation").index(split)])
    stage = _stage(rng, split)
    candidates = _ranked(_candidates(stage, _things(stage)), stage.resolution_wh)
    attributes, meters = _measured(stage, candidates)
    detections = _detections(candidates, stage.resolution_wh, meters)
    perception = Perception.ranked(detections, THRESHOLD)
    scene = Scene.of(perception.detections, attributes)
    return Example(
        perception=perception,
        attributes=attributes,
        questions=ask(scene, rng, questions, split, vocabulary(split)),
        targets=_targets(candidates),
    )


def _stage(rng: np.random.Generator, split: Split) -> _Stage:
    among = kinds(split)
    return _Stage(
        rng=rng,
        kind=among[int(rng.integers(len(among)))],
        split=split,
        resolution_wh=_RESOLUTIONS[int(rng.integers(len(_RESOLUTIONS)))],
        horizon=float(rng.uniform(0.32, 0.48)),
    )


def _things(stage: _Stage) -> list[_Thing]:
    """The objects that are there, from none to `MAX_OBJECTS`."""
    nouns = [] if stage.chance(EMPTY) else _cast(stage)
    # Else the model learns which things go together, and not to read the list.
    if stage.split == "train" and stage.chance(RANDOM_NAMES):
        nouns = _renamed(stage, nouns)
    things: list[_Thing] = []
    for noun in nouns:
        thing = _placed(stage, noun, [thing.xyxy for thing in things])
        if thing is not None:
            things.append(thing)
    return things


def _cast(stage: _Stage) -> list[Noun]:
    """Which nouns are there, each as many times as there are of it."""
    crowded = [noun for noun in stage.kind.nouns if noun.most >= 5]
    nouns: list[Noun] = []
    if stage.chance(CROWDS[stage.split]):
        nouns = [stage.pick(crowded)] * int(stage.rng.integers(6, 14))
    wanted = min(len(nouns) + int(1 + stage.rng.binomial(13, 0.37)), MAX_OBJECTS)
    while len(nouns) < wanted:
        noun = stage.noun()
        if any(overlap(noun.label, other.label) for other in nouns):
            continue
        number = min(int(stage.rng.geometric(0.55)), noun.most, wanted - len(nouns))
        nouns += [noun] * number
    return nouns


def _renamed(stage: _Stage, nouns: list[Noun]) -> list[Noun]:
    names: dict[str, str] = {}
    for noun in nouns:
        while noun.label not in names:
            name = stage.pick(vocabulary("train"))
            if stage.chance(COINED):
                name = invented(stage.rng, name)
            if not any(overlap(name, other) for other in names.values()):
                names[noun.label] = name
    return [replace(noun, label=names[noun.label]) for noun in nouns]


def _placed(stage: _Stage, noun: Noun, others: Sequence[np.ndarray]) -> _Thing | None:
    """Put one somewhere where it does not hide what is there, or nowhere."""
    for _ in range(6):
        # Nearer things are larger and lower in the image.
        scale = float(np.exp(stage.rng.normal(-0.25, 0.4)).clip(0.25, 1.6))
        xyxy = _box(stage, noun, scale)
        hides = len(others) > 0 and _iou(xyxy, np.stack(others)).max() > _MOST_IOU
        if min(xyxy[2:] - xyxy[:2]) >= _LEAST_SIDE and not hides:
            pair = STATES.get(noun.label)
            return _Thing(
                label=noun.label,
                xyxy=xyxy,
                distance=stage.kind.distance_m / scale,
                color=_color(stage) if stage.chance(COLOR_KNOWN) else "",
                state=stage.pick(pair) if pair else "",
            )
    return None


def _color(stage: _Stage) -> str:
    return str(stage.rng.choice(COLORS, p=_COLOR_SHARES))


def _box(stage: _Stage, noun: Noun, scale: float) -> np.ndarray:
    """(4,) a box in pixels, cut off at the image's edges."""
    rng, (image_width, image_height) = stage.rng, stage.resolution_wh
    height = noun.height * scale * np.exp(rng.normal(0, 0.12)) * image_height
    width = noun.aspect * np.exp(rng.normal(0, 0.15)) * height
    if noun.label in RAISED:
        bottom = rng.uniform(0.1, 0.55) * image_height + height / 2
    else:
        # Small things often lie on something.
        lifted = rng.uniform(0, 0.2) if noun.height < 0.2 else rng.normal(0, 0.02)
        bottom = (stage.horizon + 0.4 * scale - lifted) * image_height
    center = rng.uniform(0.02, 0.98) * image_width
    corners = np.array([center - width / 2, bottom - height, center + width / 2, bottom])
    return _clipped(corners, stage.resolution_wh)


def _clipped(xyxy: np.ndarray, resolution_wh: tuple[int, int]) -> np.ndarray:
    return xyxy.clip(0, np.tile(resolution_wh, 2))


def _iou(xyxy: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) overlap of a box with (N, 4) others."""
    inner = np.minimum(xyxy[2:], others[:, 2:]) - np.maximum(xyxy[:2], others[:, :2])
    shared = inner.clip(0).prod(axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    return shared / (np.prod(xyxy[2:] - xyxy[:2]) + areas - shared).clip(1e-9)


def _candidates(stage: _Stage, things: list[_Thing]) -> list[_Candidate]:
    """What the detector finds; the surest where it is too many."""
    names = {thing.label for thing in things}
    found = [candidate for thing in things for candidate in _found(stage, thing, names)]
    others = [thing.xyxy for thing in things]
    for _ in range(int(stage.rng.poisson(_FALSE))):
        noun = stage.noun()
        nothing = _placed(stage, noun, others) if _is_clear(noun.label, names) else None
        if nothing is not None:
            names.add(noun.label)
            score = _false_score(stage)
            label, xyxy = nothing.label, nothing.xyxy
            found.append(_Candidate(label=label, xyxy=xyxy, score=score, seen=nothing))
    return sorted(found, key=lambda candidate: -candidate.score)[:MAX_CANDIDATES]


def _is_clear(label: str, names: set[str]) -> bool:
    """Whether a mistake may bear this name: no other name may mean the same thing."""
    return not any(overlap(label, name) for name in names - {label})


def _found(stage: _Stage, thing: _Thing, names: set[str]) -> list[_Candidate]:
    """What the detector makes of one object: nothing, one candidate or two.

    `names`, of all that is there or taken to be, grows by that of a mistake.
    """
    score = float(THRESHOLD + 0.05 + 0.6 * stage.rng.beta(2.2, 1.4))
    if stage.chance(MISSED):
        if stage.chance(0.5):
            return []
        score = float(stage.rng.uniform(0.06, 0.28))
    label = thing.label
    if stage.chance(MISLABELED):
        label = _taken_for(stage, thing.label, names)
        score *= float(stage.rng.uniform(0.55, 1))
    best = _Candidate(
        label=label, xyxy=_jittered(stage, thing, JITTER), score=score, seen=thing, is_object=True
    )
    return [best, _double(stage, best, names)] if stage.chance(DOUBLED) else [best]


def _double(stage: _Stage, best: _Candidate, names: set[str]) -> _Candidate:
    """A second, worse box of the same object."""
    shifted = _jittered(stage, best.seen, 4 * JITTER)
    label = _taken_for(stage, best.seen.label, names) if stage.chance(0.35) else best.label
    score = max(best.score * float(stage.rng.uniform(0.35, 0.9)), 0.05)
    return replace(best, label=label, xyxy=shifted, score=score, is_object=False)


def _taken_for(stage: _Stage, label: str, names: set[str]) -> str:
    known = frozenset(vocabulary(stage.split))
    others = [x for x in confusable(label) if x in known and _is_clear(x, names)]
    if not others:
        return label
    name = stage.pick(others)
    names.add(name)
    return name


def _jittered(stage: _Stage, thing: _Thing, share: float) -> np.ndarray:
    sides = np.tile(thing.xyxy[2:] - thing.xyxy[:2], 2)
    moved = thing.xyxy + stage.rng.normal(0, share, 4).clip(-0.4, 0.4) * sides
    return _clipped(moved, stage.resolution_wh)


def _false_score(stage: _Stage) -> float:
    if stage.chance(0.15):
        return float(THRESHOLD + 0.3 * stage.rng.beta(1, 2.5))
    return float(0.05 + 0.25 * stage.rng.beta(1, 2))


def _ranked(candidates: list[_Candidate], resolution_wh: tuple[int, int]) -> list[_Candidate]:
    """The candidates in the order of `Perception.ranked`, so that all about them goes along."""
    return [candidates[i] for i in rank(_detections(candidates, resolution_wh), THRESHOLD)]


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


def _measured(
    stage: _Stage, candidates: list[_Candidate]
) -> tuple[tuple[Mapping[str, str], ...], np.ndarray]:
    """Attributes and distances of each candidate; detectors differ in what they measure."""
    names = {
        "color": stage.chance(WITH_COLORS),
        "state": stage.chance(WITH_STATES),
    }
    with_distances = stage.chance(WITH_DISTANCES)
    known = [name for name, stated in names.items() if stated]
    ranged = 1 - WITHOUT_DISTANCE * stage.chance(SOME_WITHOUT)
    values, meters = [], []
    for candidate in candidates:
        values.append(_perceived(stage, candidate))
        is_known = stage.chance(ranged) and with_distances
        meters.append(candidate.seen.distance if is_known else np.nan)
    attributes = ({n: value for n in known if (value := of_object[n])} for of_object in values)
    return tuple(attributes), np.array(meters, np.float32)


def _perceived(stage: _Stage, candidate: _Candidate) -> dict[str, str]:
    """Attributes as the detector perceives them."""
    thing = candidate.seen
    color = _color(stage) if stage.chance(COLOR_WRONG) else thing.color
    return {
        "color": color if thing.color and stage.chance(COLOR_SEEN) else "",
        "state": thing.state if candidate.label == thing.label else "",
    }


def _targets(candidates: list[_Candidate]) -> Targets:
    nowhere = np.full(4, np.nan, np.float32)
    return Targets(
        scores=np.array([c.is_object for c in candidates], np.float32),
        labels=tuple(c.seen.label if c.is_object else "" for c in candidates),
        xyxy=np.array(
            [c.seen.xyxy if c.is_object else nowhere for c in candidates], np.float32
        ).reshape(-1, 4),
        attributes=tuple(
            {"color": c.seen.color} if c.is_object and c.seen.color else {} for c in candidates
        ),
        novelty=np.array(
            [not c.is_object or c.label != c.seen.label for c in candidates], np.float32
        ),
    )
