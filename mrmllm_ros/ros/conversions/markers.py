# SPDX-License-Identifier: Apache-2.0
"""RViz markers of detections and answers.

Markers on the image plane are in meters in the optical frame of the camera (REP 103: x right, y
down, z forward); markers of 3D boxes are in the frame of `detections_3d`.
"""

from __future__ import annotations

import itertools
import textwrap
import zlib
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, Vector3
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from mrmllm_ros.detection.captions import caption, correction, dashes, label_color
from mrmllm_ros.localization.depth import pinhole
from mrmllm_ros.msg import Answer, Detection, DetectionArray
from mrmllm_ros.ros.conversions.camera_info import (
    camera_matrix,
    is_calibrated,
    projection,
    region_size,
)
from mrmllm_ros.ros.conversions.location_messages import distance_of, matrix_from_quaternion

# Sizes on the image plane, relative to its distance.
_PLANE_LINE = 0.004
_PLANE_TEXT = 0.03
_BOX_LINE_M = 0.01
_BOX_TEXT_M = 0.1
# Minimum cosine of the angle between the y axis of an upright box and the vertical.
_UPRIGHT = 0.7

_ANSWER_COLUMNS = 60
_WHITE = ColorRGBA(r=0.95, g=0.95, b=0.95, a=1.0)

# Corners of the unit cube, and the pairs of corners of its edges.
_CUBE = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))  # (8, 3)
_CUBE_EDGES = np.array([(i, i | bit) for bit in (1, 2, 4) for i in range(8) if not i & bit])


class MarkerUpdates:
    """Updates of the markers in RViz from one image to the next.

    Markers with a known namespace and id are replaced, which avoids flicker; missing ones are
    deleted. Markers expire after their lifetime.
    """

    def __init__(self) -> None:
        self._shown: set[tuple[str, int]] = set()

    def update(self, header: Header, markers: Sequence[Marker], lifetime_s: float) -> MarkerArray:
        """Replace the shown markers.

        Args:
            header: Header of the image.
            markers: Markers to show; their lifetime is set.
            lifetime_s: Lifetime in seconds.
        """
        shown = {(marker.ns, marker.id) for marker in markers}
        deleted = [
            Marker(header=header, ns=namespace, id=marker_id, action=Marker.DELETE)
            for namespace, marker_id in sorted(self._shown - shown)
        ]
        self._shown = shown
        for marker in markers:
            marker.lifetime = _duration(lifetime_s)
        return MarkerArray(markers=[*deleted, *markers])


def is_novel(detection: Detection, novelty_threshold: float) -> bool:
    """Return whether an object is shown as novel."""
    return detection.novelty >= novelty_threshold


def detection_caption(detection: Detection, novelty_threshold: float) -> str:
    """Return the caption of an object, with its novelty if it is novel."""
    return caption(
        detection.id,
        detection.label,
        detection.score,
        detection.track_id,
        detection.novelty if is_novel(detection, novelty_threshold) else None,
        correction(detection.label, detection.detector_label, detection.attributes),
    )


def image_plane_markers(
    detections: DetectionArray,
    camera_info: CameraInfo,
    distance_m: float,
    novelty_threshold: float,
) -> list[Marker]:
    """Make outlines and captions of objects on a plane before the camera.

    Args:
        detections: Objects in one image.
        camera_info: Calibration of the camera, with the aspect ratio of the image or without size.
        distance_m: Distance of the plane from the camera in meters.
        novelty_threshold: Minimum novelty of objects with dashed outlines.

    Returns:
        Two markers per object, in the namespaces `boxes` and `labels`.

    Raises:
        CameraInfoError: If the camera is not calibrated, or the aspect ratios differ.
    """
    matrix = _image_matrix(camera_info, (detections.image_width, detections.image_height))
    markers = []
    for detection in detections.detections:
        edges = _plane_edges(detection, matrix, distance_m)
        lines = _lines("boxes", detections, detection, edges, novelty_threshold)
        lines.scale.x = _PLANE_LINE * distance_m
        height = _PLANE_TEXT * distance_m
        x, y, z = edges[0].mean(axis=0)  # center of the upper edge
        text = detection_caption(detection, novelty_threshold)
        label = _text("labels", detections.header, text, (x, y - height, z), height)
        label.id, label.color = lines.id, lines.color
        markers += [lines, label]
    return markers


def box_markers(detections: DetectionArray, novelty_threshold: float) -> list[Marker]:
    """Make 3D boxes and captions of the objects with a known pose.

    Args:
        detections: Objects with or without pose.
        novelty_threshold: Minimum novelty of objects with dashed outlines.

    Returns:
        Two markers per object with a pose, in the namespaces `boxes_3d` and `labels_3d`; the
        captions contain the distance from the camera.
    """
    markers = []
    for detection in detections.detections:
        if not detection.has_pose:
            continue
        size, position = _vector(detection.size), _vector(detection.pose.position)
        edges = (_CUBE * size)[_CUBE_EDGES]
        lines = _lines("boxes_3d", detections, detection, edges, novelty_threshold)
        lines.pose, lines.scale.x = detection.pose, _BOX_LINE_M
        text = detection_caption(detection, novelty_threshold)
        text += f"\n{distance_of(detection):.1f} m"
        above = position + _above(detection.pose, size, _BOX_TEXT_M)
        label = _text("labels_3d", detections.header, text, above, _BOX_TEXT_M)
        label.id, label.color = lines.id, lines.color
        markers += [lines, label]
    return markers


def answer_marker(answer: Answer, camera_info: CameraInfo, distance_m: float) -> Marker:
    """Make the text of an answer below the image, on a plane before the camera.

    Args:
        answer: Answer about an image.
        camera_info: Calibration of the camera.
        distance_m: Distance of the plane from the camera in meters.

    Returns:
        A marker in the namespace `answer`.

    Raises:
        CameraInfoError: If the camera is not calibrated, or only one of width and height is set.
    """
    paragraphs = answer_lines(answer)
    lines = [line for text in paragraphs for line in textwrap.wrap(text, _ANSWER_COLUMNS)]
    height = _PLANE_TEXT * distance_m
    size = region_size(camera_info)
    matrix = _image_matrix(camera_info, size)
    # Without size, the principal point approximates the center of the image.
    image_width, image_height = size if any(size) else 2 * pinhole(matrix)[1]
    lower_edge_center = np.array([(image_width / 2, image_height)])
    [(x, y, z)] = _to_plane(lower_edge_center, matrix, distance_m)
    center = (x, y + height * (len(lines) / 2 + 1), z)
    return _text("answer", answer.header, "\n".join(lines), center, height)


def answer_lines(answer: Answer) -> list[str]:
    """Return the question and the answer as lines of text."""
    return [f"Q: {answer.question or '(describe)'}", f"A: {answer.text}"]


def _lines(
    namespace: str,
    detections: DetectionArray,
    detection: Detection,
    edges: np.ndarray,
    novelty_threshold: float,
) -> Marker:
    """Outline of (E, 2, 3) edges, dashed if the object is novel."""
    if is_novel(detection, novelty_threshold):
        edges = dashes(edges)
    red, green, blue = label_color(detection.label)
    return Marker(
        header=detections.header,
        ns=namespace,
        id=_marker_id(detection),
        type=Marker.LINE_LIST,
        color=ColorRGBA(r=red, g=green, b=blue, a=1.0),
        points=[Point(x=x, y=y, z=z) for x, y, z in edges.reshape(-1, 3).tolist()],
    )


def _text(
    namespace: str, header: Header, text: str, center: Sequence[float], height_m: float
) -> Marker:
    x, y, z = map(float, center)
    return Marker(
        header=header,
        ns=namespace,
        type=Marker.TEXT_VIEW_FACING,
        pose=Pose(position=Point(x=x, y=y, z=z)),
        scale=Vector3(z=height_m),
        color=_WHITE,
        text=text,
    )


def _marker_id(detection: Detection) -> int:
    """Marker id (int32), the same for all detections of a track."""
    if detection.track_id:
        return zlib.crc32(detection.track_id.encode()) >> 1
    return detection.id


def _image_matrix(camera_info: CameraInfo, resolution_wh: tuple[int, int]) -> np.ndarray:
    """Camera matrix, (3, 3) float64, of an image with this size in pixels."""
    # Without size, camera_info has the size of the image.
    if region_size(camera_info) == (0, 0) and is_calibrated(camera_info):
        return projection(camera_info)
    return camera_matrix(camera_info, resolution_wh)


def _plane_edges(detection: Detection, matrix: np.ndarray, distance_m: float) -> np.ndarray:
    """Edges (4, 2, 3) of the box on the plane, clockwise from the upper edge."""
    box = detection.bbox
    signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2
    pixels = signs * (box.size_x, box.size_y) + (box.center_x, box.center_y)
    corners = _to_plane(pixels, matrix, distance_m)
    return np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)


def _to_plane(pixels: np.ndarray, matrix: np.ndarray, distance_m: float) -> np.ndarray:
    """Project (N, 2) pixels to (N, 3) points on the plane."""
    focal, center = pinhole(matrix)
    meters = (pixels - center) / focal * distance_m
    return np.column_stack([meters, np.full(len(meters), distance_m)])


def _above(pose: Pose, size: np.ndarray, margin_m: float) -> np.ndarray:
    """Offset (3,) from the center of a box to a point above it.

    Up is -y in an optical frame. In a frame of the robot or the map, where the y axis of an
    upright box is -z, up is z.
    """
    rotation = matrix_from_quaternion(pose.orientation)
    up = np.array((0, 0, 1) if rotation[2, 1] < -_UPRIGHT else (0, -1, 0))
    return up * (np.abs(up @ rotation) @ size / 2 + margin_m)


def _vector(message: Point | Vector3) -> np.ndarray:
    return np.array([message.x, message.y, message.z])


def _duration(seconds: float) -> Duration:
    sec, nanosec = divmod(round(seconds * 1e9), 1_000_000_000)
    return Duration(sec=sec, nanosec=nanosec)
