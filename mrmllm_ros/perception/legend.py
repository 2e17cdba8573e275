# SPDX-License-Identifier: Apache-2.0
"""What an object is called and which colour it has, wherever it is drawn."""

from __future__ import annotations

import colorsys
import hashlib

# Two rings of hues, a vivid and a pale one, all light enough for RViz's dark background.
_HUES = 12
_RINGS = ((0.0, 0.55, 0.9), (0.5, 0.78, 0.85))  # steps of hue, lightness, saturation
_PALETTE = tuple(
    colorsys.hls_to_rgb((step + offset) / _HUES, lightness, saturation)
    for offset, lightness, saturation in _RINGS
    for step in range(_HUES)
)
# Chosen so that the labels of the default vocabulary have colours of their own.
_SALT = b"534"


def label_colour(label: str) -> tuple[float, float, float]:
    """The colour of every object of a label, in every image and every run.

    There are 24; which one is a matter of chance, so two labels may share one.

    Returns:
        Red, green, blue from 0 to 1.
    """
    digest = hashlib.blake2b(label.encode(), digest_size=4, salt=_SALT).digest()
    return _PALETTE[int.from_bytes(digest, "big") % len(_PALETTE)]


def caption(number: int, label: str, score: float, track_id: str = "") -> str:
    """Name an object: `[1] person 0.87 #12`.

    Args:
        number: What answers cite.
        label: What it is.
        score: Confidence, 0 to 1.
        track_id: Its identity across images; empty where nothing tracks.
    """
    track = f" #{track_id}" if track_id else ""
    return f"[{number}] {label} {score:.2f}{track}"
