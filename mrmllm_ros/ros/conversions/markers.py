# SPDX-License-Identifier: Apache-2.0
"""Detections and answers as markers for RViz.

Lengths are meters in the frame of the image, the camera's optical one (REP 103: x to the right, y
downwards, z forward), and those of boxes in space in the frame of `detections_3d`.
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

from mrmllm_ros.detection.captions import caption, dashes, label_color
from mrmllm_ros.localization.depth import pinhole
from mrmllm_ros.msg import Answer, Detection, DetectionArray
from mrmllm_ros.ros.conversions.camera_info import (
    camera_matrix,
    is_calibrated,
    projection,
    region_size,
)
from mrmllm_ros.ros.conversions.location_messages import distance_of, matrix_from_quaternion

# On the image plane, for each meter of its distance, so that all looks alike at any distance.
_PLANE_LINE = 0.004
_PLANE_TEXT = 0.03
_BOX_LINE_M = 0.01
_BOX_TEXT_M = 0.1
_UPRIGHT = 0.7  # cosine of the angle between a box's y axis and the vertical

_ANSWER_COLUMNS = 60
_WHITE = ColorRGBA(r=0.95, g=0.95, b=0.95, a=1.0)

# The corners of a cube with edges of length 1, and the pairs that an edge connects.
_CUBE = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))  # (8, 3)
_CUBE_EDGES = np.array([(i, i | bit) for bit in (1, 2, 4) for i in range(8) if not i & bit])


class MarkerUpdates:
    """Makes of the markers of one image after another what RViz has to change.

    What is still there is replaced under its namespace and id, so that it does not blink. What is
    gone is deleted, once. All of it ends by itself when nothing more comes.
    """

    def __init__(self) -> None:
        """Start with nothing shown."""
        self._shown: set[tuple[str, int]] = set()

    def update(self, header: Header, markers: Sequence[Marker], lifetime_s: float) -> MarkerArray:
        """Show these markers instead of those of the image before.

        Args:
            header: The image's.
            markers: All that is to be seen now; their lifetime is set.
            lifetime_s: How long they stay if nothing more comes, in seconds.
        """
        now_shown = {(marker.ns, marker.id) for marker in markers}
        gone = [
            Marker(header=header, ns=namespace, id=marker_id, action=Marker.DELETE)
            for namespace, marker_id in sorted(self._shown - now_shown)
        ]
        self._shown = now_shown
        for marker in markers:
            marker.lifetime = _duration(lifetime_s)
        return MarkerArray(markers=[*gone, *markers])


def is_novel(detection: Detection, novelty_threshold: float) -> bool:
    """Whether an object is shown as a novel one."""
    return detection.novelty >= novelty_threshold


def detection_caption(detection: Detection, novelty_threshold: float) -> str:
    """How an object is named: number, label, score, track and novelty, as far as it has them."""
    novelty = detection.novelty if is_novel(detection, novelty_threshold) else None
    return caption(detection.id, detection.label, detection.score, detection.track_id, novelty)


def image_plane_markers(
    detections: DetectionArray,
    camera_info: CameraInfo,
    distance_m: float,
    novelty_threshold: float,
) -> list[Marker]:
    """Outline and name each object on a plane before the camera.

    Args:
        detections: Objects in one image.
        camera_info: The calibrated camera that took it; the image is one as `camera_matrix`
            takes it, of the same shape and of any size. Where `camera_info` leaves its size out,
            it is that of the image.
        distance_m: Distance of the plane from the camera in meters.
        novelty_threshold: Novelty from which on an outline is dashed.

    Returns:
        Two markers for each object, in the namespaces `boxes` and `labels`.

    Raises:
        CameraInfoError: If the camera is not calibrated, or the image has another shape.
    """
    matrix = _image_matrix(camera_info, (detections.image_width, detections.image_height))
    markers = []
    for detection in detections.detections:
        edges = _plane_edges(detection, matrix, distance_m)
        lines = _lines("boxes", detections, detection, edges, novelty_threshold)
        lines.scale.x = _PLANE_LINE * distance_m
        height = _PLANE_TEXT * distance_m
        x, y, z = edges[0].mean(axis=0)  # the middle of the upper edge
        text = detection_caption(detection, novelty_threshold)
        label = _text("labels", detections.header, text, (x, y - height, z), height)
        label.id, label.color = lines.id, lines.color
        markers += [lines, label]
    return markers


def box_markers(detections: DetectionArray, novelty_threshold: float) -> list[Marker]:
    """Outline and name each object where it is, as far as that is known.

    Args:
        detections: Objects, with a pose and size or without.
        novelty_threshold: Novelty from which on an outline is dashed.

    Returns:
        Two markers for each object that has a pose, in the namespaces `boxes_3d` and `labels_3d`;
        the labels say the distance from the camera too.
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
    """Write a question and its answer below the image, on a plane before the camera.

    Args:
        answer: An answer about an image.
        camera_info: The calibrated camera that took it.
        distance_m: Distance of the plane from the camera in meters.

    Returns:
        A marker in the namespace `answer`.

    Raises:
        CameraInfoError: If the camera is not calibrated, or its image has no width or height.
    """
    paragraphs = answer_lines(answer)
    lines = [line for text in paragraphs for line in textwrap.wrap(text, _ANSWER_COLUMNS)]
    height = _PLANE_TEXT * distance_m
    size = region_size(camera_info)
    matrix = _image_matrix(camera_info, size)
    # Where the size is left out, the principal point is as good as the middle of the image.
    image_width, image_height = size if any(size) else 2 * pinhole(matrix)[1]
    middle_of_lower_edge = np.array([(image_width / 2, image_height)])
    [(x, y, z)] = _to_plane(middle_of_lower_edge, matrix, distance_m)
    center = (x, y + height * (len(lines) / 2 + 1), z)
    return _text("answer", answer.header, "\n".join(lines), center, height)


def answer_lines(answer: Answer) -> list[str]:
    """Question and answer for people to read."""
    return [f"Q: {answer.question or '(describe)'}", f"A: {answer.text}"]


def _lines(
    namespace: str,
    detections: DetectionArray,
    detection: Detection,
    edges: np.ndarray,
    novelty_threshold: float,
) -> Marker:
    """An outline of (E, 2, 3) edges, dashed where the object is novel."""
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
    """The same for an object in every image that it is tracked in; an int32 in RViz."""
    if detection.track_id:
        return zlib.crc32(detection.track_id.encode()) >> 1
    return detection.id


def _image_matrix(camera_info: CameraInfo, resolution_wh: tuple[int, int]) -> np.ndarray:
    """(3, 3) float64, the camera's matrix for an image of that size in pixels."""
    # A driver that leaves the size out means that of the image.
    if region_size(camera_info) == (0, 0) and is_calibrated(camera_info):
        return projection(camera_info)
    return camera_matrix(camera_info, resolution_wh)


def _plane_edges(detection: Detection, matrix: np.ndarray, distance_m: float) -> np.ndarray:
    """(4, 2, 3) edges of the box on the plane, clockwise, the upper one first."""
    box = detection.bbox
    signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2
    pixels = signs * (box.size_x, box.size_y) + (box.center_x, box.center_y)
    corners = _to_plane(pixels, matrix, distance_m)
    return np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)


def _to_plane(pixels: np.ndarray, matrix: np.ndarray, distance_m: float) -> np.ndarray:
    """(N, 3) points of the plane that (N, 2) pixels of an image with that matrix show."""
    focal, center = pinhole(matrix)
    meters = (pixels - center) / focal * distance_m
    return np.column_stack([meters, np.full(len(meters), distance_m)])


def _above(pose: Pose, size: np.ndarray, margin_m: float) -> np.ndarray:
    """(3,), from a box's center to a place above it.

    Up is against the y axis, as in a camera's frame, unless the box says that it is along z: a box
    that the camera sees upright has its y axis along -z in a frame of the robot or the map.
    """
    rotation = matrix_from_quaternion(pose.orientation)
    up = np.array((0, 0, 1) if rotation[2, 1] < -_UPRIGHT else (0, -1, 0))
    return up * (np.abs(up @ rotation) @ size / 2 + margin_m)


def _vector(message: Point | Vector3) -> np.ndarray:
    return np.array([message.x, message.y, message.z])


def _duration(seconds: float) -> Duration:
    sec, nanosec = divmod(round(seconds * 1e9), 1_000_000_000)
    return Duration(sec=sec, nanosec=nanosec)
