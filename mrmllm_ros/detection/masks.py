# SPDX-License-Identifier: Apache-2.0
"""The silhouette of one object."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class Mask:
    """Which pixels of an image are an object, kept only as far as the object reaches.

    In the size of the image, the masks of 50 candidates of 1280 x 720 pixels would take 46 MB for
    every frame.

    Attributes:
        inside: (h, w) bool, a part of the image; (0, 0) where nothing is inside.
        left: Column of the part's first pixel in the image.
        top: Row of the part's first pixel in the image.

    Raises:
        ValueError: If `inside` is not a table of booleans, or begins outside of the image.
    """

    inside: np.ndarray
    left: int = 0
    top: int = 0

    def __post_init__(self) -> None:
        if self.inside.ndim != 2 or self.inside.dtype != bool:
            raise ValueError(
                f"a mask of shape {self.inside.shape} and type {self.inside.dtype}, expected "
                "(h, w) bool"
            )
        if min(self.left, self.top) < 0:
            raise ValueError(f"a mask begins outside of the image, at {self.left}, {self.top}")

    @classmethod
    def empty(cls) -> Mask:
        """The mask of an object of which no silhouette is known."""
        return cls(np.zeros((0, 0), bool))

    @classmethod
    def cut(cls, whole: np.ndarray) -> Mask:
        """Keep of a mask in the size of the image what is needed.

        Args:
            whole: (H, W) bool.
        """
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
            run_lengths: (R,) integers as `run_lengths` gives them; none for an empty mask.
            left_top: Column and row of the rectangle's first pixel in the image.
            size_wh: Width and height of the rectangle in pixels; (0, 0) for an empty mask.
            resolution_wh: Width and height of the image in pixels.

        Raises:
            ValueError: If the rectangle is not inside the image, or the runs do not fill it.
        """
        runs = np.asarray(run_lengths)
        if runs.size == 0 and size_wh == (0, 0):
            return cls.empty()
        (left, top), (width, height) = left_top, size_wh
        name = f"mask of {width} x {height} pixels at {left}, {top}"
        reaches_out = left + width > resolution_wh[0] or top + height > resolution_wh[1]
        if min(left, top) < 0 or min(width, height) < 1 or reaches_out:
            raise ValueError(
                f"{name} is not inside the image of {resolution_wh[0]} x {resolution_wh[1]} pixels"
            )
        if runs.ndim != 1 or (runs.size and (runs.dtype.kind not in "iu" or runs.min() < 0)):
            raise ValueError(
                f"the run lengths of the {name} have shape {runs.shape} and type {runs.dtype}; "
                "expected (R,) integers, none negative"
            )
        # As integers of Python, which do not overflow.
        if (total := sum(runs.tolist())) != width * height:
            raise ValueError(
                f"the run lengths of the {name} add up to {total}, expected {width * height}"
            )
        is_inside = np.arange(len(runs)) % 2 == 1
        return cls(np.repeat(is_inside, runs).reshape(height, width), left, top)

    @property
    def run_lengths(self) -> np.ndarray:
        """(R,) uint32, run-length encoding of `inside`, row by row; (0,) where it is empty.

        The first run counts pixels that are not inside, and is 0 where the first pixel is inside;
        the runs alternate.
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
        """Rows and columns of the image that `inside` is about."""
        height, width = self.inside.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def whole(self, resolution_wh: tuple[int, int]) -> np.ndarray:
        """(H, W) bool, the mask in the size of the image.

        Args:
            resolution_wh: Width and height of the image.
        """
        whole = np.zeros(resolution_wh[::-1], bool)
        whole[self.region] = self.inside
        return whole
