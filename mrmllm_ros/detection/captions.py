# SPDX-License-Identifier: Apache-2.0
"""Captions and colors of drawn objects."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Iterable

import numpy as np

from mrmllm_ros.detection.detections import LOOKS_LIKE, Attribute

# Vivid and pale hues, all light enough for RViz's dark background.
_HUES = 12
_RINGS = ((0.0, 0.55, 0.9), (0.5, 0.78, 0.85))  # hue offset in steps, lightness, saturation
_PALETTE = tuple(
    colorsys.hls_to_rgb((step + offset) / _HUES, lightness, saturation)
    for offset, lightness, saturation in _RINGS
    for step in range(_HUES)
)
# Chosen so that the labels of the default vocabulary have different colors.
_SALT = b"534"

_DASHES_PER_EDGE = 5


def label_color(label: str) -> tuple[float, float, float]:
    """Color of a label, the same in every image and every run.

    The label is hashed to one of 24 colors, so two labels may share a color.

    Returns:
        Red, green, blue from 0 to 1.
    """
    digest = hashlib.blake2b(label.encode(), digest_size=4, salt=_SALT).digest()
    return _PALETTE[int.from_bytes(digest, "big") % len(_PALETTE)]


def caption(
    number: int,
    label: str,
    score: float,
    track_id: str = "",
    novelty: float | None = None,
    correction: str = "",
) -> str:
    """Caption of an object.

    Examples: `[1] person 0.87 #12`, `[2] box 0.41 novel 0.83`, and for a corrected label
    `[3] apple 0.75, not vase: looks like Granny Smith 0.80`.

    Args:
        number: Id of the object, which answers cite.
        label: Label.
        score: Confidence, 0 to 1.
        track_id: Track id; empty if the object is not tracked.
        novelty: Novelty of a novel object, 0 to 1; None for a familiar object.
        correction: Text of `correction`.
    """
    track = f" #{track_id}" if track_id else ""
    novel = "" if novelty is None else f" novel {novelty:.2f}"
    corrected = f", {correction}" if correction else ""
    return f"[{number}] {label} {score:.2f}{track}{novel}{corrected}"


def correction(label: str, detector_label: str, attributes: Iterable[Attribute]) -> str:
    """Explain a label that differs from the detector's.

    Args:
        label: Label after fusion.
        detector_label: Label from the detector.
        attributes: Attributes of the object; `LOOKS_LIKE` is the reason.

    Returns:
        A text such as `not vase: looks like Granny Smith 0.80`; empty for the detector's label.
    """
    if label == detector_label:
        return ""
    reasons = [f": looks like {a.value} {a.score:.2f}" for a in attributes if a.name == LOOKS_LIKE]
    return f"not {detector_label}{''.join(reasons)}"


def dashes(edges: np.ndarray) -> np.ndarray:
    """Divide edges into dashes, for the outline of a novel object.

    Args:
        edges: (E, 2, D) start and end points.

    Returns:
        (5 E, 2, D) start and end points, with gaps as long as the dashes; corners are kept.
    """
    ends = np.arange(2 * _DASHES_PER_EDGE).reshape(-1, 2, 1) / (2 * _DASHES_PER_EDGE - 1)
    start, direction = edges[:, None, :1], np.diff(edges, axis=1)[:, None]  # (E, 1, 1, D)
    return (start + ends * direction).reshape(-1, 2, edges.shape[2])
