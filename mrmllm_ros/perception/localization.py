# SPDX-License-Identifier: Apache-2.0
"""Objects lifted from boxes in an image to boxes in space.

What a depth sensor sees of an object is the side that faces it. The box in space bounds that side:
its centre and its size are those of the visible surface, and nothing is made up about the back. So
of a screen seen from the front the extent along the optical axis is next to nothing, and of a ball
it is about the radius. It is never zero: at least a centimetre, and at least a twentieth of the
smaller one of width and height. Noise of the sensor adds to it.

A box in an image also holds what is behind, below and in front of its object. A mask says what is
the object and what is not; without one the object is found in three steps of our own design:

1. What is as deep as what is left or right of the box in the same rows is most likely floor, table
   or wall, which go on behind the object.
2. The other depths fall into clusters with gaps between them. The object is the one that most
   fills the middle of the box.
3. The object ends where something behind it, or the ground it stands on, comes into sight. Where
   something nearer hides it, or the sensor has a hole there, it reaches to the side of the box.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrmllm_ros.perception.depth import Depths, DepthSamples, pinhole

LEAST_SIZE_M = 0.01
_LEAST_THICKNESS = 0.05  # of the smaller one of width and height
_LEAST_COVERAGE = 0.02  # share of an object's pixels that must have a depth

_SURROUNDINGS = 0.15  # of the box's width, on each side of it
_LEAST_SURROUNDINGS = 4  # samples across
_ROWS = 24  # parts of the box's height in which the surroundings are measured
_LIKE_SURROUNDINGS = (0.03, 0.1)  # relative difference of depths, without and with noise
_LEAST_APART = 0.2  # share of the weight that must not look like the surroundings

_CLUSTER_STEP = 0.04  # relative difference of depths; an empty step ends a cluster
_STRAY = 0.003  # share of the samples that does not yet fill a step
_TAILS = (0.1, 99.9)  # percentiles that count as the ends

_PARTS = 32  # most parts of the box, across or down
_LEAST_FILLED = 0.06  # of what half of the parts hold more than
_NEXT_TO_SIDE = 0.1  # of the box's width or height
_JUMP = 0.1  # relative difference of depths from which on something stands before the object


@dataclass(frozen=True, eq=False)
class Location:
    """The visible side of an object in the colour camera's optical frame (REP 103, REP 104).

    Attributes:
        center: (3,) float64, metres: x to the right, y down, z forward.
        size: (3,) float64, metres along the same axes; never zero.
        points: (N, 3) float32, measured points of its surface, in metres.
    """

    center: np.ndarray
    size: np.ndarray
    points: np.ndarray


def localize(
    depths: Depths,
    camera_matrix: np.ndarray,
    xyxy: np.ndarray,
    mask: np.ndarray | None = None,
    min_points: int = 10,
) -> Location | None:
    """Find an object in space.

    Args:
        depths: What the depth sensor has measured.
        camera_matrix: (3, 3), the colour camera's matrix.
        xyxy: (4,), left, top, right, bottom of the object in the colour image, in pixels.
        mask: (H, W) bool, its silhouette in the colour image, where there is one.
        min_points: Fewest measurements of the object.

    Returns:
        Where it is, or None where too little depth is known: fewer than `min_points`
        measurements, or in a depth image less than a fiftieth of the object's pixels.

    Example:
        >>> wall = np.full((480, 640), 2.0, np.float32)
        >>> matrix = np.array([[500.0, 0.0, 319.5], [0.0, 500.0, 239.5], [0.0, 0.0, 1.0]])
        >>> box = np.array([270, 190, 370, 290])
        >>> localize(DepthImage(wall, matrix, matrix), matrix, box).size.round(2)
        array([0.4 , 0.4 , 0.02])
    """
    box = np.asarray(xyxy, float) if mask is None else _bounds(mask)
    if (box[2:] <= box[:2]).any():
        return None
    samples = depths.within(box)
    if mask is None:
        weights = _weights(depths, samples, box)
        area = np.prod(box[2:] - box[:2])
    else:
        samples = samples.take(_is_inside(mask, samples.pixels))
        weights = np.ones(len(samples))
        area = np.count_nonzero(mask)
    pixel = np.prod(samples.pitch)
    least = max(min_points, _LEAST_COVERAGE * area / pixel if pixel else 1)
    if len(samples) < least:
        return None
    near, far = _cluster(samples.depths, weights)
    own = (samples.depths >= near) & (samples.depths <= far)
    if np.count_nonzero(own) < least:
        return None
    region = _Region(samples, samples.points(camera_matrix), box, camera_matrix)
    return _bound(region, own, own & (weights > 0))


def _bounds(mask: np.ndarray) -> np.ndarray:
    """(4,) float64, left, top, right, bottom of what is true; zeros if nothing is."""
    if not mask.any():
        return np.zeros(4)
    columns, rows = (np.flatnonzero(mask.any(axis)) for axis in (0, 1))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


def _is_inside(mask: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(N,) bool, what the mask says of each of (N, 2) pixels."""
    columns, rows = pixels.astype(int).clip(0, np.array(mask.shape[::-1]) - 1).T
    return mask[rows, columns]


def _weights(depths: Depths, samples: DepthSamples, box: np.ndarray) -> np.ndarray:
    """(N,), how much each sample counts: most in the middle, nothing if like the surroundings."""
    half = (box[2:] - box[:2]) / 2
    offsets = (samples.pixels - (box[:2] + half)) / half
    # Never zero within the box.
    central = (1.01 - offsets**2).clip(0.001).prod(1)
    apart = central * ~_is_like_surroundings(depths, samples, box)
    # An object may be as deep as its neighbours on both sides, or hang on a wall.
    return apart if apart.sum() >= _LEAST_APART * central.sum() else central


def _is_like_surroundings(depths: Depths, samples: DepthSamples, box: np.ndarray) -> np.ndarray:
    """(N,) bool, whether samples are as deep as what is beside the box in the same row."""
    left, top, right, bottom = box
    margin = max(_SURROUNDINGS * (right - left), _LEAST_SURROUNDINGS * samples.pitch[0])
    alike = np.zeros(len(samples), bool)
    for strip in ((left - margin, top, left, bottom), (right, top, right + margin, bottom)):
        beside = depths.within(np.array(strip))
        if len(beside):
            rows = np.concatenate([samples.pixels[:, 1], beside.pixels[:, 1]])
            measured = np.concatenate([samples.depths, beside.depths])
            differences = np.abs(measured / _depths_of_rows(beside, rows) - 1)
            # Three standard deviations of the surroundings' noise, were it normally distributed.
            noise = 3 * 1.48 * np.median(differences[len(samples) :])
            alike |= differences[: len(samples)] <= np.clip(noise, *_LIKE_SURROUNDINGS)
    return alike


def _depths_of_rows(measured: DepthSamples, rows: np.ndarray) -> np.ndarray:
    """(N,), the usual depth of what was measured at each of N heights in the image."""
    known = measured.pixels[:, 1]
    parts = np.digitize(known, np.linspace(known.min(), known.max(), _ROWS))
    # Planes are linear in the image if one over depth is taken.
    inverses = _medians(1 / measured.depths, parts)
    return 1 / np.interp(rows, _medians(known, parts), inverses)


def _medians(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The median of each group of values (of two in the middle the upper), groups ascending."""
    order = np.lexsort((values, groups))
    _, starts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    return values[order][starts + counts // 2]


def _cluster(depths: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Least and greatest depth of the cluster that has the most weight."""
    steps = np.floor(np.log(depths) / _CLUSTER_STEP).astype(int)
    steps -= steps.min()
    counted = weights > 0
    counts = np.bincount(steps[counted], minlength=steps.max() + 1)
    filled = counts > min(_STRAY * np.count_nonzero(counted), counts.max() - 1)
    # Each run of filled steps and each run of empty ones has a number of its own.
    runs = np.cumsum(np.diff(filled, prepend=False))[steps]
    heaviest = np.bincount(runs, weights * filled[steps]).argmax()
    members = depths[counted & (runs == heaviest)]
    return members.min(), members.max()


@dataclass(frozen=True, eq=False)
class _Region:
    """N samples in the box of an object, and the (N, 3) points that they are."""

    samples: DepthSamples
    points: np.ndarray
    box: np.ndarray
    camera_matrix: np.ndarray


def _bound(region: _Region, own: np.ndarray, apart: np.ndarray) -> Location:
    """Bound an object.

    Args:
        region: N samples.
        own: (N,) bool, those that are as deep as the object.
        apart: (N,) bool, those of them that are not like the surroundings.
    """
    extents = np.percentile(region.points[own], _TAILS, axis=0)  # (2, 3)
    # The ground goes on to the sides of an object, but not below it.
    for axis, members in enumerate((apart, own)):
        extents[:, axis] = _extent(region, members, axis)
    low, high = extents
    size = (high - low).clip(LEAST_SIZE_M)
    size[2] = max(size[2], _LEAST_THICKNESS * size[:2].min())
    return Location((low + high) / 2, size, region.points[own])


def _extent(region: _Region, own: np.ndarray, axis: int) -> np.ndarray:
    """(2,), least and greatest coordinate of an object along x or y, in metres."""
    depths, pitch = region.samples.depths, region.samples.pitch[axis]
    places = region.samples.pixels[:, axis]
    start, end = region.box[axis], region.box[axis + 2]
    focal, center = (values[axis] for values in pinhole(region.camera_matrix))
    # Narrower parts than samples would be empty by themselves.
    count = int(min(_PARTS, np.ceil((end - start) / pitch))) if pitch else _PARTS
    parts = ((places - start) / (end - start) * count).astype(int).clip(0, count - 1)
    held = np.bincount(parts[own], minlength=count)
    filled = held >= _LEAST_FILLED * np.median(held[held > 0])
    members = own & filled[parts]
    extent = np.percentile(region.points[members, axis], _TAILS)
    extent += np.array([-0.5, 0.5]) * pitch / focal * np.median(depths[members])
    first, *_, last = np.flatnonzero(filled).repeat(2)
    beyond = (np.arange(first)[::-1], np.arange(last + 1, count))
    for index, side in enumerate((start, end)):
        distances = np.abs(places[members] - side)
        next_to_side = distances <= distances.min() + _NEXT_TO_SIDE * (end - start)
        depth = np.median(depths[members][next_to_side])
        if len(beyond[index]) and _is_hidden(depths, parts, beyond[index], depth):
            extent[index] = (side - center) / focal * depth
    return extent


def _is_hidden(depths: np.ndarray, parts: np.ndarray, beyond: np.ndarray, depth: float) -> bool:
    """Whether an object of that depth may go on in the parts beyond its last one, in order."""
    for part in beyond:
        there = depths[parts == part]
        if len(there):
            return bool(np.median(there) < depth * (1 - _JUMP))
    return True
