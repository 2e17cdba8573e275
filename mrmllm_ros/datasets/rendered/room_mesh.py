# SPDX-License-Identifier: Apache-2.0
"""Triangles of the room itself: floor, walls, ceiling, and photographs behind windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrmllm_ros.datasets.rendered.furniture import MeshPart
from mrmllm_ros.datasets.rendered.surfaces import TEXTURE_SIZE_M

_PANE = 0.9  # of a window's width and height


def quad(
    corner: Sequence[float],
    along: Sequence[float],
    up: Sequence[float],
    texture: np.ndarray | None,
    texture_size: tuple[float, float] | None = None,
    color: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> MeshPart:
    """Create a rectangle.

    Args:
        corner: (3,) corner in meters.
        along: (3,) edge along the width of the texture.
        up: (3,) edge along its height.
        texture: (H, W, 3) uint8 RGB, or None.
        texture_size: Width and height that the texture covers in meters; None covers the whole
            rectangle once.
        color: RGB, each from 0 to 1.
    """
    origin, u, v = (np.asarray(each, np.float64) for each in (corner, along, up))
    normal = np.cross(u, v)
    lengths = np.linalg.norm(u), np.linalg.norm(v)
    repeat = (1.0, 1.0) if texture_size is None else tuple(np.divide(lengths, texture_size))
    steps = np.array([[0, 0], [1, 0], [1, 1], [0, 0], [1, 1], [0, 1]])
    return MeshPart(
        positions=(origin + steps[:, :1] * u + steps[:, 1:] * v).astype(np.float32),
        normals=np.tile(normal / np.linalg.norm(normal), (6, 1)).astype(np.float32),
        uv=(steps * repeat).astype(np.float32),
        color=color,
        texture=texture,
    )


def room_parts(
    size: tuple[float, float, float], floor: np.ndarray, wall: np.ndarray
) -> list[MeshPart]:
    """Floor, four walls and a white ceiling.

    Args:
        size: Width, depth and height in meters.
        floor: (H, W, 3) uint8 RGB, texture of the floor.
        wall: (H, W, 3) uint8 RGB, texture of the walls.
    """
    width, depth, height = size
    tile = (TEXTURE_SIZE_M, TEXTURE_SIZE_M)
    up = (0, 0, height)
    return [
        quad((0, 0, 0), (width, 0, 0), (0, depth, 0), floor, tile),
        quad((0, depth, height), (width, 0, 0), (0, -depth, 0), None, color=(0.93, 0.93, 0.92)),
        quad((0, depth, 0), (width, 0, 0), up, wall, tile),
        quad((width, 0, 0), (-width, 0, 0), up, wall, tile),
        quad((0, 0, 0), (0, depth, 0), up, wall, tile),
        quad((width, depth, 0), (0, -depth, 0), up, wall, tile),
    ]


def pane(size: tuple[float, float, float], view: np.ndarray) -> MeshPart:
    """Photograph behind a window, in the axes of the window's mesh.

    Args:
        size: Width, depth and height of the window in meters.
        view: (H, W, 3) uint8 RGB.
    """
    width, height = size[0] * _PANE, size[2] * _PANE
    corner = (-width / 2, size[1] / 2 - 0.004, (size[2] - height) / 2)
    return quad(corner, (width, 0, 0), (0, 0, height), view)
