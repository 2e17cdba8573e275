# SPDX-License-Identifier: Apache-2.0
"""Which object of one image is which of the images before.

Association as in ByteTrack (Zhang et al., 2022, arXiv 2110.06864): what the detector reports is
matched to the tracks first, and a track that found nothing may go on with a doubtful candidate.
Boxes are compared with a margin around them, as in C-BIoU (Yang et al., 2023, arXiv 2211.14317),
for with a slow camera a small object leaves its box from one image to the next. Time is that of
the stamps, so that the camera's rate may change.

It is code of our own because none of the maintained libraries with a permissive license fits:
`trackers` needs NumPy 2, which a ROS 2 distribution up to Kilted has not; `norfair` needs NumPy 1;
with `edgefirst-tracker`, as we tried it, people in `mrmllm benchmark tracking` changed their ids
three times as often.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from mrmllm_ros.detection.boxes import box_iou, expand_boxes, non_max_suppression
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.detection.stamps import StampSequence
from mrmllm_ros.settings import Validated, setting

# Where a detector gives one thing two labels or two boxes, they overlap more than this.
_SAME_OBJECT = 0.5
# Of each box, on every side, as a share of its size.
_MARGIN = 0.3
_LEAST_OVERLAP = 0.2
# What another label costs, in overlap: it decides between near equals and breaks no track.
_OTHER_LABEL = 0.1

# In heights of the box, so that objects move alike near and far.
_MEASUREMENT_VARIANCE = 0.05**2
_FIRST_SPEED_VARIANCE = 1.0**2  # per second squared
_ACCELERATION_DENSITY = 0.2  # per second cubed


@dataclass(frozen=True)
class TrackingSettings(Validated):
    """Whether and how objects keep their identity from image to image."""

    enabled: bool = setting(
        True, "Whether objects get track ids that stay with them from image to image.", live=True
    )
    remember_s: float = setting(
        2.0,
        "Seconds, by the images' stamps, for which an object that is not seen is remembered: "
        "where it is seen again within them about where it was going, it keeps its track id.",
        minimum=0.1,
        maximum=60.0,
        live=True,
    )
    start_certainty: float = setting(
        0.3,
        "How sure an object must be for a new track to start with it: 0 as sure as "
        "detector.score_threshold, 1 wholly sure. A track that has started goes on with less.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )


class Tracker:
    """Gives the objects of one camera ids that last from image to image.

    An object has an id from the second image on that it is found in. It keeps it through other
    labels and while it is hidden for a short time. Of two boxes that are mostly one, only the
    surer is tracked.

    Where a stamp steps back a little, no time has passed; where it jumps back by more than a
    second, as with a bag that restarts, all tracks are dropped. See `StampSequence`.
    """

    def __init__(self, settings: TrackingSettings, numbers: Iterator[int]) -> None:
        """Start with nothing seen.

        Args:
            settings: How to track.
            numbers: The ids to give, no two alike. Trackers that share one iterator, such as
                those of a node's cameras, have no id in common.
        """
        self._settings = settings
        self._numbers = numbers
        self._tracks: list[_Track] = []
        self._stamps = StampSequence()

    def configure(self, settings: TrackingSettings) -> None:
        """Take over other settings, from the next image on."""
        self._settings = settings

    def update(self, perception: Perception, stamp_s: float) -> Perception:
        """Find the objects of the next image among those of the images before.

        Args:
            perception: What the detector says of the image.
            stamp_s: When the image was taken, in seconds.

        Returns:
            The same, with track ids for the candidates that are tracked.
        """
        if not self._settings.enabled:
            self._tracks.clear()
            return perception
        candidates = perception.candidates
        self._advance_to(stamp_s)
        distinct = non_max_suppression(candidates.xyxy, candidates.scores, _SAME_OBJECT)
        found = self._find(perception, distinct)
        xywh = candidates.xywh
        for index, track in found.items():
            track.correct(xywh[index], candidates.labels[index])
            track.track_id = track.track_id or str(next(self._numbers))
        # What its second image does not bear out was no object.
        self._tracks = [track for track in self._tracks if track.track_id]
        self._start(perception, [i for i in distinct if i not in found])
        ids = (found[i].track_id if i in found else "" for i in range(len(candidates)))
        return replace(perception, candidates=replace(candidates, track_ids=tuple(ids)))

    def _advance_to(self, stamp_s: float) -> None:
        """Move tracks to where their objects should be by now; forget those unseen too long."""
        step_s = self._stamps.advance(round(stamp_s * 1e9)) / 1e9
        if step_s < 0:
            self._tracks.clear()
        for track in self._tracks:
            track.predict(step_s)
        remember_s = self._settings.remember_s
        self._tracks = [track for track in self._tracks if track.unseen_s <= remember_s]

    def _find(self, perception: Perception, distinct: Sequence[int]) -> dict[int, _Track]:
        """The tracks that the candidates at these positions continue, by position."""
        candidates, reported = perception.candidates, perception.reported
        sure = [i for i in distinct if i < reported]
        known = [track for track in self._tracks if track.track_id]
        found = _match(known, candidates, sure)
        # A doubtful box where nothing has been seen for a while is more likely another thing.
        lost = [track for track in known if track.held and track not in found.values()]
        doubtful = [i for i in distinct if i >= reported]
        found |= _match(lost, candidates, doubtful, other_label=np.inf)
        new = [track for track in self._tracks if not track.track_id]
        return found | _match(new, candidates, [i for i in sure if i not in found])

    def _start(self, perception: Perception, indices: Sequence[int]) -> None:
        """Start tracks with those of the candidates at these positions that are sure enough."""
        candidates, threshold = perception.candidates, perception.score_threshold
        enough = np.float32(threshold + self._settings.start_certainty * (1 - threshold))
        xywh = candidates.xywh
        self._tracks += [
            _Track(xywh[i], candidates.labels[i])
            for i in indices
            if candidates.scores[i] >= enough
        ]


class _Track:
    """One object over time: a Kalman filter of constant speed over center and size.

    All four coordinates are as noisy in units of the object's height, so that one covariance
    serves them all.

    Attributes:
        track_id: Its id; empty until a second image bears it out.
        label: The label that it was last seen with.
        unseen_s: Seconds since it was last seen.
        held: Whether it was seen in the image before the present one.
        seen: Whether it has been seen in the present image.
    """

    def __init__(self, xywh: np.ndarray, label: str) -> None:
        self.track_id = ""
        self.label = label
        self.unseen_s = 0.0
        self.held = self.seen = True
        self._motion = np.vstack([xywh, np.zeros(4)]).astype(float)  # position, speed
        self._covariance = np.diag([_MEASUREMENT_VARIANCE, _FIRST_SPEED_VARIANCE])

    @property
    def xyxy(self) -> np.ndarray:
        """(4,) predicted box: left, top, right, bottom in pixels."""
        center, half = self._motion[0, :2], self._motion[0, 2:] / 2
        return np.hstack([center - half, center + half])

    def predict(self, step_s: float) -> None:
        """Move on by a time that has passed."""
        transition = np.array([[1.0, step_s], [0.0, 1.0]])
        noise = np.array([[step_s**3 / 3, step_s**2 / 2], [step_s**2 / 2, step_s]])
        self._motion = transition @ self._motion
        self._covariance = transition @ self._covariance @ transition.T
        self._covariance += _ACCELERATION_DENSITY * noise
        self.held, self.seen = self.seen, False
        self.unseen_s += step_s

    def correct(self, xywh: np.ndarray, label: str) -> None:
        """Take over where and as what it has been seen now."""
        gain = self._covariance[:, 0] / (self._covariance[0, 0] + _MEASUREMENT_VARIANCE)
        self._motion += np.outer(gain, xywh - self._motion[0])
        # While it is hidden it moves on, but does not grow or shrink.
        self._motion[1, 2:] = 0
        self._covariance = self._covariance - np.outer(gain, self._covariance[0])
        self.label = label
        self.unseen_s = 0.0
        self.seen = True


def _match(
    tracks: Sequence[_Track],
    candidates: Detections,
    indices: Sequence[int],
    other_label: float = _OTHER_LABEL,
) -> dict[int, _Track]:
    """Pair tracks and objects so that they overlap most, all in all.

    Args:
        tracks: T tracks.
        candidates: Objects in the image.
        indices: Positions of the N among them that may be paired.
        other_label: What another label than the track's costs, in overlap.

    Returns:
        Tracks by the positions of their objects.
    """
    if not (tracks and indices):
        return {}
    expected = np.stack([track.xyxy for track in tracks])
    affinity = box_iou(
        expand_boxes(expected, _MARGIN), expand_boxes(candidates.xyxy[list(indices)], _MARGIN)
    )
    other = [[track.label != candidates.labels[i] for i in indices] for track in tracks]
    affinity = np.maximum(affinity - np.where(other, other_label, 0.0), 0.0)
    affinity[affinity < _LEAST_OVERLAP] = 0.0
    pairs = zip(*linear_sum_assignment(affinity, maximize=True), strict=True)
    return {indices[n]: tracks[t] for t, n in pairs if affinity[t, n] > 0}
