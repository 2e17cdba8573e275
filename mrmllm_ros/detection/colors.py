# SPDX-License-Identifier: Apache-2.0
"""The color of each object, measured on the pixels of its box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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

# Shares of the box that most likely show the object and not what is around it.
_INNER = (0.2, 0.2, 0.8, 0.8)
# Of a person the clothes of the upper body: below the face, above the legs.
_UPPER_BODY = (0.2, 0.2, 0.8, 0.55)

_GRID = 24  # samples along each side of a box
_LEAST_SIDE = 6  # pixels
_CLEAR_SHARE = 0.45

_BLACK_BELOW = 50  # brightness of 0 to 255
_WHITE_FROM = 175
_GRAYISH = 32  # chroma of 0 to 255: brightest minus darkest channel
_PALE = 50  # saturation of 0 to 255

# Where each hue begins, in OpenCV's half degrees, going up to the next one.
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
_BROWN_BELOW = 165  # brightness under which orange is seen as brown
_DULL_BELOW = 130  # saturation under which a dark red is seen as brown and a bright one as pink


def measure_colors(
    image_bgr: np.ndarray, detections: Detections, values: Sequence[str] = COLORS
) -> tuple[str, ...]:
    """Name the color that most of an object's inner part has.

    Args:
        image_bgr: (H, W, 3) uint8, the image that the boxes are in.
        detections: N objects in that image.
        values: The names to choose from; pixels of other colors count for none.

    Returns:
        N names of `values`; empty where no color has a clear majority, or the box is too small or
        outside of the image.
    """
    return tuple(name for name, _ in _measure(image_bgr, detections, values))


def color_attributes(
    image_bgr: np.ndarray, detections: Detections
) -> tuple[tuple[Attribute, ...], ...]:
    """The color of each object as an attribute.

    Args:
        image_bgr: (H, W, 3) uint8, the image that the boxes are in.
        detections: N objects in that image.

    Returns:
        Of each object its `color`, with the share of the object's inner part that has it as the
        score; nothing where `measure_colors` names none.
    """
    return tuple(
        (Attribute("color", name, share),) if name else ()
        for name, share in _measure(image_bgr, detections, COLORS)
    )


def color_names(image_bgr: np.ndarray, detections: Detections) -> tuple[Mapping[str, str], ...]:
    """The color of each object by the name `color`; empty where `measure_colors` names none."""
    return attribute_values(color_attributes(image_bgr, detections))


def with_colors(enriched: EnrichedDetections, image_bgr: np.ndarray) -> EnrichedDetections:
    """The same with the colors of the objects, where none is said.

    Args:
        enriched: Objects in the image.
        image_bgr: (H, W, 3) uint8.
    """
    return enriched.with_attributes(color_attributes(image_bgr, enriched.detector))


def _measure(
    image_bgr: np.ndarray, detections: Detections, values: Sequence[str]
) -> list[tuple[str, float]]:
    """Of each object the name of its color, or none, and the share that the commonest has."""
    if not len(detections):
        return []
    regions = clip_boxes(_inner_regions(detections), image_bgr.shape[1::-1])  # (N, 4)
    known = np.array(COLORS)
    counts = _count_colors(_sample(image_bgr, regions))  # (N, 11)
    counts[:, ~np.isin(known, list(values))] = 0
    shares = counts.max(axis=1) / _GRID**2
    large = (detections.xyxy[:, 2:] - detections.xyxy[:, :2]).min(axis=1) >= _LEAST_SIDE
    inside = (regions[:, 2:] - regions[:, :2]).min(axis=1) >= 1
    named = (shares >= _CLEAR_SHARE) & large & inside
    best = np.where(named, known[counts.argmax(axis=1)], "")
    return list(zip(best.tolist(), shares.tolist(), strict=True))


def _inner_regions(detections: Detections) -> np.ndarray:
    """(N, 4) float32, left, top, right, bottom in pixels of what is looked at of each box."""
    shares = np.array(
        [_UPPER_BODY if label == "person" else _INNER for label in detections.labels], np.float32
    )
    origin = np.tile(detections.xyxy[:, :2], 2)
    size = np.tile(detections.xyxy[:, 2:] - detections.xyxy[:, :2], 2)
    return origin + shares * size


def _sample(image: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """(N, 24, 24, 3) uint8, pixels evenly spread over each region; small ones repeat some."""
    steps = (np.arange(_GRID) + 0.5) / _GRID
    start, size = regions[:, :2, None], (regions[:, 2:] - regions[:, :2])[..., None]
    points = (start + size * steps).astype(int)  # (N, 2, 24) x and y
    columns = points[:, 0].clip(0, image.shape[1] - 1)
    rows = points[:, 1].clip(0, image.shape[0] - 1)
    return image[rows[:, :, None], columns[:, None, :]]


def _count_colors(pixels: np.ndarray) -> np.ndarray:
    """(N, 11), how many of each object's (N, 24, 24, 3) BGR pixels have each of `COLORS`."""
    count = len(pixels)
    classes = _classify(pixels.reshape(count, -1, 3))
    offsets = np.arange(count)[:, None] * len(COLORS)
    flat = np.bincount((classes + offsets).ravel(), minlength=count * len(COLORS))
    return flat.reshape(count, len(COLORS))


def _classify(pixels: np.ndarray) -> np.ndarray:
    """Position in `COLORS` of each of (N, P, 3) uint8 BGR pixels, (N, P)."""
    hsv = cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV)
    hue, saturation, brightness = (hsv[..., channel] for channel in range(3))
    named = _HUE_CLASSES[hue]
    reddish = (named == _index("red")) | (named == _index("pink"))
    dull = saturation < _DULL_BELOW
    dark = brightness < _BROWN_BELOW
    named[(named == _index("orange")) & dark] = _index("brown")
    named[(hue < _HUES[1][0]) & dull & dark] = _index("brown")
    named[reddish & dull & ~dark] = _index("pink")
    # A full magenta to rose is pink when bright and purple when dark.
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
    """(180,), the position in `COLORS` of each of OpenCV's hues at full strength."""
    starts = [start for start, _ in _HUES]
    names = np.array([_index(name) for _, name in _HUES])
    return names[np.searchsorted(starts, np.arange(180), side="right") - 1]


_HUE_CLASSES = _hue_classes()
