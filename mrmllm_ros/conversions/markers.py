# SPDX-License-Identifier: Apache-2.0
"""Detections as markers for RViz."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, Pose, Vector3
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from mrmllm_ros.msg import Detection, DetectionArray

_LINE_WIDTH_M = 0.005
_TEXT_HEIGHT_M = 0.04
_COLOR = ColorRGBA(r=0.1, g=0.9, b=0.4, a=1.0)


def image_plane_markers(
    detections: DetectionArray, camera_info: CameraInfo, distance_m: float
) -> MarkerArray:
    """Outline each detection on a plane before the camera, in the camera's optical frame.

    Args:
        detections: Objects in one image.
        camera_info: The camera that took it; `k` is its pinhole model (REP 104).
        distance_m: Distance of the plane from the camera in metres.

    Returns:
        Markers that replace all earlier ones.
    """
    markers = [Marker(header=detections.header, action=Marker.DELETEALL)]
    for detection in detections.detections:
        corners = _corners(detection, camera_info, distance_m)
        markers.append(_outline(detections, detection.id, corners))
        markers.append(_caption(detections, detection, corners[0]))
    return MarkerArray(markers=markers)


def _corners(detection: Detection, camera_info: CameraInfo, distance_m: float) -> list[Point]:
    """The box's four corners in metres, clockwise from the top left one."""
    focal_x, _, center_x, _, focal_y, center_y = camera_info.k[:6]
    box = detection.bbox
    signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2
    pixels = signs * (box.size_x, box.size_y) + (box.center_x, box.center_y)
    metres = (pixels - (center_x, center_y)) / (focal_x, focal_y) * distance_m
    return [Point(x=float(x), y=float(y), z=distance_m) for x, y in metres]


def _outline(detections: DetectionArray, marker_id: int, corners: list[Point]) -> Marker:
    return Marker(
        header=detections.header,
        ns="boxes",
        id=marker_id,
        type=Marker.LINE_STRIP,
        pose=Pose(),
        scale=Vector3(x=_LINE_WIDTH_M),
        color=_COLOR,
        points=[*corners, corners[0]],
    )


def _caption(detections: DetectionArray, detection: Detection, corner: Point) -> Marker:
    pose = Pose(position=Point(x=corner.x, y=corner.y - _TEXT_HEIGHT_M, z=corner.z))
    return Marker(
        header=detections.header,
        ns="labels",
        id=detection.id,
        type=Marker.TEXT_VIEW_FACING,
        pose=pose,
        scale=Vector3(z=_TEXT_HEIGHT_M),
        color=_COLOR,
        text=f"[{detection.id}] {detection.label} {detection.score:.2f}",
    )
