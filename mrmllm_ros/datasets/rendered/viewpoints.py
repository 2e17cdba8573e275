# SPDX-License-Identifier: Apache-2.0
"""Choose where a robot's camera stands in a furnished room, and move it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mrmllm_ros.datasets.rendered.camera_model import PinholeCamera
from mrmllm_ros.datasets.rendered.layout import Layout
from mrmllm_ros.datasets.rendered.places import Place

_CANDIDATES = 24
_CLEARANCE_M = 0.5  # from objects and walls
_NEAR_M, _FAR_M = 0.9, 6.0
_FOV = (np.radians(58), np.radians(82))
_STEP_M = 0.06  # between the frames of a moving camera
_TURN = np.radians(1.5)


def viewpoints(
    layout: Layout, place: Place, resolution_wh: tuple[int, int], rng: np.random.Generator
) -> list[PinholeCamera]:
    """Free positions with directions of view, those with many objects in view first.

    Args:
        layout: The furnished room.
        place: Heights and pitches of the camera.
        resolution_wh: Width and height of the image in pixels.
        rng: Source of the choices.
    """
    cameras = [
        camera
        for camera in _propose(layout, place, resolution_wh, rng)
        if _is_free(layout, camera.position)
    ]
    return sorted(cameras, key=lambda camera: -_in_view(layout, camera))


def moved(camera: PinholeCamera, frame: int) -> PinholeCamera:
    """The camera after it has moved sideways and turned for some frames.

    Args:
        camera: Camera of the first frame.
        frame: Number of the frame, from 0.
    """
    angle = _TURN * frame
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]]
    )
    pose = camera.pose.copy()
    pose[:3, :3] = turn @ pose[:3, :3]
    # To the right while it turns to the left keeps the objects in view.
    pose[:3, 3] += camera.pose[:3, 0] * _STEP_M * frame
    return PinholeCamera(camera.matrix, camera.resolution_wh, pose)


def _propose(
    layout: Layout, place: Place, resolution_wh: tuple[int, int], rng: np.random.Generator
) -> Iterator[PinholeCamera]:
    width, depth, _ = layout.size
    centers = [each.bounds.mean(axis=0) for each in layout.objects]
    for _ in range(_CANDIDATES):
        position = np.array(
            [
                rng.uniform(0.08, 0.92) * width,
                rng.uniform(0.08, 0.92) * depth,
                rng.uniform(*place.camera_height),
            ]
        )
        target = centers[int(rng.integers(len(centers)))] if centers else np.zeros(3)
        toward = target[:2] - position[:2]
        yaw = np.arctan2(toward[1], toward[0]) + rng.normal(0, 0.2)
        pitch = np.radians(rng.uniform(*place.camera_pitch))
        yield PinholeCamera.looking(position, yaw, pitch, rng.uniform(*_FOV), resolution_wh)


def _is_free(layout: Layout, position: np.ndarray) -> bool:
    room = np.asarray(layout.size)
    if (position[:2] < _CLEARANCE_M).any() or (position[:2] > room[:2] - _CLEARANCE_M).any():
        return False
    return not any(
        (position > each.bounds[0] - _CLEARANCE_M).all()
        and (position < each.bounds[1] + _CLEARANCE_M).all()
        for each in layout.objects
    )


def _in_view(layout: Layout, camera: PinholeCamera) -> int:
    """Number of objects whose centers are in the image and not far away."""
    if not layout.objects:
        return 0
    centers = np.array([each.bounds.mean(axis=0) for each in layout.objects])
    u, v, z = camera.project(centers).T
    width, height = camera.resolution_wh
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height) & (z > _NEAR_M) & (z < _FAR_M)
    return int(inside.sum())
