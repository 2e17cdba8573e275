# SPDX-License-Identifier: Apache-2.0
"""Captions and colors of drawn objects."""

from __future__ import annotations

import colorsys
import hashlib

import numpy as np

# Two rings of hues, a vivid and a pale one, all light enough for RViz's dark background.
_HUES = 12
_RINGS = ((0.0, 0.55, 0.9), (0.5, 0.78, 0.85))  # steps of hue, lightness, saturation
_PALETTE = tuple(
    colorsys.hls_to_rgb((step + offset) / _HUES, lightness, saturation)
    for offset, lightness, saturation in _RINGS
    for step in range(_HUES)
)
# Chosen so that the labels of the default vocabulary have colors of their own.
_SALT = b"534"

_DASHES = 5  # on each edge


def label_color(label: str) -> tuple[float, float, float]:
    """The color of every object of a label, in every image and every run.

    There are 24; which one is a matter of chance, so two labels may share one.

    Returns:
        Red, green, blue from 0 to 1.
    """
    digest = hashlib.blake2b(label.encode(), digest_size=4, salt=_SALT).digest()
    return _PALETTE[int.from_bytes(digest, "big") % len(_PALETTE)]


def caption(
    number: int, label: str, score: float, track_id: str = "", novelty: float | None = None
) -> str:
    """Name an object: `[1] person 0.87 #12`, or `[2] box 0.41 novel 0.83`.

    Args:
        number: What answers cite.
        label: What it is.
        score: Confidence, 0 to 1.
        track_id: Its identity across images; empty where nothing tracks.
        novelty: 0 to 1, of an object that is novel; None of a familiar one.
    """
    track = f" #{track_id}" if track_id else ""
    novel = "" if novelty is None else f" novel {novelty:.2f}"
    return f"[{number}] {label} {score:.2f}{track}{novel}"


def dashes(edges: np.ndarray) -> np.ndarray:
    """Cut edges into dashes, as what is novel is outlined.

    Args:
        edges: (E, 2, D) from a point to another.

    Returns:
        (5 E, 2, D), with gaps between them as long as they are; corners are kept.
    """
    ends = np.arange(2 * _DASHES).reshape(-1, 2, 1) / (2 * _DASHES - 1)  # (5, 2, 1) shares
    start, way = edges[:, None, :1], np.diff(edges, axis=1)[:, None]  # (E, 1, 1, D)
    return (start + ends * way).reshape(-1, 2, edges.shape[2])
