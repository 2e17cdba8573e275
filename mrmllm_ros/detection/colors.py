# SPDX-License-Identifier: Apache-2.0
"""Colors of objects, measured from the pixels of their boxes."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from mrmllm_ros.detection.boxes import clip_boxes
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.enriched_detections import (
    Attribute,
    EnrichedDetections,
    attribute_values,
)

# The color terms that most languages have words for (Berlin and Kay, 1969).
COLORS = (
    "black",
    "white",
    "gray",
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
)

# Left, top, right, bottom as shares of the box: without the background at its edges.
_INNER = (0.2, 0.2, 0.8, 0.8)
# The clothes of a person: below the face, above the legs.
_UPPER_BODY = (0.2, 0.2, 0.8, 0.55)

_GRID = 24  # samples along each side of a box
_MIN_SIDE = 6  # pixels
_MIN_SHARE = 0.45  # of the samples

_BLACK_BELOW = 50  # brightness of 0 to 255
_WHITE_FROM = 175
_GRAYISH = 32  # chroma of 0 to 255: brightest minus darkest channel
_PALE = 50  # saturation of 0 to 255

# First hue of each range, in OpenCV's half degrees.
_HUES = (
    (0, "red"),
    (7, "orange"),
    (20, "yellow"),
    (35, "green"),
    (85, "blue"),
    (129, "purple"),
    (150, "pink"),
    (170, "red"),
)
_BROWN_BELOW = 165  # brightness below which orange is perceived as brown
_DULL_BELOW = 130  # saturation below which dark red is perceived as brown, bright red as pink


def measure_colors(image_bgr: np.ndarray, detections: Detections) -> tuple[str, ...]:
    """Most frequent color in the inner part of each object.

    Args:
        image_bgr: (H, W, 3) uint8.
        detections: N objects in the image.

    Returns:
        N names from `COLORS`; empty if no color is frequent enough, or the box is too small or
        outside the image.
    """
    return tuple(name for name, _ in _measure(image_bgr, detections))


def color_attributes(
    image_bgr: np.ndarray, detections: Detections
) -> tuple[tuple[Attribute, ...], ...]:
    """Color of each object as an attribute.

    Args:
        image_bgr: (H, W, 3) uint8.
        detections: N objects in the image.

    Returns:
        N tuples with the attribute `color`, scored with the share of the color's pixels; empty
        if `measure_colors` finds no color.
    """
    return tuple(
        (Attribute("color", name, share),) if name else ()
        for name, share in _measure(image_bgr, detections)
    )


def color_names(image_bgr: np.ndarray, detections: Detections) -> tuple[Mapping[str, str], ...]:
    """Color of each object under the key `color`; empty if `measure_colors` finds no color."""
    return attribute_values(color_attributes(image_bgr, detections))


def with_colors(enriched: EnrichedDetections, image_bgr: np.ndarray) -> EnrichedDetections:
    """Add measured colors to objects without a color.

    Args:
        enriched: Objects in the image.
        image_bgr: (H, W, 3) uint8.
    """
    return enriched.with_attributes(color_attributes(image_bgr, enriched.detector))


def dominant_color(pixels_bgr: np.ndarray) -> str:
    """Most frequent color of an object's pixels.

    Args:
        pixels_bgr: (P, 3) uint8.

    Returns:
        A name from `COLORS`; empty if there are no pixels, or no color is frequent enough.
    """
    if not len(pixels_bgr):
        return ""
    counts = np.bincount(_classify(pixels_bgr[None])[0], minlength=len(COLORS))
    share = counts.max() / len(pixels_bgr)
    return COLORS[int(counts.argmax())] if share >= _MIN_SHARE else ""


def _measure(image_bgr: np.ndarray, detections: Detections) -> list[tuple[str, float]]:
    """Color of each object, empty if unclear, and the share of its most frequent color."""
    if not len(detections):
        return []
    regions = clip_boxes(_inner_regions(detections), image_bgr.shape[1::-1])  # (N, 4)
    counts = _count_colors(_sample(image_bgr, regions))  # (N, 11)
    shares = counts.max(axis=1) / _GRID**2
    large = detections.xywh[:, 2:].min(axis=1) >= _MIN_SIDE
    inside = (regions[:, 2:] - regions[:, :2]).min(axis=1) >= 1
    clear = (shares >= _MIN_SHARE) & large & inside
    names = np.where(clear, np.array(COLORS)[counts.argmax(axis=1)], "")
    return list(zip(names.tolist(), shares.tolist(), strict=True))


def _inner_regions(detections: Detections) -> np.ndarray:
    """(N, 4) float32, the part of each box that is sampled, in pixels."""
    shares = np.array(
        [_UPPER_BODY if label == "person" else _INNER for label in detections.labels], np.float32
    )
    return np.tile(detections.xyxy[:, :2], 2) + shares * np.tile(detections.xywh[:, 2:], 2)


def _sample(image: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """(N, 24, 24, 3) uint8, a regular grid of pixels from each region."""
    steps = (np.arange(_GRID) + 0.5) / _GRID
    start, size = regions[:, :2, None], (regions[:, 2:] - regions[:, :2])[..., None]
    points = (start + size * steps).astype(int)  # (N, 2, 24) x and y
    columns = points[:, 0].clip(0, image.shape[1] - 1)
    rows = points[:, 1].clip(0, image.shape[0] - 1)
    return image[rows[:, :, None], columns[:, None, :]]


def _count_colors(pixels: np.ndarray) -> np.ndarray:
    """(N, 11) number of pixels of each of `COLORS`, from (N, 24, 24, 3) BGR pixels."""
    count = len(pixels)
    classes = _classify(pixels.reshape(count, -1, 3))
    offsets = np.arange(count)[:, None] * len(COLORS)
    flat = np.bincount((classes + offsets).ravel(), minlength=count * len(COLORS))
    return flat.reshape(count, len(COLORS))


def _classify(pixels: np.ndarray) -> np.ndarray:
    """(N, P) indices into `COLORS` of (N, P, 3) uint8 BGR pixels."""
    hsv = cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV)
    hue, saturation, brightness = (hsv[..., channel] for channel in range(3))
    named = _HUE_CLASSES[hue]
    reddish = (named == _index("red")) | (named == _index("pink"))
    dull = saturation < _DULL_BELOW
    dark = brightness < _BROWN_BELOW
    named[(named == _index("orange")) & dark] = _index("brown")
    named[(hue < _HUES[1][0]) & dull & dark] = _index("brown")
    named[reddish & dull & ~dark] = _index("pink")
    # Saturated magenta to rose is pink if bright and purple if dark.
    named[(named == _index("pink")) & (brightness < 110)] = _index("purple")
    chroma = saturation.astype(np.uint16) * brightness // 255
    grayish = (chroma < _GRAYISH) | (saturation < _PALE)
    named[grayish] = _index("gray")
    named[grayish & (brightness >= _WHITE_FROM)] = _index("white")
    named[brightness < _BLACK_BELOW] = _index("black")
    return named


def _index(name: str) -> int:
    return COLORS.index(name)


def _hue_classes() -> np.ndarray:
    """(180,) index into `COLORS` of each of OpenCV's hues at full saturation."""
    starts = [start for start, _ in _HUES]
    names = np.array([_index(name) for _, name in _HUES])
    return names[np.searchsorted(starts, np.arange(180), side="right") - 1]


_HUE_CLASSES = _hue_classes()
