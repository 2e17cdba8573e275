# SPDX-License-Identifier: Apache-2.0
"""Latest measured distances of tracked objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.stamps import jumps_back


@dataclass(frozen=True)
class _Measured:
    """Distance in meters and its stamp in nanoseconds."""

    distance_m: float
    stamp_ns: int


class Distances:
    """Latest distance of each tracked object.

    Localization takes longer than the time between images, so an object gets the distance that
    was measured in an earlier image for the same track id. One thread may update while another
    reads.

    Attributes:
        max_age_s: Maximum age of distances in seconds; may change at any time.

    Example:
        >>> distances = Distances(max_age_s=1.0)
        >>> distances.update("front", 10**9, {"7": 2.134})
        >>> distances.at("front", 10**9 + 200_000_000)
        {'7': 2.134}
        >>> distances.at("front", 3 * 10**9)
        {}
    """

    def __init__(self, max_age_s: float) -> None:
        """Start without distances, with a maximum age in seconds."""
        self.max_age_s = max_age_s
        self._measured: dict[str, dict[str, _Measured]] = {}

    def update(self, camera: str, stamp_ns: int, distances_m: Mapping[str, float]) -> None:
        """Store the distances that were measured in an image.

        Args:
            camera: Name of the camera.
            stamp_ns: Stamp of the image in nanoseconds.
            distances_m: Meters by track id; other objects keep their distances.
        """
        known = self._recent(camera, stamp_ns)
        self._measured[camera] = known | {
            track_id: _Measured(distance_m, stamp_ns)
            for track_id, distance_m in distances_m.items()
            # Messages may arrive out of order.
            if track_id not in known or known[track_id].stamp_ns <= stamp_ns
        }

    def at(self, camera: str, stamp_ns: int) -> dict[str, float]:
        """Distances that are valid for an image, in meters by track id.

        Args:
            camera: Name of the camera.
            stamp_ns: Stamp of the image in nanoseconds.
        """
        recent = self._recent(camera, stamp_ns)
        return {track_id: known.distance_m for track_id, known in recent.items()}

    def with_distances(self, detections: Detections, camera: str, stamp_ns: int) -> Detections:
        """Add distances to the tracked objects of an image.

        Args:
            detections: Objects.
            camera: Name of the camera.
            stamp_ns: Stamp of the image in nanoseconds.
        """
        known = self.at(camera, stamp_ns)
        if not known:
            return detections
        meters = [known.get(track_id, np.nan) for track_id in detections.track_ids]
        return replace(detections, distances_m=np.array(meters, np.float32))

    def _recent(self, camera: str, stamp_ns: int) -> dict[str, _Measured]:
        # Distances from before a jump back in time are as invalid as old ones.
        return {
            track_id: known
            for track_id, known in self._measured.get(camera, {}).items()
            if stamp_ns - known.stamp_ns <= self.max_age_s * 1e9
            and not jumps_back(stamp_ns, known.stamp_ns)
        }
