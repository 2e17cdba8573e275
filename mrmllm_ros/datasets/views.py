# SPDX-License-Identifier: Apache-2.0
"""Parts of images, with and without damage, so that one image gives many examples."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from mrmllm_ros.datasets.corruptions import CORRUPTIONS, SEVERITIES, corrupt

_LEAST_CROP = 0.5
_MOST_WIDTH = 640  # pixels


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """A part of an image, perhaps mirrored, at most 640 pixels wide.

    Otherwise the places where a fixed camera's objects stand would pass for understanding.

    Attributes:
        start_xy: The part's left and upper edge in pixels of the image.
        part_wh: Its width and height in pixels of the image.
        mirrored: Whether left and right are exchanged.
    """

    start_xy: tuple[int, int]
    part_wh: tuple[int, int]
    mirrored: bool

    @classmethod
    def draw(cls, shape: tuple[int, ...], rng: np.random.Generator) -> View:
        """Choose a part, from half to all of each side.

        Args:
            shape: Height and width of the image, in pixels.
            rng: Chooses the part.
        """
        sides = shape[:2]
        lengths = [max(1, round(side * rng.uniform(_LEAST_CROP, 1.0))) for side in sides]
        starts = [
            int(rng.integers(0, side - n + 1)) for side, n in zip(sides, lengths, strict=True)
        ]
        (top, left), (height, width) = starts, lengths
        mirrored = bool(rng.random() < 0.5)
        return cls(start_xy=(left, top), part_wh=(width, height), mirrored=mirrored)

    @property
    def resolution_wh(self) -> tuple[int, int]:
        """Width and height in pixels of what is shown of the part."""
        width, height = self.part_wh
        if width <= _MOST_WIDTH:
            return width, height
        return _MOST_WIDTH, max(1, round(height * _MOST_WIDTH / width))

    def image(self, image: np.ndarray) -> np.ndarray:
        """Show the part.

        Args:
            image: (H, W, 3) uint8.

        Returns:
            (h, w, 3) uint8 of size `resolution_wh`, proportions as in the image.
        """
        (left, top), (width, height) = self.start_xy, self.part_wh
        part = image[top : top + height, left : left + width]
        if self.mirrored:
            part = part[:, ::-1]
        if self.resolution_wh != self.part_wh:
            return cv2.resize(part, self.resolution_wh, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(part)

    def boxes(self, xyxy: np.ndarray) -> np.ndarray:
        """Move boxes of the image to where the view shows them.

        Args:
            xyxy: (N, 4) float32, pixels of the image.

        Returns:
            (N, 4) float32, pixels of the view; they may reach beyond it or lie outside of it.
        """
        moved = xyxy - np.tile(np.float32(self.start_xy), 2)
        if self.mirrored:
            moved[:, [0, 2]] = self.part_wh[0] - moved[:, [2, 0]]
        scale = np.divide(self.resolution_wh, self.part_wh, dtype=np.float32)
        return moved * np.tile(scale, 2)


@dataclass(frozen=True, eq=False, kw_only=True)
class CorruptedImage:
    """One view of an image, without and with damage.

    Attributes:
        clean: (h, w, 3) uint8 in BGR order.
        damaged: The same with damage, or `clean` itself.
        severity: Of the damage, 1 to 3; 0 where there is none.
    """

    clean: np.ndarray
    damaged: np.ndarray
    severity: int

    @classmethod
    def of(
        cls, clean: np.ndarray, corrupted_share: float, rng: np.random.Generator
    ) -> CorruptedImage:
        """Damage a view or leave it as it is.

        Args:
            clean: (h, w, 3) uint8 in BGR order.
            corrupted_share: How likely it is damaged.
            rng: Chooses kind, strength and the damage itself.
        """
        if rng.random() >= corrupted_share:
            return cls(clean=clean, damaged=clean, severity=0)
        kind, severity = str(rng.choice(list(CORRUPTIONS))), int(rng.choice(SEVERITIES))
        damaged = corrupt(clean, kind, severity, rng)
        return cls(clean=clean, damaged=damaged, severity=severity)

    @property
    def novelty(self) -> float:
        """How unfamiliar what it shows is, 0 to 1."""
        return self.severity / max(SEVERITIES)


def generator(seed: int, name: str, *numbers: int) -> np.random.Generator:
    """Make a source of chance of one example's own, so that none depends on the others.

    Args:
        seed: Of the whole, at least 0.
        name: Of the data or the file.
        numbers: Which example of it, at least 0.
    """
    return np.random.default_rng((seed, zlib.crc32(name.encode()), *numbers))
