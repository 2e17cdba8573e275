# SPDX-License-Identifier: Apache-2.0
"""Textures of floors and walls, drawn from the patterns of `surfaces.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import yaml

from mrmllm_ros.datasets.rendered.model_map import Split

Kind = Literal["floors", "walls"]
TEXTURE_SIZE_M = 2.4  # width and height of a texture in a room

_PIXELS = 512
_JOINT_M = 0.006


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A floor or a wall.

    Attributes:
        name: Name, such as `walnut planks`.
        split: The only split whose scenes have it.
        pattern: Function that draws it.
        colors: RGB of its parts, 0 to 255.
        size: Width and height of a part in meters.
    """

    name: str
    split: Split
    pattern: str
    colors: Sequence[Sequence[int]]
    size: tuple[float, float]


@cache
def surfaces(kind: Kind, split: Split) -> tuple[Surface, ...]:
    """Floors or walls of a split, in the order of the file.

    Raises:
        ValueError: If the file names an unknown pattern.
    """
    content = yaml.safe_load(Path(__file__).with_name("surfaces.yaml").read_text("utf-8"))
    found = tuple(Surface(name=name, **values) for name, values in content[kind].items())
    if unknown := {each.pattern for each in found} - set(_PATTERNS):
        raise ValueError(f"surfaces.yaml: unknown patterns {sorted(unknown)}")
    return tuple(each for each in found if each.split == split)


def draw_surface(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    """Draw the texture of `TEXTURE_SIZE_M` meters of a surface.

    Args:
        surface: The surface.
        rng: Source of the variation between parts.

    Returns:
        (512, 512, 3) uint8 RGB.
    """
    texture = _PATTERNS[surface.pattern](surface, rng)
    texture *= 1 + 0.03 * _noise(rng, 6)[..., None] + 0.012 * _noise(rng, _PIXELS)[..., None]
    return texture.clip(0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    """(512, 512) smooth noise of unit variance, with a number of cells across."""
    values = rng.standard_normal((cells, cells)).astype(np.float32)
    return cv2.resize(values, (_PIXELS, _PIXELS), interpolation=cv2.INTER_CUBIC)


def _coordinates() -> tuple[np.ndarray, np.ndarray]:
    """(512, 512) meters to the right and down."""
    steps = (np.arange(_PIXELS) + 0.5) / _PIXELS * TEXTURE_SIZE_M
    return np.meshgrid(steps, steps)


def _plain(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    return np.tile(np.float32(surface.colors[0]), (_PIXELS, _PIXELS, 1))


def _grid(
    surface: Surface, rng: np.random.Generator, offset: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rectangles in rows.

    Returns:
        (512, 512) column and row of the rectangle of each pixel, and whether it is in a joint.
    """
    x, y = _coordinates()
    width, height = surface.size
    row = np.floor(y / height).astype(int)
    x = x + row * offset * width
    column = np.floor(x / width).astype(int)
    joint = (x % width < _JOINT_M) | (y % height < _JOINT_M)
    return column, row, joint


def _parts(
    column: np.ndarray, row: np.ndarray, colors: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(512, 512, 3) color of each rectangle, with a variation between rectangles."""
    choice = rng.integers(0, len(colors), (row.max() + 1, column.max() + 1))
    shade = rng.normal(1, 0.035, choice.shape)
    return colors[choice[row, column]] * shade[row, column][..., None]


def _planks(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    column, row, joint = _grid(surface, rng, 0.37)
    texture = _parts(column, row, np.float32(surface.colors), rng)
    grain = cv2.resize(rng.standard_normal((_PIXELS, 12)).astype(np.float32), (_PIXELS, _PIXELS))
    texture = texture * (1 + 0.05 * grain[..., None])
    texture[joint] *= 0.72
    return texture


def _tiles(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    column, row, joint = _grid(surface, rng, 0)
    colors = np.float32(surface.colors)
    shade = rng.normal(1, 0.015, (row.max() + 1, column.max() + 1))
    texture = colors[(row + column) % 2] * shade[row, column][..., None]
    texture[joint] = colors[2]
    return texture


def _bricks(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    column, row, joint = _grid(surface, rng, 0.5)
    texture = _parts(column, row, np.float32(surface.colors), rng)
    texture[joint] = texture[joint] * 0.5 + 80
    return texture


def _carpet(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    share = (0.5 + 0.35 * _noise(rng, 256)).clip(0, 1)[..., None]
    first, second = np.float32(surface.colors)
    return first * share + second * (1 - share)


def _concrete(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    share = (0.5 + 0.2 * _noise(rng, 8) + 0.12 * _noise(rng, 64)).clip(0, 1)[..., None]
    first, second = np.float32(surface.colors)
    return first * share + second * (1 - share)


def _terrazzo(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    colors = np.float32(surface.colors)
    texture = np.tile(colors[0], (_PIXELS, _PIXELS, 1))
    cells = max(int(2 * TEXTURE_SIZE_M / surface.size[0]), 4)
    for color in colors[1:]:
        texture[_noise(rng, cells) > 0.9] = color
    return texture


def _stripes(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    x, _ = _coordinates()
    return np.float32(surface.colors)[np.floor(x / surface.size[0]).astype(int) % 2]


def _panels(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    column, row, joint = _grid(surface, rng, 0)
    texture = _parts(column, row, np.float32(surface.colors), rng)
    grain = cv2.resize(rng.standard_normal((10, _PIXELS)).astype(np.float32), (_PIXELS, _PIXELS))
    texture = texture * (1 + 0.05 * grain[..., None])
    texture[joint] *= 0.7
    return texture


_PATTERNS = {
    "plain": _plain,
    "planks": _planks,
    "tiles": _tiles,
    "bricks": _bricks,
    "carpet": _carpet,
    "concrete": _concrete,
    "terrazzo": _terrazzo,
    "stripes": _stripes,
    "panels": _panels,
}
