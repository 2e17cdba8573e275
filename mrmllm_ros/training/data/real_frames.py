# SPDX-License-Identifier: Apache-2.0
"""Examples from real videos that nobody has labelled.

What the detector reports in a clean image is taken for the truth. The model is then given what it
finds in the same image once that is damaged, and learns to see through the damage.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torchvision.ops import box_iou

from mrmllm_ros.model.visual_encoder import VisualEncoder
from mrmllm_ros.perception.colour import COLOURS, measure_colours
from mrmllm_ros.perception.detections import Detections
from mrmllm_ros.perception.detector import Detector, Perception
from mrmllm_ros.perception.playback import frames
from mrmllm_ros.training.data.damage import DAMAGES, STRENGTHS, damage
from mrmllm_ros.training.data.example import Example, QuestionAnswer, Targets
from mrmllm_ros.training.data.questions import Scene, ask

Attributes = tuple[Mapping[str, str], ...]
Questions = Callable[[Perception, Attributes, np.random.Generator], tuple[QuestionAnswer, ...]]
# Takes the clean image and the truth, and gives the truth with better labels.
Relabel = Callable[[np.ndarray, Detections], Detections]

REPORTED_FROM = 0.3
# Between this score and the one above nobody knows whether there is an object.
DOUBTFUL_FROM = 0.15

_SAME_OBJECT = 0.5  # IoU
_LEAST_CROP = 0.5
_MOST_WIDTH = 640  # pixels
_CLEAN_SHARE = 0.2
_BATCH = 4
_QUESTIONS = 8


@dataclass(frozen=True, kw_only=True)
class FrameSource:
    """Frames of a video, or images of a folder.

    Attributes:
        name: Tells its random choices from those of other sources.
        path: What `playback.frames` reads.
        first: Index of the first frame, from 0.
        last: Index behind which no frame is taken, or None for all.
        step: Every how many frames one is taken.
    """

    name: str
    path: Path
    first: int = 0
    last: int | None = None
    step: int = 1

    def read(self) -> Iterator[tuple[int, np.ndarray]]:
        """Read the frames.

        Returns:
            Iterator of indices and (H, W, 3) uint8 arrays in BGR order.

        Raises:
            ImageError: If the source cannot be read.
        """
        stop = None if self.last is None else self.last + 1
        return islice(enumerate(frames(self.path)), self.first, stop, self.step)


@dataclass(frozen=True, eq=False)
class _Shot:
    """One view of a frame, without and with damage."""

    clean: np.ndarray
    damaged: np.ndarray
    rng: np.random.Generator


def view(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut out a part of an image and perhaps mirror it.

    Otherwise the places where a fixed camera's objects stand would pass for understanding.

    Args:
        image: (H, W, 3) uint8.
        rng: Chooses the part.

    Returns:
        (h, w, 3) uint8, from half to all of each side, at most 640 wide, proportions as in the
        image.
    """
    sides = image.shape[:2]
    lengths = [max(1, round(side * rng.uniform(_LEAST_CROP, 1.0))) for side in sides]
    starts = [int(rng.integers(0, side - n + 1)) for side, n in zip(sides, lengths, strict=True)]
    rows, columns = (slice(start, start + n) for start, n in zip(starts, lengths, strict=True))
    part = image[rows, columns]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    height, width = part.shape[:2]
    if width > _MOST_WIDTH:
        size = (_MOST_WIDTH, max(1, round(height * _MOST_WIDTH / width)))
        return cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(part)


def pseudo_labels(clean: Perception, threshold: float = REPORTED_FROM) -> Detections:
    """The objects of a clean image that are sure enough to be taken for the truth."""
    return _between(clean.candidates, threshold, np.inf)


def doubtful_labels(
    clean: Perception, least: float = DOUBTFUL_FROM, threshold: float = REPORTED_FROM
) -> Detections:
    """The objects of a clean image that may be there or not."""
    return _between(clean.candidates, least, threshold)


def _between(candidates: Detections, least: float, below: float) -> Detections:
    scores = candidates.scores
    chosen = (scores >= np.float32(least)) & (scores < np.float32(below))
    return candidates.take(np.flatnonzero(chosen))


def match_targets(
    candidates: Detections,
    truth: Detections,
    colours: Sequence[str],
    doubtful: Detections | None = None,
    values: Sequence[str] = COLOURS,
) -> Targets:
    """Say what each candidate should have been.

    Each true object goes to one candidate that overlaps it by half or more: to one of its label
    before others, then to the surest.

    Args:
        candidates: K objects as found in the damaged image.
        truth: M objects that are there.
        colours: M colours of theirs; empty where unknown.
        doubtful: Objects that may be there: of a candidate that overlaps one of them by half or
            more, and got no true object, nothing is known.
        values: The colours that can be learnt; others count as unknown.

    Returns:
        Targets of the K candidates.
    """
    count = len(candidates)
    scores = np.zeros(count, np.float32)
    if doubtful is not None:
        scores[(_overlaps(candidates, doubtful) >= _SAME_OBJECT).any(axis=1)] = np.nan
    labels = [""] * count
    xyxy = np.full((count, 4), np.nan, np.float32)
    attributes: list[Mapping[str, str]] = [{}] * count
    for candidate, true in _pairs(candidates, truth):
        scores[candidate] = 1
        labels[candidate] = truth.labels[true]
        xyxy[candidate] = truth.xyxy[true]
        attributes[candidate] = _colour(colours[true] if colours[true] in values else "")
    return Targets(scores=scores, labels=tuple(labels), xyxy=xyxy, attributes=tuple(attributes))


def _pairs(candidates: Detections, truth: Detections) -> Iterator[tuple[int, int]]:
    """Positions of candidates and of the true objects that they are, one to one."""
    overlaps = _overlaps(candidates, truth)
    found, true = np.nonzero(overlaps >= _SAME_OBJECT)
    same = np.array(
        [candidates.labels[k] == truth.labels[m] for k, m in zip(found, true, strict=True)], bool
    )
    order = np.lexsort((-overlaps[found, true], -candidates.scores[found], ~same))
    free_candidates, free_truth = set(found.tolist()), set(true.tolist())
    for k, m in zip(found[order].tolist(), true[order].tolist(), strict=True):
        if k in free_candidates and m in free_truth:
            free_candidates.remove(k)
            free_truth.remove(m)
            yield k, m


def _overlaps(one: Detections, other: Detections) -> np.ndarray:
    """(K, M) intersection over union; 0 of two boxes without an area."""
    overlaps = box_iou(torch.from_numpy(one.xyxy), torch.from_numpy(other.xyxy))
    return overlaps.nan_to_num(0.0).numpy()


def _colour(value: str) -> Mapping[str, str]:
    return {"colour": value} if value else {}


def frame_examples(
    sources: Iterable[FrameSource],
    detector: Detector,
    encoder: VisualEncoder | None = None,
    views: int = 1,
    seed: int = 0,
    *,
    questions: Questions | None = None,
    relabel: Relabel | None = None,
) -> Iterator[Example]:
    """Make examples of real frames, a fifth of them without damage.

    The same arguments give the same examples.

    Args:
        sources: Where the frames are taken from.
        detector: Finds the truth and, in the damaged image, the candidates; its
            `candidate_threshold` must not be above 0.15, or what is doubtful counts as absent.
        encoder: Gives the tokens `V_m` of the damaged image, unless it is None.
        views: How many examples are made of each frame.
        seed: Of all that is random.
        questions: Asks about what was found, given the values that the prompt states; None asks
            eight training questions about the reported objects.
        relabel: Improves the labels of the truth.

    Yields:
        Examples with features and tokens in half precision in main memory.

    Raises:
        ImageError: If a source cannot be read.
    """
    asking = questions or training_questions(detector.labels)
    remaining = _shots(sources, views, seed)
    while shots := tuple(islice(remaining, _BATCH)):
        clean = detector.detect([shot.clean for shot in shots])
        damaged = detector.detect([shot.damaged for shot in shots])
        tokens = _encode(encoder, [shot.damaged for shot in shots])
        for shot, sure, found, visual in zip(shots, clean, damaged, tokens, strict=True):
            yield _example(shot, sure, found, visual, asking, relabel)


def training_questions(vocabulary: Sequence[str], count: int = _QUESTIONS) -> Questions:
    """Make what asks training questions about the reported objects.

    Args:
        vocabulary: The detector's labels.
        count: Most questions about an image.
    """

    def questions(
        perception: Perception, attributes: Attributes, rng: np.random.Generator
    ) -> tuple[QuestionAnswer, ...]:
        reported = perception.detections
        shares = (reported.xyxy / np.tile(reported.resolution_wh, 2)).clip(0, 1)
        scene = Scene(labels=reported.labels, boxes=shares, attributes=attributes[: len(reported)])
        return ask(scene, rng, count, "train", vocabulary)

    return questions


def _shots(sources: Iterable[FrameSource], views: int, seed: int) -> Iterator[_Shot]:
    for source in sources:
        for index, frame in source.read():
            for number in range(views):
                # Of its own, so that no example depends on which others are made.
                key = (seed, zlib.crc32(source.name.encode()), index, number)
                yield _shot(frame, np.random.default_rng(key))


def _shot(frame: np.ndarray, rng: np.random.Generator) -> _Shot:
    clean = view(frame, rng)
    if rng.random() < _CLEAN_SHARE:
        return _Shot(clean, clean, rng)
    kind, strength = str(rng.choice(list(DAMAGES))), int(rng.choice(STRENGTHS))
    return _Shot(clean, damage(clean, kind, strength, rng), rng)


def _encode(
    encoder: VisualEncoder | None, images: Sequence[np.ndarray]
) -> Sequence[torch.Tensor | None]:
    if encoder is None:
        return [None] * len(images)
    # Cloned: a view would keep, and store, the tokens of the whole batch.
    return [_stored(tokens).clone() for tokens in encoder(encoder.preprocess(images))]


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", torch.float16)


def _example(
    shot: _Shot,
    clean: Perception,
    damaged: Perception,
    visual: torch.Tensor | None,
    questions: Questions,
    relabel: Relabel | None,
) -> Example:
    truth = pseudo_labels(clean)
    colours = measure_colours(shot.clean, truth)
    if relabel is not None:
        truth = relabel(shot.clean, truth)
    attributes = tuple(map(_colour, measure_colours(shot.damaged, damaged.candidates)))
    features = None if damaged.features is None else _stored(damaged.features)
    perception = replace(damaged, features=features)
    return Example(
        perception=perception,
        attributes=attributes,
        questions=questions(perception, attributes, shot.rng),
        targets=match_targets(damaged.candidates, truth, colours, doubtful_labels(clean)),
        visual=visual,
    )
