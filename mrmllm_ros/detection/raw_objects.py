# SPDX-License-Identifier: Apache-2.0
"""Validate the raw output of a detector network."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mrmllm_ros.detection.boxes import clip_boxes
from mrmllm_ros.detection.detections import Detections

BAD_SCORE = "score is not between 0 and 1"
NOT_FINITE = "box edge is NaN or infinite"
INVERTED = "box is inverted"
NO_SIZE = "box has no size"
UNNAMED = "class has no name"
# Not a fault: networks also detect objects in the padding around the image.
OUTSIDE = "box is outside the image"

# Scores in half precision may exceed 1 by rounding.
_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class CheckedObjects:
    """Usable objects of a network's output.

    Attributes:
        detections: M objects with boxes clipped to the image.
        indices: (M,) int64, ascending indices of these objects in the network's output.
        dropped: Number of dropped objects by reason.
    """

    detections: Detections
    indices: np.ndarray
    dropped: Counter[str]


@dataclass(frozen=True, eq=False)
class RawObjects:
    """Unchecked objects of one image.

    Every detector backend calls `check` on the output of its network before it clips boxes,
    applies non-maximum suppression, pools features or creates masks, so that a bad object does
    not affect the others.

    Attributes:
        xyxy: (N, 4) left, top, right, bottom in pixels of the image, not clipped.
        scores: (N,) confidences.
        class_ids: (N,) class ids.
    """

    xyxy: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray

    def check(
        self,
        names: Mapping[int, str],
        resolution_wh: tuple[int, int],
        limit: int | None = None,
    ) -> CheckedObjects:
        """Drop and count unusable objects, and clip the boxes of the others to the image.

        An object with several faults is counted for the first in the order score, box, class.

        Args:
            names: Labels by class id.
            resolution_wh: Width and height of the image.
            limit: Maximum number of usable objects, the first ones; None for all.
        """
        xyxy, scores = self.xyxy.astype(np.float32), self.scores.astype(np.float32)
        clipped = clip_boxes(xyxy, resolution_wh)
        faults = {
            BAD_SCORE: ~((scores >= 0) & (scores <= 1 + _ROUNDING)),
            NOT_FINITE: ~np.isfinite(xyxy).all(axis=1),
            INVERTED: (xyxy[:, 2:] < xyxy[:, :2]).any(axis=1),
            NO_SIZE: (xyxy[:, 2:] == xyxy[:, :2]).any(axis=1),
            OUTSIDE: ~(clipped[:, 2:] > clipped[:, :2]).all(axis=1),
            UNNAMED: np.array([i not in names for i in self.class_ids.tolist()], bool),
        }
        reasons, faulty = list(faults), np.stack(list(faults.values()))  # (R, N)
        dropped = Counter(reasons[i] for i in faulty.argmax(axis=0)[faulty.any(axis=0)])
        indices = np.flatnonzero(~faulty.any(axis=0))[:limit]
        detections = Detections(
            xyxy=clipped[indices],
            scores=scores[indices].clip(0, 1),
            labels=tuple(names[int(i)] for i in self.class_ids[indices].tolist()),
            resolution_wh=resolution_wh,
        )
        return CheckedObjects(detections, indices, dropped)


def class_labels(names: Mapping[int, object], classes: int | None) -> dict[int, str]:
    """Printable labels of a network's classes; blank ones become `class 7` and the like.

    Args:
        names: Names by class id from the model's file.
        classes: Number of classes of the network; None if unknown.

    Raises:
        ValueError: If a class has no name.
    """
    missing = [i for i in range(classes or 0) if i not in names]
    if missing:
        raise ValueError(
            f"it has {classes} classes, but names for {classes - len(missing)} (none for class "
            f"{missing[0]}); add the names to the model's file"
        )
    return {i: printable(str(name)) or f"class {i}" for i, name in names.items()}


def printable(text: str) -> str:
    """Text on one line, without control characters and lone surrogates, which ROS rejects."""
    valid = ("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    return " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in valid).split())


def describe_dropped(dropped: Mapping[str, int]) -> str:
    """Reasons and counts on one line, such as `box is inverted: 3, class has no name: 1`."""
    return ", ".join(f"{reason}: {count}" for reason, count in dropped.items())
