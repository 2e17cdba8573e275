# SPDX-License-Identifier: Apache-2.0
"""What the perception head should say of candidates, by what is truly there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torchvision import ops

from mrmllm_ros.datasets.example import Targets
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Perception

# Above what a detector reports by default: what is asked about and named should be sure.
PSEUDO_LABEL_THRESHOLD = 0.4
MATCH_IOU = 0.5  # IoU


def pseudo_labels(clean: Perception) -> Detections:
    """The objects of a clean image that are sure enough to be taken for the truth."""
    return clean.candidates.take(np.flatnonzero(_is_sure(clean)))


def uncertain_objects(clean: Perception) -> Detections:
    """The objects of a clean image that are there as likely as their scores say."""
    return clean.candidates.take(np.flatnonzero(~_is_sure(clean)))


def _is_sure(clean: Perception) -> np.ndarray:
    return clean.candidates.scores >= np.float32(PSEUDO_LABEL_THRESHOLD)


def unreported(true: Detections, reported: Detections) -> frozenset[str]:
    """Labels of the true objects that no reported one of their label overlaps by half or more."""
    found = (_overlaps_of_same(true, reported) >= MATCH_IOU).any(axis=1)
    return frozenset(true.labels[i] for i in np.flatnonzero(~found))


def match_targets(
    candidates: Detections,
    truth: Detections,
    colors: Sequence[str],
    *,
    unsure: Detections | None = None,
    doubtful: Detections | None = None,
    regions: Detections | None = None,
    unjudged: np.ndarray | None = None,
    novelty: float = np.nan,
    relabel: bool = True,
) -> Targets:
    """Say what each candidate should have been.

    Each true object goes to one candidate that overlaps it by half or more: to one of its label
    before others, then to the surest. The candidate should have the true object's score.

    Args:
        candidates: K objects as found in the damaged image.
        truth: M objects that are there, with scores that say how sure that is.
        colors: M colors of theirs; empty where unknown.
        unsure: Objects that are less likely there: a candidate that gets no true object should
            have the score of the one of its label that it overlaps most, by half or more.
        doubtful: Objects that may be there: of a candidate that overlaps one of them by half or
            more, and no true object, nothing is known.
        regions: Where there may be any number of objects: of a candidate that lies in one of them
            by half or more, and overlaps no true object, nothing is known.
        unjudged: (K,) bool, of which candidates, where they get no true object, nothing is known
            wherever they are.
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
    if unjudged is not None:
        scores[unjudged] = np.nan
    labels = [""] * count
    xyxy = np.full((count, 4), np.nan, np.float32)
    attributes: list[Mapping[str, str]] = [{}] * count
    for candidate, true in _pairs(candidates, truth, relabel):
        scores[candidate] = truth.scores[true]
        labels[candidate] = truth.labels[true] if relabel else ""
        xyxy[candidate] = truth.xyxy[true]
        attributes[candidate] = _color(colors[true])
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
    overlaps = _overlaps_of_same(candidates, unsure)
    matched = overlaps.max(axis=1) >= MATCH_IOU
    return np.where(matched, unsure.scores[overlaps.argmax(axis=1)], np.float32(0))


def _overlaps_of_same(one: Detections, other: Detections) -> np.ndarray:
    """(K, M) float32, as `box_iou`; 0 of objects of different labels."""
    overlaps = box_iou(one.xyxy, other.xyxy)
    same = np.array(one.labels)[:, None] == np.array(other.labels)
    return np.where(same.reshape(overlaps.shape), overlaps, np.float32(0))


def _unknown(
    candidates: Detections,
    truth: Detections,
    doubtful: Detections | None,
    regions: Detections | None,
) -> np.ndarray:
    """(K,) bool, of which candidates nothing is known, unless they get a true object."""
    unknown = np.zeros(len(candidates), bool)
    if doubtful is not None:
        overlaps = box_iou(candidates.xyxy, doubtful.xyxy)
        unknown |= (overlaps >= MATCH_IOU).any(axis=1)
    if regions is not None:
        inside = _shares_inside(candidates.xyxy, regions.xyxy)
        unknown |= (inside >= MATCH_IOU).any(axis=1)
    # On a true object it is that object, or a second box of it, which is wrong for sure.
    return unknown & (box_iou(candidates.xyxy, truth.xyxy) < MATCH_IOU).all(axis=1)


def _pairs(candidates: Detections, truth: Detections, relabel: bool) -> Iterator[tuple[int, int]]:
    """Positions of candidates and of the true objects that they are, one to one.

    Without `relabel` those of different labels are no pair.
    """
    overlaps = box_iou(candidates.xyxy, truth.xyxy)
    found, true = np.nonzero(overlaps >= MATCH_IOU)
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


def box_iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes; 0 of two without an area.

    Args:
        one: (K, 4) float32, left, top, right, bottom.
        other: (M, 4) float32.

    Returns:
        (K, M) float32.
    """
    return ops.box_iou(torch.from_numpy(one), torch.from_numpy(other)).nan_to_num(0.0).numpy()


def _shares_inside(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(K, M), which share of each of (K, 4) boxes lies in each of (M, 4) others."""
    starts = np.maximum(one[:, None, :2], other[None, :, :2])
    ends = np.minimum(one[:, None, 2:], other[None, :, 2:])
    areas = np.prod(one[:, 2:] - one[:, :2], axis=1)
    return np.prod((ends - starts).clip(0), axis=2) / areas[:, None].clip(1e-9)


def _color(value: str) -> Mapping[str, str]:
    return {"color": value} if value else {}
