# SPDX-License-Identifier: Apache-2.0
"""Random views of images, clean and corrupted, so that one image gives many examples."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from mrmllm_ros.datasets.corruptions import CORRUPTIONS, SEVERITIES, corrupt

_MIN_CROP = 0.5
_MAX_WIDTH = 640  # pixels


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """Crop of an image, possibly mirrored, at most 640 pixels wide.

    Without crops, a model could learn where the objects of a fixed camera are.

    Attributes:
        start_xy: Left and top edge of the crop in pixels of the image.
        crop_wh: Width and height of the crop in pixels of the image.
        mirrored: Whether left and right are exchanged.
    """

    start_xy: tuple[int, int]
    crop_wh: tuple[int, int]
    mirrored: bool

    @classmethod
    def sample(cls, shape: tuple[int, ...], rng: np.random.Generator) -> View:
        """Sample a view of half to all of each side.

        Args:
            shape: Height and width of the image, in pixels.
            rng: Source of randomness.
        """
        sides = shape[:2]
        lengths = [max(1, round(side * rng.uniform(_MIN_CROP, 1.0))) for side in sides]
        starts = [
            int(rng.integers(0, side - n + 1)) for side, n in zip(sides, lengths, strict=True)
        ]
        (top, left), (height, width) = starts, lengths
        mirrored = bool(rng.random() < 0.5)
        return cls(start_xy=(left, top), crop_wh=(width, height), mirrored=mirrored)

    @property
    def resolution_wh(self) -> tuple[int, int]:
        """Width and height of the view in pixels."""
        width, height = self.crop_wh
        if width <= _MAX_WIDTH:
            return width, height
        return _MAX_WIDTH, max(1, round(height * _MAX_WIDTH / width))

    def crop(self, image: np.ndarray) -> np.ndarray:
        """Crop an image to the view.

        Args:
            image: (H, W, 3) uint8.

        Returns:
            (h, w, 3) uint8 of size `resolution_wh`, with the proportions of the image.
        """
        (left, top), (width, height) = self.start_xy, self.crop_wh
        crop = image[top : top + height, left : left + width]
        if self.mirrored:
            crop = crop[:, ::-1]
        if self.resolution_wh != self.crop_wh:
            return cv2.resize(crop, self.resolution_wh, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(crop)

    def transform_boxes(self, xyxy: np.ndarray) -> np.ndarray:
        """Transform boxes from pixels of the image to pixels of the view.

        Args:
            xyxy: (N, 4) float32, pixels of the image.

        Returns:
            (N, 4) float32, pixels of the view; not clipped to it.
        """
        moved = xyxy - np.tile(np.float32(self.start_xy), 2)
        if self.mirrored:
            moved[:, [0, 2]] = self.crop_wh[0] - moved[:, [2, 0]]
        scale = np.divide(self.resolution_wh, self.crop_wh, dtype=np.float32)
        return moved * np.tile(scale, 2)

    def restore_boxes(self, xyxy: np.ndarray) -> np.ndarray:
        """Transform boxes from pixels of the view to pixels of the image.

        Args:
            xyxy: (N, 4) float32, pixels of the view.

        Returns:
            (N, 4) float32, pixels of the image.
        """
        scale = np.divide(self.crop_wh, self.resolution_wh, dtype=np.float32)
        moved = xyxy * np.tile(scale, 2)
        if self.mirrored:
            moved[:, [0, 2]] = self.crop_wh[0] - moved[:, [2, 0]]
        return moved + np.tile(np.float32(self.start_xy), 2)


@dataclass(frozen=True, eq=False, kw_only=True)
class CorruptedImage:
    """View of an image before and after corruption.

    Attributes:
        clean: (h, w, 3) uint8 in BGR order.
        corrupted: The same after corruption; `clean` itself if the severity is 0.
        severity: Severity of the corruption, 1 to 3; 0 for none.
    """

    clean: np.ndarray
    corrupted: np.ndarray
    severity: int

    @classmethod
    def sample(
        cls, clean: np.ndarray, corrupted_share: float, rng: np.random.Generator
    ) -> CorruptedImage:
        """Corrupt a view at random.

        Args:
            clean: (h, w, 3) uint8 in BGR order.
            corrupted_share: Probability of a corruption.
            rng: Source of randomness.
        """
        if rng.random() >= corrupted_share:
            return cls(clean=clean, corrupted=clean, severity=0)
        kind, severity = str(rng.choice(list(CORRUPTIONS))), int(rng.choice(SEVERITIES))
        corrupted = corrupt(clean, kind, severity, rng)
        return cls(clean=clean, corrupted=corrupted, severity=severity)

    @property
    def novelty(self) -> float:
        """Target novelty of the corrupted image, 0 to 1."""
        return self.severity / max(SEVERITIES)


def generator(seed: int, name: str, *numbers: int) -> np.random.Generator:
    """Create the random generator of one example, independent of all other examples.

    Args:
        seed: Random seed, at least 0.
        name: Name of the data or of the file.
        numbers: Numbers of the example, at least 0.
    """
    return np.random.default_rng((seed, zlib.crc32(name.encode()), *numbers))
