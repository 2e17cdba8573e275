# SPDX-License-Identifier: Apache-2.0
"""Masks of objects, cropped to their boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class Mask:
    """Pixels of an object, cropped to a rectangle around it.

    At full size, 50 masks of 1280 x 720 pixels would take 46 MB per frame.

    Attributes:
        inside: (h, w) bool; (0, 0) for an empty mask.
        left: Column of the rectangle's first pixel in the image.
        top: Row of the rectangle's first pixel in the image.

    Raises:
        ValueError: If `inside` is not a two-dimensional array of bool, or `left` or `top` is
            negative.
    """

    inside: np.ndarray
    left: int = 0
    top: int = 0

    def __post_init__(self) -> None:
        if self.inside.ndim != 2 or self.inside.dtype != bool:
            raise ValueError(
                f"the mask has shape {self.inside.shape} and type {self.inside.dtype}, expected "
                "(h, w) bool"
            )
        if min(self.left, self.top) < 0:
            raise ValueError(f"the mask begins outside the image, at {self.left}, {self.top}")

    @classmethod
    def empty(cls) -> Mask:
        """Mask without pixels, for an object whose mask is unknown."""
        return cls(np.zeros((0, 0), bool))

    @classmethod
    def crop(cls, whole: np.ndarray) -> Mask:
        """Crop an (H, W) bool mask of the whole image to the object."""
        left, top, width, height = cv2.boundingRect(whole.astype(np.uint8))
        return cls(whole[top : top + height, left : left + width].copy(), left, top)

    @classmethod
    def from_run_lengths(
        cls,
        run_lengths: ArrayLike,
        left_top: tuple[int, int],
        size_wh: tuple[int, int],
        resolution_wh: tuple[int, int],
    ) -> Mask:
        """Decode a run-length encoded mask.

        Args:
            run_lengths: (R,) integers, see the property `run_lengths`.
            left_top: Column and row of the rectangle's first pixel in the image.
            size_wh: Width and height of the rectangle in pixels; (0, 0) for an empty mask.
            resolution_wh: Width and height of the image in pixels.

        Raises:
            ValueError: If the rectangle is not inside the image, or the runs do not fill it.
        """
        runs = np.asarray(run_lengths)
        check_run_lengths(runs, left_top, size_wh, resolution_wh)
        if size_wh == (0, 0):
            return cls.empty()
        is_inside = np.arange(len(runs)) % 2 == 1
        return cls(np.repeat(is_inside, runs).reshape(size_wh[::-1]), *left_top)

    @property
    def run_lengths(self) -> np.ndarray:
        """(R,) uint32, run-length encoding of `inside` in row-major order; (0,) if it is empty.

        The runs alternate between outside and inside, starting with a run outside, which may
        have length 0.
        """
        if self.is_empty:
            return np.zeros(0, np.uint32)
        pixels = self.inside.ravel()
        changes = np.flatnonzero(np.diff(pixels, prepend=False))
        return np.diff(changes, prepend=0, append=pixels.size).astype(np.uint32)

    @property
    def is_empty(self) -> bool:
        """Whether no pixel is inside."""
        return not self.inside.any()

    @property
    def region(self) -> tuple[slice, slice]:
        """Rows and columns of `inside` in the image."""
        height, width = self.inside.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def whole(self, resolution_wh: tuple[int, int]) -> np.ndarray:
        """(H, W) bool mask of the whole image, from its width and height."""
        whole = np.zeros(resolution_wh[::-1], bool)
        whole[self.region] = self.inside
        return whole


def check_run_lengths(
    run_lengths: ArrayLike,
    left_top: tuple[int, int],
    size_wh: tuple[int, int],
    resolution_wh: tuple[int, int],
) -> None:
    """Check a run-length encoded mask without decoding it.

    Args:
        run_lengths: (R,) integers, see `Mask.run_lengths`.
        left_top: Column and row of the rectangle's first pixel in the image.
        size_wh: Width and height of the rectangle in pixels; (0, 0) for an empty mask.
        resolution_wh: Width and height of the image in pixels.

    Raises:
        ValueError: If the rectangle is not inside the image, or the runs do not fill it.
    """
    runs = np.asarray(run_lengths)
    if runs.size == 0 and size_wh == (0, 0):
        return
    (left, top), (width, height) = left_top, size_wh
    name = f"mask of {width} x {height} pixels at {left}, {top}"
    exceeds_image = left + width > resolution_wh[0] or top + height > resolution_wh[1]
    if min(left, top) < 0 or min(width, height) < 1 or exceeds_image:
        raise ValueError(
            f"{name} is not inside the image of {resolution_wh[0]} x {resolution_wh[1]} pixels"
        )
    if runs.ndim != 1 or (runs.size and (runs.dtype.kind not in "iu" or runs.min() < 0)):
        raise ValueError(
            f"the run lengths of the {name} have shape {runs.shape} and type {runs.dtype}; "
            "expected (R,) integers, none negative"
        )
    # Python integers do not overflow.
    if (total := sum(runs.tolist())) != width * height:
        raise ValueError(
            f"the run lengths of the {name} add up to {total}, expected {width * height}"
        )
