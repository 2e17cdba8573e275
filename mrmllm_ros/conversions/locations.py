# SPDX-License-Identifier: Apache-2.0
"""Where objects are in space, into and out of `Detection` messages."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, Pose, Vector3

from mrmllm_ros.msg import Detection, DetectionArray
from mrmllm_ros.perception.localization import Location


def set_location(detection: Detection, location: Location | None) -> None:
    """Write where an object is into its message; None says that it is not known."""
    detection.has_pose = location is not None
    detection.pose, detection.size = Pose(), Vector3()
    if location is not None:
        detection.pose.position = Point(**dict(zip("xyz", location.center.tolist(), strict=True)))
        detection.size = Vector3(**dict(zip("xyz", location.size.tolist(), strict=True)))


def distances_of(message: DetectionArray) -> dict[str, float]:
    """How far the tracked objects are whose pose is known and a place.

    Returns:
        Metres from the camera to the middle of the object's visible side, by track id.
    """
    positions = {d.track_id: d.pose.position for d in message.detections if d.has_pose}
    metres = {
        track_id: np.float32(np.linalg.norm((p.x, p.y, p.z)))
        for track_id, p in positions.items()
        if track_id
    }
    return {track_id: float(m) for track_id, m in metres.items() if np.isfinite(m)}
