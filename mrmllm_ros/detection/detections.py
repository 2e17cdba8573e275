# SPDX-License-Identifier: Apache-2.0
"""Detected objects of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrmllm_ros.detection.boxes import box_areas
from mrmllm_ros.detection.masks import Mask

# Attribute with the name that the visual encoder gives the region of an object.
LOOKS_LIKE = "looks_like"


@dataclass(frozen=True)
class Attribute:
    """A property of an object.

    Attributes:
        name: Name, such as `color`.
        value: Value, such as `red`.
        score: Confidence, 0 to 1.
    """

    name: str
    value: str
    score: float


@dataclass(frozen=True, eq=False)
class Detections:
    """Labeled, scored boxes in one image, checked on construction.

    Coordinates are pixels with the origin at the image's top left corner, x to the right and y
    downwards. The object at index i is cited as i + 1.

    Attributes:
        xyxy: (N, 4) float32, left, top, right, bottom of each box.
        scores: (N,) float32, confidence from 0 to 1.
        labels: N labels.
        resolution_wh: Width and height of the image.
        masks: N masks, empty for objects without a mask; None if no object has a mask.
        track_ids: N unique track ids, empty for objects that are not tracked. By default no
            object is tracked.
        distances_m: (N,) float32, meters from the camera, NaN if unknown; None if all are unknown.

    Raises:
        ValueError: If shapes differ, a box, score or distance is not finite or out of range, a
            mask exceeds the image, or two objects have the same track id.

    Example:
        >>> detections = Detections(
        ...     xyxy=np.array([[10, 20, 110, 220]], np.float32),
        ...     scores=np.array([0.9], np.float32),
        ...     labels=("person",),
        ...     resolution_wh=(640, 480),
        ... )
        >>> len(detections)
        1
    """

    xyxy: np.ndarray
    scores: np.ndarray
    labels: tuple[str, ...]
    resolution_wh: tuple[int, int]
    masks: tuple[Mask, ...] | None = None
    track_ids: tuple[str, ...] = ()
    distances_m: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.labels)
        if not self.track_ids:
            object.__setattr__(self, "track_ids", ("",) * count)
        if self.xyxy.shape != (count, 4):
            raise ValueError(f"xyxy has shape {self.xyxy.shape}, expected ({count}, 4)")
        if self.scores.shape != (count,):
            raise ValueError(f"scores has shape {self.scores.shape}, expected ({count},)")
        if min(self.resolution_wh) <= 0:
            raise ValueError(f"resolution_wh {self.resolution_wh} is not positive")
        if not np.isfinite(self.xyxy).all():
            raise ValueError("xyxy contains NaN or infinite values")
        if (self.xyxy[:, :2] > self.xyxy[:, 2:]).any():
            raise ValueError("xyxy contains a box with right < left or bottom < top")
        if not ((self.scores >= 0) & (self.scores <= 1)).all():
            raise ValueError("scores are not all between 0 and 1")
        if self.masks is not None:
            self._check_masks(self.masks)
        if self.distances_m is not None:
            self._check_distances(self.distances_m)
        if len(self.track_ids) != count:
            raise ValueError(f"{len(self.track_ids)} track_ids for {count} objects")
        tracked = [track_id for track_id in self.track_ids if track_id]
        if len(set(tracked)) < len(tracked):
            raise ValueError(f"track_ids {self.track_ids} are not unique")

    @classmethod
    def empty(cls, resolution_wh: tuple[int, int]) -> Detections:
        """Detections of an image without objects."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), (), resolution_wh)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def xywh(self) -> np.ndarray:
        """(N, 4) float32, center x, center y, width, height in pixels."""
        top_left, bottom_right = self.xyxy[:, :2], self.xyxy[:, 2:]
        return np.hstack([(top_left + bottom_right) / 2, bottom_right - top_left])

    @property
    def areas(self) -> np.ndarray:
        """(N,) float32, area of each box in square pixels."""
        return box_areas(self.xyxy)

    def take(self, indices: np.ndarray) -> Detections:
        """Select objects by (M,) indices, in that order."""
        return Detections(
            xyxy=self.xyxy[indices],
            scores=self.scores[indices],
            labels=tuple(self.labels[i] for i in indices),
            resolution_wh=self.resolution_wh,
            masks=None if self.masks is None else tuple(self.masks[i] for i in indices),
            track_ids=tuple(self.track_ids[i] for i in indices),
            distances_m=None if self.distances_m is None else self.distances_m[indices],
        )

    def _check_distances(self, distances_m: np.ndarray) -> None:
        if distances_m.shape != (len(self),):
            raise ValueError(f"distances_m has shape {distances_m.shape}, expected ({len(self)},)")
        if not ((distances_m >= 0) & np.isfinite(distances_m) | np.isnan(distances_m)).all():
            raise ValueError("distances_m contains negative or infinite values")

    def _check_masks(self, masks: tuple[Mask, ...]) -> None:
        if len(masks) != len(self):
            raise ValueError(f"{len(masks)} masks for {len(self)} objects")
        for mask in masks:
            rows, columns = mask.region
            if columns.stop > self.resolution_wh[0] or rows.stop > self.resolution_wh[1]:
                raise ValueError(
                    f"a mask extends to {columns.stop}, {rows.stop} in an image of "
                    f"{self.resolution_wh} pixels"
                )
