# SPDX-License-Identifier: Apache-2.0
"""How far objects were when they were last measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.stamps import jumps_back


@dataclass(frozen=True)
class _Measured:
    """Meters, and when, in nanoseconds."""

    distance_m: float
    stamp_ns: int


class Distances:
    """The newest distance of each tracked object, for as long as it is worth something.

    Measuring takes longer than the next image, so what is known of an object is what was measured
    in an earlier image in which it had the same track id. One thread may update while another
    reads.

    Attributes:
        max_age_s: Distances measured longer ago than this are forgotten; may be changed at any
            time.

    Example:
        >>> distances = Distances(max_age_s=1.0)
        >>> distances.update("front", 10**9, {"7": 2.134})
        >>> distances.at("front", 10**9 + 200_000_000)
        {'7': 2.134}
        >>> distances.at("front", 3 * 10**9)
        {}
    """

    def __init__(self, max_age_s: float) -> None:
        """Start with nothing known.

        Args:
            max_age_s: Distances measured longer ago than this are forgotten.
        """
        self.max_age_s = max_age_s
        self._measured: dict[str, dict[str, _Measured]] = {}

    def update(self, camera: str, stamp_ns: int, distances_m: Mapping[str, float]) -> None:
        """Take over what was measured in an image.

        Args:
            camera: Name of the camera.
            stamp_ns: Stamp of the image in nanoseconds.
            distances_m: Meters by track id; the others keep what they have.
        """
        known = self._recent(camera, stamp_ns)
        self._measured[camera] = known | {
            track_id: _Measured(distance_m, stamp_ns)
            for track_id, distance_m in distances_m.items()
            # A message that a newer one has overtaken.
            if track_id not in known or known[track_id].stamp_ns <= stamp_ns
        }

    def at(self, camera: str, stamp_ns: int) -> dict[str, float]:
        """The distances that hold at the time of an image.

        Args:
            camera: Name of the camera.
            stamp_ns: Stamp of the image in nanoseconds.

        Returns:
            Meters by track id.
        """
        recent = self._recent(camera, stamp_ns)
        return {track_id: known.distance_m for track_id, known in recent.items()}

    def with_distances(self, detections: Detections, camera: str, stamp_ns: int) -> Detections:
        """Give tracked objects of an image their distances.

        Args:
            detections: The objects.
            camera: Name of the camera.
            stamp_ns: Stamp of the image in nanoseconds.

        Returns:
            The same objects; those without a known distance get none.
        """
        known = self.at(camera, stamp_ns)
        if not known:
            return detections
        meters = [known.get(track_id, np.nan) for track_id in detections.track_ids]
        return replace(detections, distances_m=np.array(meters, np.float32))

    def _recent(self, camera: str, stamp_ns: int) -> dict[str, _Measured]:
        # Where the stamp steps back a little, no time has passed; after a jump back, distances
        # from the future are as useless as old ones.
        return {
            track_id: known
            for track_id, known in self._measured.get(camera, {}).items()
            if stamp_ns - known.stamp_ns <= self.max_age_s * 1e9
            and not jumps_back(stamp_ns, known.stamp_ns)
        }
