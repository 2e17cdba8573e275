# SPDX-License-Identifier: Apache-2.0
"""Check of the objects that a network gives, before anything else uses them."""

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
# No fault of the network where it sees padding around the image.
OUTSIDE = "box is outside the image"

# Scores of half precision exceed 1 by rounding.
_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class CheckedObjects:
    """The usable ones of the objects that a network gives.

    Attributes:
        detections: M objects with their boxes clipped to the image.
        indices: (M,) int64, ascending positions of these objects in the network's output.
        dropped: Number of dropped objects by reason.
    """

    detections: Detections
    indices: np.ndarray
    dropped: Counter[str]


@dataclass(frozen=True, eq=False)
class RawObjects:
    """Objects of one image as a network gives them: nothing is sure of them.

    Every detector backend passes its network's output through `check` before it clips boxes,
    suppresses overlapping ones, pools features or makes masks, so that one bad object neither
    costs the others nor looks like a good one.

    Attributes:
        xyxy: (N, 4) left, top, right, bottom in pixels of the image, not clipped.
        scores: (N,) confidences.
        class_ids: (N,) numbers of the classes.
    """

    xyxy: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray

    def check(self, names: Mapping[int, str], resolution_wh: tuple[int, int]) -> CheckedObjects:
        """Drop and count unusable objects, and clip the boxes of the others to the image.

        An object with several faults counts under the first: its score, its box, its class.

        Args:
            names: Labels by class id.
            resolution_wh: Width and height of the image.
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
        indices = np.flatnonzero(~faulty.any(axis=0))
        detections = Detections(
            xyxy=clipped[indices],
            scores=scores[indices].clip(0, 1),
            labels=tuple(names[int(i)] for i in self.class_ids[indices]),
            resolution_wh=resolution_wh,
        )
        return CheckedObjects(detections, indices, dropped)


def class_labels(names: Mapping[int, object], classes: int | None) -> dict[int, str]:
    """Labels of a network's classes, each a text that can be printed on one line.

    Control characters and runs of blanks become one space. A class with a blank name is called by
    its number, such as `class 7`.

    Args:
        names: Names by class id, as the model's file has them.
        classes: Number of classes that the network gives; None where its output does not show it.

    Raises:
        ValueError: If a class has no name, with both counts.
    """
    missing = [i for i in range(classes or 0) if i not in names]
    if missing:
        raise ValueError(
            f"it gives {classes} classes and has names for {classes - len(missing)} of them (none "
            f"for class {missing[0]}); add the names to the model's file"
        )
    return {i: printable(str(name)) or f"class {i}" for i, name in names.items()}


def printable(text: str) -> str:
    """Text on one line without control characters or lone surrogates, which no message takes."""
    kept = ("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    return " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in kept).split())


def describe_dropped(dropped: Mapping[str, int]) -> str:
    """Reasons and counts on one line, such as `box is inverted: 3, class has no name: 1`."""
    return ", ".join(f"{reason}: {count}" for reason, count in dropped.items())
