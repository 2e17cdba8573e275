# SPDX-License-Identifier: Apache-2.0
"""Targets of the perception head: match candidates with labeled objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mrmllm_ros.datasets.example import Targets
from mrmllm_ros.detection.boxes import box_coverage, box_iou
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Perception

# Higher than the detector's default threshold, so that pseudo-labels are rarely wrong.
PSEUDO_LABEL_THRESHOLD = 0.4
MATCH_IOU = 0.5


def pseudo_labels(clean: Perception) -> Detections:
    """Candidates of a clean image with a score from `PSEUDO_LABEL_THRESHOLD` on."""
    return clean.candidates.take(np.flatnonzero(_is_confident(clean)))


def uncertain_objects(clean: Perception) -> Detections:
    """Candidates of a clean image with a lower score."""
    return clean.candidates.take(np.flatnonzero(~_is_confident(clean)))


def _is_confident(clean: Perception) -> np.ndarray:
    return clean.candidates.scores >= np.float32(PSEUDO_LABEL_THRESHOLD)


def unreported(true: Detections, reported: Detections) -> frozenset[str]:
    """Labels of true objects that match no reported object of the same label."""
    matched = (_same_label_iou(true, reported) >= MATCH_IOU).any(axis=1)
    return frozenset(true.labels[i] for i in np.flatnonzero(~matched))


def match_targets(
    candidates: Detections,
    truth: Detections,
    colors: Sequence[str],
    *,
    uncertain: Detections | None = None,
    ignored_objects: Detections | None = None,
    ignored_regions: Detections | None = None,
    ignored: np.ndarray | None = None,
    novelty: float = np.nan,
    relabel: bool = True,
) -> Targets:
    """Match candidates with true objects (see `match_objects`) and return their targets.

    The target score of a matched candidate is that of the true object.

    Args:
        candidates: K candidates.
        truth: M true objects; the score is the probability that the object is present.
        colors: M colors; empty if unknown.
        uncertain: Objects with low scores. A candidate without a true object gets the score of
            the one with the same label and the highest IoU, if that is 0.5 or more.
        ignored_objects: Objects that may be present. The score of a candidate without a true
            object is unknown if its IoU with one of these is 0.5 or more.
        ignored_regions: Regions with any number of objects. The score of a candidate without a
            true object is unknown if half of it or more is inside.
        ignored: (K,) bool, candidates whose score is unknown without a true object.
        novelty: Novelty of the image, 0 to 1; NaN if unknown.
        relabel: Whether a candidate may match an object of another label and get that label.
            If not, target labels are empty.
    """
    count = len(candidates)
    scores = np.zeros(count, np.float32)
    if uncertain is not None:
        scores = _uncertain_scores(candidates, uncertain)
    scores[_unknown(candidates, truth, ignored_objects, ignored_regions)] = np.nan
    if ignored is not None:
        scores[ignored] = np.nan
    labels = [""] * count
    xyxy = np.full((count, 4), np.nan, np.float32)
    attributes: list[Mapping[str, str]] = [{}] * count
    for candidate, true in match_objects(candidates, truth, relabel=relabel):
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


def _uncertain_scores(candidates: Detections, uncertain: Detections) -> np.ndarray:
    """(K,) float32, score of the uncertain object that matches each candidate; 0 for none."""
    if not len(uncertain):
        return np.zeros(len(candidates), np.float32)
    iou = _same_label_iou(candidates, uncertain)
    return np.where(
        iou.max(axis=1) >= MATCH_IOU, uncertain.scores[iou.argmax(axis=1)], np.float32(0)
    )


def _same_label_iou(one: Detections, other: Detections) -> np.ndarray:
    """(K, M) float32 IoU; 0 for objects of different labels."""
    iou = box_iou(one.xyxy, other.xyxy)
    same = np.array(one.labels)[:, None] == np.array(other.labels)
    return np.where(same.reshape(iou.shape), iou, np.float32(0))


def _unknown(
    candidates: Detections,
    truth: Detections,
    ignored_objects: Detections | None,
    ignored_regions: Detections | None,
) -> np.ndarray:
    """(K,) bool, candidates whose score is unknown unless they match a true object."""
    unknown = np.zeros(len(candidates), bool)
    if ignored_objects is not None:
        iou = box_iou(candidates.xyxy, ignored_objects.xyxy)
        unknown |= (iou >= MATCH_IOU).any(axis=1)
    if ignored_regions is not None:
        inside = box_coverage(candidates.xyxy, ignored_regions.xyxy)
        unknown |= (inside >= MATCH_IOU).any(axis=1)
    # On a true object, a candidate is either that object or a second box of it, which is wrong.
    return unknown & (box_iou(candidates.xyxy, truth.xyxy) < MATCH_IOU).all(axis=1)


def match_objects(
    candidates: Detections, truth: Detections, *, relabel: bool = True
) -> Iterator[tuple[int, int]]:
    """Match candidates with true objects one to one.

    A true object is matched with one candidate of IoU 0.5 or more, preferably of the same label,
    then of the highest score.

    Args:
        candidates: K candidates.
        truth: M true objects.
        relabel: Whether objects of different labels may match.

    Yields:
        Indices of a candidate and its true object.
    """
    iou = box_iou(candidates.xyxy, truth.xyxy)
    found, true = np.nonzero(iou >= MATCH_IOU)
    same = np.array(
        [candidates.labels[k] == truth.labels[m] for k, m in zip(found, true, strict=True)], bool
    )
    if not relabel:
        found, true, same = found[same], true[same], same[same]
    order = np.lexsort((-iou[found, true], -candidates.scores[found], ~same))
    free_candidates, free_truth = set(found.tolist()), set(true.tolist())
    for k, m in zip(found[order].tolist(), true[order].tolist(), strict=True):
        if k in free_candidates and m in free_truth:
            free_candidates.remove(k)
            free_truth.remove(m)
            yield k, m


def _color(value: str) -> Mapping[str, str]:
    return {"color": value} if value else {}
