# SPDX-License-Identifier: Apache-2.0
"""Examples from real videos that nobody has labelled.

What the detector finds in a clean image is taken for the truth, as surely as the detector itself
is of it: where nothing is damaged there is nothing to learn but to believe it. The model is given
what it finds in the same image once that is damaged, and learns to see through the damage.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from torchvision.ops import box_iou

from mrmllm_ros.model.processing_mrmllm import stated_attributes
from mrmllm_ros.model.visual_encoder import VisualEncoder
from mrmllm_ros.perception.colour import measure_colours
from mrmllm_ros.perception.detections import Detections
from mrmllm_ros.perception.detector import Detector, Perception
from mrmllm_ros.perception.playback import frames
from mrmllm_ros.training.data.damage import DAMAGES, STRENGTHS, damage
from mrmllm_ros.training.data.example import Example, QuestionAnswer, Targets
from mrmllm_ros.training.data.questions import Scene, ask

Attributes = tuple[Mapping[str, str], ...]
Questions = Callable[[Example, np.random.Generator], tuple[QuestionAnswer, ...]]

T = TypeVar("T")

# Above what a detector reports by default: what is asked about and named should be sure.
SURE_FROM = 0.4
# What a detector half believes must be among its candidates, or it counts as absent.
MOST_CANDIDATE_THRESHOLD = 0.15

SAME_OBJECT = 0.5  # IoU
_LEAST_CROP = 0.5
_MOST_WIDTH = 640  # pixels
_DAMAGED_SHARE = 0.8
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


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """A part of an image, perhaps mirrored, at most 640 pixels wide.

    Otherwise the places where a fixed camera's objects stand would pass for understanding.

    Attributes:
        start_xy: The part's left and upper edge in pixels of the image.
        part_wh: Its width and height in pixels of the image.
        mirrored: Whether left and right are exchanged.
    """

    start_xy: tuple[int, int]
    part_wh: tuple[int, int]
    mirrored: bool

    @classmethod
    def draw(cls, shape: tuple[int, ...], rng: np.random.Generator) -> View:
        """Choose a part, from half to all of each side.

        Args:
            shape: Height and width of the image, in pixels.
            rng: Chooses the part.
        """
        sides = shape[:2]
        lengths = [max(1, round(side * rng.uniform(_LEAST_CROP, 1.0))) for side in sides]
        starts = [
            int(rng.integers(0, side - n + 1)) for side, n in zip(sides, lengths, strict=True)
        ]
        (top, left), (height, width) = starts, lengths
        mirrored = bool(rng.random() < 0.5)
        return cls(start_xy=(left, top), part_wh=(width, height), mirrored=mirrored)

    @property
    def resolution_wh(self) -> tuple[int, int]:
        """Width and height in pixels of what is shown of the part."""
        width, height = self.part_wh
        if width <= _MOST_WIDTH:
            return width, height
        return _MOST_WIDTH, max(1, round(height * _MOST_WIDTH / width))

    def image(self, image: np.ndarray) -> np.ndarray:
        """Show the part.

        Args:
            image: (H, W, 3) uint8.

        Returns:
            (h, w, 3) uint8 of size `resolution_wh`, proportions as in the image.
        """
        (left, top), (width, height) = self.start_xy, self.part_wh
        part = image[top : top + height, left : left + width]
        if self.mirrored:
            part = part[:, ::-1]
        if self.resolution_wh != self.part_wh:
            return cv2.resize(part, self.resolution_wh, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(part)

    def boxes(self, xyxy: np.ndarray) -> np.ndarray:
        """Move boxes of the image to where the view shows them.

        Args:
            xyxy: (N, 4) float32, pixels of the image.

        Returns:
            (N, 4) float32, pixels of the view; they may reach beyond it or lie outside of it.
        """
        moved = xyxy - np.tile(np.float32(self.start_xy), 2)
        if self.mirrored:
            moved[:, [0, 2]] = self.part_wh[0] - moved[:, [2, 0]]
        scale = np.divide(self.resolution_wh, self.part_wh, dtype=np.float32)
        return moved * np.tile(scale, 2)


@dataclass(frozen=True, eq=False, kw_only=True)
class Shot:
    """One view of an image, without and with damage.

    Attributes:
        clean: (h, w, 3) uint8 in BGR order.
        damaged: The same with damage, or `clean` itself.
        strength: Of the damage, 1 to 3; 0 where there is none.
        rng: For all that follows.
    """

    clean: np.ndarray
    damaged: np.ndarray
    strength: int
    rng: np.random.Generator

    @classmethod
    def of(cls, clean: np.ndarray, damaged_share: float, rng: np.random.Generator) -> Shot:
        """Damage a view or leave it as it is.

        Args:
            clean: (h, w, 3) uint8 in BGR order.
            damaged_share: How likely it is damaged.
            rng: Chooses kind, strength and the damage itself.
        """
        if rng.random() >= damaged_share:
            return cls(clean=clean, damaged=clean, strength=0, rng=rng)
        kind, strength = str(rng.choice(list(DAMAGES))), int(rng.choice(STRENGTHS))
        damaged = damage(clean, kind, strength, rng)
        return cls(clean=clean, damaged=damaged, strength=strength, rng=rng)

    @property
    def novelty(self) -> float:
        """How unfamiliar what it shows is, 0 to 1."""
        return self.strength / max(STRENGTHS)


@dataclass(frozen=True, eq=False, kw_only=True)
class Perceived:
    """What the model is given of an image; tensors in half precision in main memory.

    Attributes:
        perception: The K candidates, ranked.
        attributes: Of each candidate its colour, where that is clear.
        visual: (N_m, d_m) tokens `V_m`, or None where there is no encoder.
    """

    perception: Perception
    attributes: Attributes
    visual: torch.Tensor | None


def perceive(
    images: Sequence[np.ndarray], detector: Detector, encoder: VisualEncoder | None
) -> list[Perceived]:
    """Look at a batch of images.

    Args:
        images: (H, W, 3) uint8 arrays in BGR order; sizes may differ.
        detector: Finds the candidates.
        encoder: Gives the tokens `V_m`, unless it is None.

    Returns:
        What is seen in each image.
    """
    return [
        Perceived(
            perception=_stored_perception(perception),
            attributes=stated_attributes(image, perception.candidates),
            visual=tokens,
        )
        for image, perception, tokens in zip(
            images, detector.detect(images), _encode(encoder, images), strict=True
        )
    ]


def batches(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    """As many items at once as go well through the models together."""
    remaining = iter(items)
    while batch := tuple(islice(remaining, _BATCH)):
        yield batch


def pseudo_labels(clean: Perception) -> Detections:
    """The objects of a clean image that are sure enough to be taken for the truth."""
    return clean.candidates.take(np.flatnonzero(_is_sure(clean)))


def unsure_labels(clean: Perception) -> Detections:
    """The objects of a clean image that are there as likely as their scores say."""
    return clean.candidates.take(np.flatnonzero(~_is_sure(clean)))


def _is_sure(clean: Perception) -> np.ndarray:
    return clean.candidates.scores >= np.float32(SURE_FROM)


def match_targets(
    candidates: Detections,
    truth: Detections,
    colours: Sequence[str],
    *,
    unsure: Detections | None = None,
    doubtful: Detections | None = None,
    regions: Detections | None = None,
    novelty: float = np.nan,
    relabel: bool = True,
) -> Targets:
    """Say what each candidate should have been.

    Each true object goes to one candidate that overlaps it by half or more: to one of its label
    before others, then to the surest. The candidate should have the true object's score.

    Args:
        candidates: K objects as found in the damaged image.
        truth: M objects that are there, with scores that say how sure that is.
        colours: M colours of theirs; empty where unknown.
        unsure: Objects that are less likely there: a candidate that gets no true object should
            have the score of the one of its label that it overlaps most, by half or more.
        doubtful: Objects that may be there: of a candidate that overlaps one of them by half or
            more, and no true object, nothing is known.
        regions: Where there may be any number of objects: of a candidate that lies in one of them
            by half or more, and overlaps no true object, nothing is known.
        novelty: How unfamiliar the image is, from 0 to 1; NaN where unknown.
        relabel: Whether a candidate may get an object of another label, and should be called by
            it. Else its label stays open, and it is there as surely as what it is called.

    Returns:
        Targets of the K candidates.
    """
    count = len(candidates)
    scores = np.zeros(count, np.float32)
    if unsure is not None:
        scores = _scores_of_same(candidates, unsure)
    scores[_unknown(candidates, truth, doubtful, regions)] = np.nan
    labels = [""] * count
    xyxy = np.full((count, 4), np.nan, np.float32)
    attributes: list[Mapping[str, str]] = [{}] * count
    for candidate, true in _pairs(candidates, truth, relabel):
        scores[candidate] = truth.scores[true]
        labels[candidate] = truth.labels[true] if relabel else ""
        xyxy[candidate] = truth.xyxy[true]
        attributes[candidate] = _colour(colours[true])
    return Targets(
        scores=scores,
        labels=tuple(labels),
        xyxy=xyxy,
        attributes=tuple(attributes),
        novelty=np.full(count, novelty, np.float32),
    )


def _scores_of_same(candidates: Detections, unsure: Detections) -> np.ndarray:
    """(K,) float32, score of what each candidate most likely is; 0 where it is none of these."""
    if not len(unsure):
        return np.zeros(len(candidates), np.float32)
    overlaps = box_overlaps(candidates.xyxy, unsure.xyxy)
    same = np.array(candidates.labels)[:, None] == np.array(unsure.labels)
    overlaps[~same.reshape(overlaps.shape)] = 0
    matched = overlaps.max(axis=1) >= SAME_OBJECT
    return np.where(matched, unsure.scores[overlaps.argmax(axis=1)], np.float32(0))


def _unknown(
    candidates: Detections,
    truth: Detections,
    doubtful: Detections | None,
    regions: Detections | None,
) -> np.ndarray:
    """(K,) bool, of which candidates nothing is known, unless they get a true object."""
    unknown = np.zeros(len(candidates), bool)
    if doubtful is not None:
        overlaps = box_overlaps(candidates.xyxy, doubtful.xyxy)
        unknown |= (overlaps >= SAME_OBJECT).any(axis=1)
    if regions is not None:
        inside = _shares_inside(candidates.xyxy, regions.xyxy)
        unknown |= (inside >= SAME_OBJECT).any(axis=1)
    # On a true object it is that object, or a second box of it, which is wrong for sure.
    return unknown & (box_overlaps(candidates.xyxy, truth.xyxy) < SAME_OBJECT).all(axis=1)


def _pairs(candidates: Detections, truth: Detections, relabel: bool) -> Iterator[tuple[int, int]]:
    """Positions of candidates and of the true objects that they are, one to one.

    Without `relabel` those of different labels are no pair.
    """
    overlaps = box_overlaps(candidates.xyxy, truth.xyxy)
    found, true = np.nonzero(overlaps >= SAME_OBJECT)
    same = np.array(
        [candidates.labels[k] == truth.labels[m] for k, m in zip(found, true, strict=True)], bool
    )
    if not relabel:
        found, true, same = found[same], true[same], same[same]
    order = np.lexsort((-overlaps[found, true], -candidates.scores[found], ~same))
    free_candidates, free_truth = set(found.tolist()), set(true.tolist())
    for k, m in zip(found[order].tolist(), true[order].tolist(), strict=True):
        if k in free_candidates and m in free_truth:
            free_candidates.remove(k)
            free_truth.remove(m)
            yield k, m


def box_overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes; 0 of two without an area.

    Args:
        one: (K, 4) float32, left, top, right, bottom.
        other: (M, 4) float32.

    Returns:
        (K, M) float32.
    """
    return box_iou(torch.from_numpy(one), torch.from_numpy(other)).nan_to_num(0.0).numpy()


def _shares_inside(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(K, M), which share of each of (K, 4) boxes lies in each of (M, 4) others."""
    starts = np.maximum(one[:, None, :2], other[None, :, :2])
    ends = np.minimum(one[:, None, 2:], other[None, :, 2:])
    areas = np.prod(one[:, 2:] - one[:, :2], axis=1)
    return np.prod((ends - starts).clip(0), axis=2) / areas[:, None].clip(1e-9)


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
) -> Iterator[Example]:
    """Make examples of real frames, a fifth of them without damage.

    The same arguments give the same examples.

    Args:
        sources: Where the frames are taken from.
        detector: Finds the truth and, in the damaged image, the candidates; its
            `candidate_threshold` must not be above `MOST_CANDIDATE_THRESHOLD`.
        encoder: Gives the tokens `V_m` of the damaged image, unless it is None.
        views: How many examples are made of each frame.
        seed: Of all that is random.
        questions: Asks about an example without questions; None asks eight training questions
            about the reported objects.

    Yields:
        Examples with features and tokens in half precision in main memory.

    Raises:
        ImageError: If a source cannot be read.
    """
    asking = questions or training_questions(detector.labels)
    for shots in batches(_shots(sources, views, seed)):
        clean = detector.detect([shot.clean for shot in shots])
        damaged = perceive([shot.damaged for shot in shots], detector, encoder)
        for shot, sure, perceived in zip(shots, clean, damaged, strict=True):
            yield asked(asking, _example(shot, sure, perceived), shot.rng)


def training_questions(
    vocabulary: Sequence[str], count: int = _QUESTIONS, missed: Collection[str] = ()
) -> Questions:
    """Make what asks training questions about the reported objects.

    Args:
        vocabulary: The detector's labels.
        count: Most questions about an image.
        missed: Labels of what is there, reported or not, which no answer may deny.
    """

    def questions(example: Example, rng: np.random.Generator) -> tuple[QuestionAnswer, ...]:
        reported = example.perception.detections
        shares = (reported.xyxy / np.tile(reported.resolution_wh, 2)).clip(0, 1)
        attributes = example.attributes[: len(reported)]
        scene = Scene(labels=reported.labels, boxes=shares, attributes=attributes)
        return ask(scene, rng, count, "train", vocabulary, missed)

    return questions


def asked(asking: Questions, example: Example, rng: np.random.Generator) -> Example:
    """An example with questions, instead of those that it had.

    Args:
        asking: Asks them.
        example: What they are about.
        rng: Chooses them.
    """
    return replace(example, questions=asking(example, rng))


def _shots(sources: Iterable[FrameSource], views: int, seed: int) -> Iterator[Shot]:
    for source in sources:
        for index, frame in source.read():
            for number in range(views):
                rng = generator(seed, source.name, index, number)
                clean = View.draw(frame.shape, rng).image(frame)
                yield Shot.of(clean, _DAMAGED_SHARE, rng)


def generator(seed: int, name: str, *numbers: int) -> np.random.Generator:
    """Make a source of chance of one example's own, so that none depends on the others.

    Args:
        seed: Of the whole, at least 0.
        name: Of the data or the file.
        numbers: Which example of it, at least 0.
    """
    return np.random.default_rng((seed, zlib.crc32(name.encode()), *numbers))


def _encode(
    encoder: VisualEncoder | None, images: Sequence[np.ndarray]
) -> Sequence[torch.Tensor | None]:
    if encoder is None:
        return [None] * len(images)
    # Cloned: a slice would keep, and store, the tokens of the whole batch.
    return [_stored(tokens).clone() for tokens in encoder(encoder.preprocess(images))]


def _stored_perception(perception: Perception) -> Perception:
    features = None if perception.features is None else _stored(perception.features)
    return replace(perception, features=features)


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", torch.float16)


def _example(shot: Shot, clean: Perception, damaged: Perceived) -> Example:
    truth = pseudo_labels(clean)
    return Example(
        perception=damaged.perception,
        attributes=damaged.attributes,
        questions=(),
        targets=match_targets(
            damaged.perception.candidates,
            truth,
            measure_colours(shot.clean, truth),
            unsure=unsure_labels(clean),
            novelty=shot.novelty,
            # A few videos show few kinds of things, and everything would be called by their names.
            relabel=False,
        ),
        visual=damaged.visual,
    )
