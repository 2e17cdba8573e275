# SPDX-License-Identifier: Apache-2.0
"""Multi-object tracking.

Association as in ByteTrack (Zhang et al., 2022, arXiv 2110.06864): reported objects are matched
to the tracks first, then other candidates to the remaining tracks. Boxes are compared with a
margin, as in C-BIoU (Yang et al., 2023, arXiv 2211.14317), because with a slow camera a small
object leaves its box between two images. Time is measured by stamps, so the rate may vary.

No maintained library with a permissive license fits: `trackers` needs NumPy 2, which ROS 2 up to
Kilted does not have; `norfair` needs NumPy 1; `edgefirst-tracker` had three times as many
identity switches in `mrmllm benchmark tracking`.
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

# Minimum IoU of duplicate boxes of one object.
_DUPLICATE_IOU = 0.5
# Margin on each side of a box, as a share of its size.
_MARGIN = 0.3
_MIN_IOU = 0.2
# Penalty in IoU for a different label: decides between similar matches, but ends no track.
_LABEL_PENALTY = 0.1

# In heights of the box, so that they apply to near and far objects.
_MEASUREMENT_VARIANCE = 0.05**2
_INITIAL_SPEED_VARIANCE = 1.0**2  # per second squared
_ACCELERATION_DENSITY = 0.2  # per second cubed


@dataclass(frozen=True)
class TrackingSettings(Validated):
    """Settings of tracking."""

    enabled: bool = setting(True, "Whether objects get track ids.", live=True)
    remember_s: float = setting(
        2.0,
        "Seconds without a detection, measured by image stamps, after which a track ends.",
        minimum=0.1,
        maximum=60.0,
        live=True,
    )
    start_certainty: float = setting(
        0.3,
        "Minimum score to start a track: 0 is detector.score_threshold, 1 is a score of 1, with "
        "linear interpolation. Lower scores can continue a track.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )


class Tracker:
    """Assigns track ids to the objects of one camera.

    An object gets an id when it is detected in a second image. It keeps the id if its label
    changes and during short occlusions. Of duplicate boxes only the one with the highest score
    is tracked.

    All tracks end if the stamp jumps back by more than a second, for example when a bag restarts.
    """

    def __init__(self, settings: TrackingSettings, numbers: Iterator[int]) -> None:
        """Start without tracks.

        Args:
            settings: Settings.
            numbers: Unique ids. Trackers that share an iterator, such as those of a node's
                cameras, never assign the same id.
        """
        self._settings = settings
        self._numbers = numbers
        self._tracks: list[_Track] = []
        self._stamps = StampSequence()

    def configure(self, settings: TrackingSettings) -> None:
        """Apply other settings from the next image on."""
        self._settings = settings

    def update(self, perception: Perception, stamp_s: float) -> Perception:
        """Match the objects of the next image to the tracks.

        Args:
            perception: Output of the detector.
            stamp_s: Stamp of the image in seconds.

        Returns:
            The perception with track ids of the tracked candidates.
        """
        if not self._settings.enabled:
            self._tracks.clear()
            return perception
        candidates = perception.candidates
        self._advance_to(stamp_s)
        indices = non_max_suppression(candidates.xyxy, candidates.scores, _DUPLICATE_IOU)
        matched = self._match_tracks(perception, indices)
        xywh = candidates.xywh
        for index, track in matched.items():
            track.correct(xywh[index], candidates.labels[index])
            track.track_id = track.track_id or str(next(self._numbers))
        # Tracks that are not confirmed by a second image end.
        self._tracks = [track for track in self._tracks if track.track_id]
        self._start(perception, [i for i in indices if i not in matched])
        ids = (matched[i].track_id if i in matched else "" for i in range(len(candidates)))
        return replace(perception, candidates=replace(candidates, track_ids=tuple(ids)))

    def _advance_to(self, stamp_s: float) -> None:
        """Predict all tracks for a stamp and end those without recent detections."""
        step_s = self._stamps.advance(round(stamp_s * 1e9)) / 1e9
        if step_s < 0:
            self._tracks.clear()
        for track in self._tracks:
            track.predict(step_s)
        remember_s = self._settings.remember_s
        self._tracks = [track for track in self._tracks if track.since_update_s <= remember_s]

    def _match_tracks(self, perception: Perception, indices: Sequence[int]) -> dict[int, _Track]:
        """Match candidates to tracks.

        Returns:
            Tracks by the index of their candidate.
        """
        candidates, reported = perception.candidates, perception.reported
        high = [i for i in indices if i < reported]
        confirmed = [track for track in self._tracks if track.track_id]
        matched = _match(confirmed, candidates, high)
        # A low score at the place of a track that was already lost is likely another object.
        unmatched = [t for t in confirmed if t.was_detected and t not in matched.values()]
        low = [i for i in indices if i >= reported]
        matched |= _match(unmatched, candidates, low, label_penalty=np.inf)
        new = [track for track in self._tracks if not track.track_id]
        return matched | _match(new, candidates, [i for i in high if i not in matched])

    def _start(self, perception: Perception, indices: Sequence[int]) -> None:
        """Start tracks with the candidates whose score is high enough."""
        candidates, threshold = perception.candidates, perception.score_threshold
        minimum = np.float32(threshold + self._settings.start_certainty * (1 - threshold))
        xywh = candidates.xywh
        self._tracks += [
            _Track(xywh[i], candidates.labels[i])
            for i in indices
            if candidates.scores[i] >= minimum
        ]


class _Track:
    """Track of one object: a Kalman filter with constant velocity of center and size.

    All four coordinates have the same noise in units of the object's height, so they share one
    covariance.

    Attributes:
        track_id: Track id; empty until the track is confirmed by a second image.
        label: Last detected label.
        xywh: (4,) float64, center x, center y, width, height of the predicted box in pixels.
        since_update_s: Seconds since the last detection.
        was_detected: Whether the object was detected in the previous image.
        is_detected: Whether the object is detected in the current image.
    """

    def __init__(self, xywh: np.ndarray, label: str) -> None:
        self.track_id = ""
        self.label = label
        self.since_update_s = 0.0
        self.was_detected = self.is_detected = True
        self.xywh = xywh.astype(float)
        self._velocity = np.zeros(4)
        # Variance of the position, covariance with the velocity, variance of the velocity.
        self._covariance = (_MEASUREMENT_VARIANCE, 0.0, _INITIAL_SPEED_VARIANCE)

    def predict(self, step_s: float) -> None:
        """Predict the state after a time step."""
        position, shared, velocity = self._covariance
        noise = _ACCELERATION_DENSITY * step_s
        self.xywh = self.xywh + step_s * self._velocity
        self._covariance = (
            position + step_s * (2 * shared + step_s * (velocity + noise / 3)),
            shared + step_s * (velocity + noise / 2),
            velocity + noise,
        )
        self.was_detected, self.is_detected = self.is_detected, False
        self.since_update_s += step_s

    def correct(self, xywh: np.ndarray, label: str) -> None:
        """Update the state with a detection."""
        position, shared, velocity = self._covariance
        gain = position / (position + _MEASUREMENT_VARIANCE)
        velocity_gain = shared / (position + _MEASUREMENT_VARIANCE)
        error = xywh - self.xywh
        self.xywh = self.xywh + gain * error
        self._velocity = self._velocity + velocity_gain * error
        # The size stays constant during occlusions.
        self._velocity[2:] = 0
        self._covariance = (
            position - gain * position,
            shared - gain * shared,
            velocity - velocity_gain * shared,
        )
        self.label = label
        self.since_update_s = 0.0
        self.is_detected = True


def _match(
    tracks: Sequence[_Track],
    candidates: Detections,
    indices: Sequence[int],
    label_penalty: float = _LABEL_PENALTY,
) -> dict[int, _Track]:
    """Assign candidates to tracks with the maximum total IoU.

    Args:
        tracks: T tracks.
        candidates: Candidates of the image.
        indices: Indices of the N candidates to assign.
        label_penalty: Subtracted from the IoU if the labels differ.

    Returns:
        Tracks by the index of their candidate.
    """
    if not (tracks and indices):
        return {}
    xywh = np.stack([track.xywh for track in tracks])
    center, half = xywh[:, :2], xywh[:, 2:] / 2
    expected = np.hstack([center - half, center + half])
    affinity = box_iou(
        expand_boxes(expected, _MARGIN), expand_boxes(candidates.xyxy[list(indices)], _MARGIN)
    )
    differs = [[track.label != candidates.labels[i] for i in indices] for track in tracks]
    affinity = np.maximum(affinity - np.where(differs, label_penalty, 0.0), 0.0)
    affinity[affinity < _MIN_IOU] = 0.0
    pairs = zip(*linear_sum_assignment(affinity, maximize=True), strict=True)
    return {indices[n]: tracks[t] for t, n in pairs if affinity[t, n] > 0}
