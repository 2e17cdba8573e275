# SPDX-License-Identifier: Apache-2.0
"""Where objects are in space, into and out of `Detection` messages."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, Pose, Vector3

from mrmllm_ros.conversions.images import rows_of
from mrmllm_ros.msg import Detection, DetectionArray
from mrmllm_ros.perception.images import ImageError
from mrmllm_ros.perception.localization import Location


def set_location(detection: Detection, location: Location | None) -> None:
    """Write where an object is into its message; None says that it is not known."""
    detection.has_pose = location is not None
    detection.pose, detection.size = Pose(), Vector3()
    if location is not None:
        detection.pose.position = Point(**dict(zip("xyz", location.center.tolist(), strict=True)))
        detection.size = Vector3(**dict(zip("xyz", location.size.tolist(), strict=True)))


def silhouette(detection: Detection, resolution_wh: tuple[int, int]) -> np.ndarray | None:
    """The mask of an object.

    Args:
        detection: Its message.
        resolution_wh: Size of the image that the object is in.

    Returns:
        (H, W) bool; None where there is no mask.

    Raises:
        ImageError: If the mask is not `mono8`, damaged, or of another size than the image.
    """
    mask = detection.mask
    if mask.width == 0:
        return None
    if mask.encoding != "mono8" or (mask.width, mask.height) != resolution_wh:
        raise ImageError(
            f"the mask of object {detection.id} is {mask.encoding!r} of {mask.width} x "
            f"{mask.height} pixels, not 'mono8' of {resolution_wh[0]} x {resolution_wh[1]}"
        )
    return rows_of(mask, 1) > 127


def distances_of(message: DetectionArray) -> dict[str, float]:
    """How far the tracked objects are whose pose is known.

    Returns:
        Metres from the camera to the middle of the object's visible side, by track id.
    """
    positions = {d.track_id: d.pose.position for d in message.detections if d.has_pose}
    return {
        track_id: float(np.linalg.norm((p.x, p.y, p.z)))
        for track_id, p in positions.items()
        if track_id
    }
