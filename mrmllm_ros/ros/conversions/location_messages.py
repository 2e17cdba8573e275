# SPDX-License-Identifier: Apache-2.0
"""Locations of objects to and from messages."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion, TransformStamped, Vector3
from std_msgs.msg import Header

from mrmllm_ros.detection.rgbd_frames import CameraPose
from mrmllm_ros.localization.localizer import Location
from mrmllm_ros.localization.rotations import matrix_from_xyzw, xyzw_from_matrix
from mrmllm_ros.msg import Detection, DetectionArray, ObjectDistances


def set_location(
    detection: Detection, location: Location | None, to_frame: np.ndarray | None = None
) -> None:
    """Set the location of an object in its message.

    The size remains along the axes of the camera, given by the orientation.

    Args:
        detection: Message to modify.
        location: Location in the frame of the camera; None for unknown.
        to_frame: (4, 4) transform from the frame of the camera to that of the pose; None for the
            identity.
    """
    detection.has_pose = location is not None
    detection.pose, detection.size, detection.distance = Pose(), Vector3(), 0.0
    if location is None:
        return
    center = location.center
    detection.distance = float(np.linalg.norm(center))
    detection.size = Vector3(**dict(zip("xyz", location.size.tolist(), strict=True)))
    if to_frame is not None:
        center = to_frame[:3, :3] @ center + to_frame[:3, 3]
        rotation = xyzw_from_matrix(to_frame[:3, :3]).tolist()
        detection.pose.orientation = Quaternion(**dict(zip("xyzw", rotation, strict=True)))
    detection.pose.position = Point(**dict(zip("xyz", center.tolist(), strict=True)))


def matrix_from_quaternion(rotation: Quaternion) -> np.ndarray:
    """Convert a unit quaternion to a rotation matrix, (3, 3) float64."""
    return matrix_from_xyzw(np.array([rotation.x, rotation.y, rotation.z, rotation.w]))


def transform_message(header: Header, child: str, pose: CameraPose) -> TransformStamped:
    """Make the transform from the frame of a header to the frame of a camera.

    Args:
        header: Header with the parent frame.
        child: Optical frame of the camera.
        pose: Pose of the camera in the parent frame.
    """
    message = TransformStamped(header=header, child_frame_id=child)
    transform = message.transform
    transform.translation = Vector3(**dict(zip("xyz", pose.position.tolist(), strict=True)))
    transform.rotation = Quaternion(**dict(zip("xyzw", pose.xyzw.tolist(), strict=True)))
    return message


def distance_of(detection: Detection) -> float:
    """Return the distance from the camera to an object with a pose, in meters.

    If `distance` is not set, the pose is in the frame of the camera.
    """
    position = detection.pose.position
    meters = detection.distance or np.linalg.norm((position.x, position.y, position.z))
    return float(np.float32(meters))


def distances_message(message: DetectionArray) -> ObjectDistances:
    """Make the message with the distances of tracked objects with a known pose.

    Args:
        message: Located objects with the header of the image.
    """
    known = [d for d in message.detections if d.has_pose and d.track_id]
    return ObjectDistances(
        header=message.header,
        track_ids=[d.track_id for d in known],
        distances=[distance_of(d) for d in known],
    )


def distances_from_message(message: ObjectDistances) -> dict[str, float]:
    """Convert a message to distances.

    Returns:
        Distance from the camera to the center of each object in meters, by track id.

    Raises:
        ValueError: If the numbers of distances and track ids differ, a track id is empty or
            duplicate, or a distance is negative or not finite.
    """
    track_ids, distances_m = message.track_ids, message.distances.tolist()
    if len(track_ids) != len(distances_m):
        raise ValueError(f"{len(track_ids)} track_ids but {len(distances_m)} distances")
    known = dict(zip(track_ids, distances_m, strict=True))
    if "" in known or len(known) != len(track_ids):
        raise ValueError(f"track_ids {track_ids} contain an empty or duplicate id")
    for track_id, meters in known.items():
        if not (meters >= 0 and np.isfinite(meters)):
            raise ValueError(f"distance of track {track_id!r} is {meters}, expected meters")
    return known
