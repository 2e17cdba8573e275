# SPDX-License-Identifier: Apache-2.0
"""Objects lifted from boxes in an image to boxes in space.

What a depth sensor sees of an object is the side that faces it. The box in space bounds that side:
its center and its size are those of the visible surface, and nothing is made up about the back. So
of a screen seen from the front the extent along the optical axis is next to nothing, and of a ball
it is about the radius. It is never zero: at least a centimeter, and at least a twentieth of the
smaller one of width and height. Noise of the sensor adds to it.

A box in an image also holds what is behind, below and in front of its object, and its sides are
not exact. A mask separates the object from the rest; without a mask the object is found in three
steps:

1. Contrast: a depth that is as frequent beside the box, in the same rows or in the same columns,
   belongs to the floor, a wall or an occluder. A gap is left between the box and what counts as
   beside it, because the object may reach beyond a loose box, and a side at the border of the
   image counts for nothing.
2. The depths with contrast form layers. The object is the layer with the most contrast in the
   middle of the box whose outline also agrees with the box. If two layers fit almost equally
   well, or none does, the pose is unknown. A box that is filled evenly with one depth, such as a
   picture on a wall, needs no contrast.
3. Each side of the object lies between its last sample and the first sample of something behind
   it or of the ground. Where something nearer hides it, or nothing is measured, the side of the
   box decides within these limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mrmllm_ros.detection.boxes import box_areas, clip_boxes, expand_boxes
from mrmllm_ros.localization.depth import Depths, DepthSamples, pinhole

MINIMUM_SIZE_M = 0.01
_LEAST_THICKNESS = 0.05  # of the smaller one of width and height
_LEAST_COVERAGE = 0.02  # share of an object's pixels that must have a depth

# Shares of the box's width and height, on each side of it.
_INACCURACY = 0.12  # how far off a side of the box may be
_SURROUNDINGS = 0.25  # beyond that
_LEAST_SURROUNDINGS = 4  # samples across
_BORDER = 0.02  # of the image: a side nearer to its border is taken to touch it

_STEP = 0.025  # relative difference of depths
_BANDS = 16  # rows or columns of the box in which depths are compared with those beside it
_STRAY = 0.0015  # share of the samples that does not yet fill a step
_DISTINCT = 0.5  # contrast of a sample from which on it does not belong to the surroundings
_LEAST_DISTINCT = 0.2  # share of an object's samples that must be distinct to find its width

_LEAST_SCORE = 0.2  # contrast times agreement with the box
_LEAST_AGREEMENT = 0.6  # intersection over union of outline and box
_LEAST_LEAD = 1.25  # over the score of the second best layer
_SAME_DEPTH = 0.03  # relative difference of depths up to which it does not matter which is chosen

# A box that is evenly filled with one depth.
_FILLED = 0.9  # share of the samples
_FILLED_CELLS = 0.8  # share of the cells, `_CELLS` across and down
_CELLS = 8
_FLAT = 1.3  # greatest depth over least depth

_TAILS = (0.1, 99.9)  # percentiles that count as the ends
_PARTS = 32  # most parts of the box, across or down
_LEAST_FILLED = 0.06  # of the usual count of a part that the object fills
_NEXT_TO_SIDE = 0.1  # of the box's width or height
_JUMP = 0.1  # relative difference of depths from which on something stands before the object


@dataclass(frozen=True, eq=False)
class Location:
    """The visible side of an object in the color camera's optical frame (REP 103, REP 104).

    Attributes:
        center: (3,) float64, meters: x to the right, y down, z forward.
        size: (3,) float64, meters along the same axes; never zero.
        points: (N, 3) float32, measured points of its surface, in meters.
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
    resolution_wh: tuple[int, int] | None = None,
) -> Location | None:
    """Find an object in space.

    Args:
        depths: What the depth sensor has measured.
        camera_matrix: (3, 3), the color camera's matrix.
        xyxy: (4,), left, top, right, bottom of the object in the color image, in pixels.
        mask: (H, W) bool, its silhouette in the color image, where there is one.
        min_points: Fewest measurements of the object.
        resolution_wh: Width and height of the color image in pixels; without it the principal
            point is taken for its middle.

    Returns:
        The object's location, or None if it is not certain: fewer than `min_points` measurements,
        in a depth image less than a fiftieth of the object's pixels, or no depth that stands out
        in the box and agrees with it.

    Example:
        >>> wall = np.full((480, 640), 2.0, np.float32)
        >>> matrix = np.array([[500.0, 0.0, 319.5], [0.0, 500.0, 239.5], [0.0, 0.0, 1.0]])
        >>> box = np.array([270, 190, 370, 290])
        >>> localize(DepthImage(wall, matrix, matrix), matrix, box).size.round(2)
        array([0.4 , 0.4 , 0.02])
    """
    image_wh = np.array(resolution_wh or 2 * pinhole(camera_matrix)[1], float)
    box = np.asarray(xyxy, float) if mask is None else _bounds(mask)
    box = clip_boxes(box, image_wh)
    if (box[2:] <= box[:2]).any():
        return None
    if mask is None:
        samples = depths.within(clip_boxes(expand_boxes(box, _INACCURACY), image_wh))
        inside = ((samples.pixels >= box[:2]) & (samples.pixels < box[2:])).all(1)
        area = box_areas(box)
    else:
        samples = depths.within(box)
        samples = samples.take(_is_inside(mask, samples.pixels))
        inside = np.ones(len(samples), bool)
        area = np.count_nonzero(mask)
    pixel = np.prod(samples.pitch)
    least = max(min_points, _LEAST_COVERAGE * area / pixel if pixel else 1)
    if np.count_nonzero(inside) < least:
        return None
    region = _Region(samples, samples.points(camera_matrix), inside, box, camera_matrix)
    if mask is not None:
        layers = _layers(region, np.ones(len(samples)), np.ones(len(samples)))
        best = max(layers, key=lambda layer: layer.contrast)
        return _bound(region, best, 0)[0] if best.count >= least else None
    weights = _weights(region)
    contrast = _contrast(region, _strips(depths, region, image_wh))
    layers = [layer for layer in _layers(region, weights, contrast) if layer.count >= least]
    return _best(region, layers) or _filling(region, least)


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


@dataclass(frozen=True, eq=False)
class _Region:
    """N samples in and round the box of an object.

    Attributes:
        samples: The samples.
        points: (N, 3), where they are, in meters.
        inside: (N,) bool, those in the box, or in the mask.
        box: (4,), in pixels.
        camera_matrix: (3, 3).
    """

    samples: DepthSamples
    points: np.ndarray
    inside: np.ndarray
    box: np.ndarray
    camera_matrix: np.ndarray


@dataclass(frozen=True, eq=False)
class _Layer:
    """Samples of a range of depths.

    Attributes:
        own: (N,) bool, all samples in the range.
        distinct: (N,) bool, those that differ from the surroundings; `own` if those are few.
        contrast: Their weighted contrast, 0 to 1.
        count: How many of them are in the box.
    """

    own: np.ndarray
    distinct: np.ndarray
    contrast: float
    count: int


def _weights(region: _Region) -> np.ndarray:
    """(N,), how much each sample counts: most in the middle of the box, nothing beyond it."""
    half = (region.box[2:] - region.box[:2]) / 2
    offsets = (region.samples.pixels - (region.box[:2] + half)) / half
    # Never zero within the box.
    return (1.01 - offsets**2).clip(0.001).prod(1) * region.inside


def _strips(depths: Depths, region: _Region, image_wh: np.ndarray) -> list[DepthSamples]:
    """Samples left, above, right and below of a box; empty where those are not in the image."""
    box, pitch = region.box, region.samples.pitch
    extent = np.tile(box[2:] - box[:2], 2)
    outward = np.array([-1, -1, 1, 1])
    inner = box + outward * _INACCURACY * extent
    outer = inner + outward * np.maximum(
        _SURROUNDINGS * extent, _LEAST_SURROUNDINGS * np.tile(pitch, 2)
    )
    # Where the border of the image is near, a strip would hold the object itself.
    borders = np.array([0, 0, *image_wh])
    in_image = outward * (borders - inner) > _BORDER * np.tile(image_wh, 2)
    strips = []
    for side in range(4):
        strip, axis = box.copy(), side % 2
        strip[[axis, axis + 2]] = sorted((inner[side], outer[side])) if in_image[side] else 0
        strips.append(depths.within(clip_boxes(strip, image_wh)))
    return strips


def _contrast(region: _Region, strips: Sequence[DepthSamples]) -> np.ndarray:
    """(N,) 0 to 1, how much more frequent a sample's depth is in the box than beside it.

    Depths left and right are compared in bands of rows, those above and below in bands of columns.
    """
    samples, box = region.samples, region.box
    steps, count = _steps(samples.depths, samples.depths[region.inside])
    alike = np.zeros(len(samples))
    for axis in (0, 1):
        beside = [strip for strip in strips[axis::2] if len(strip)]
        if not beside:
            continue
        across = 1 - axis
        start, length = box[across], box[across + 2] - box[across]

        def bands(
            of: DepthSamples, start: float = start, length: float = length, across: int = across
        ) -> np.ndarray:
            places = (of.pixels[:, across] - start) / length
            return (places * _BANDS).astype(int).clip(0, _BANDS - 1)

        own_bands = bands(samples)
        here = _frequencies(own_bands[region.inside], steps[region.inside], count)
        there = [
            _frequencies(
                bands(strip), _steps(strip.depths, samples.depths[region.inside])[0], count
            )
            for strip in beside
        ]
        # Bands beside each other, for rows of a lidar are not quite those of the image.
        padded = np.pad(np.mean(there, 0), ((1, 1), (0, 0)))
        highest = np.maximum.reduce([padded[:-2], padded[1:-1], padded[2:]])
        ratio = highest / np.maximum(here, 1e-3)
        alike = np.maximum(alike, ratio[own_bands, steps].clip(0, 1))
    return 1 - alike


def _steps(depths: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, int]:
    """Number of the step of each depth, and the count of steps.

    The range is that of the depths inside; the first and the last step hold what is beyond, and
    an empty step keeps each of them apart.
    """
    first, last = (np.floor(np.log(end) / _STEP) for end in (inside.min(), inside.max()))
    count = int(last - first) + 5
    steps = np.floor(np.log(depths) / _STEP) - first + 2
    return steps.clip(0, count - 1).astype(int), count


def _frequencies(bands: np.ndarray, steps: np.ndarray, count: int) -> np.ndarray:
    """(_BANDS, count), share of each step and its two neighbors in each band."""
    table = np.bincount(bands * count + steps, minlength=_BANDS * count).reshape(_BANDS, count)
    padded = np.pad(table, ((0, 0), (1, 1)))
    smooth = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return smooth / np.maximum(table.sum(1, keepdims=True), 1)


def _layers(region: _Region, weights: np.ndarray, contrast: np.ndarray) -> list[_Layer]:
    """Runs of steps that enough distinct samples fill, over gaps of one empty step."""
    depths, inside = region.samples.depths, region.inside
    steps, count = _steps(depths, depths[inside])
    numbers = np.bincount(steps, inside * contrast, count)
    filled = numbers > min(_STRAY * np.count_nonzero(inside), max(numbers.max() - 1, 0))
    filled[1:-1] |= filled[:-2] & filled[2:]
    runs = np.cumsum(np.diff(filled, prepend=False)) * filled
    distinct = contrast >= _DISTINCT
    shares = weights * contrast / weights.sum()
    layers = []
    for run in np.unique(runs[filled]):
        members = depths[inside & distinct & (runs == run)[steps]]
        if not len(members):
            continue
        own = (depths >= members.min()) & (depths <= members.max())
        number = np.count_nonzero(own & inside)
        is_distinct = np.count_nonzero(own & distinct & inside) >= _LEAST_DISTINCT * number
        layers.append(
            _Layer(own, own & distinct if is_distinct else own, shares[own].sum(), number)
        )
    return layers


def _best(region: _Region, layers: Sequence[_Layer]) -> Location | None:
    """Bound the layer that stands out most and agrees with the box; None if that is not clear."""
    found = []
    for layer in layers:
        if layer.contrast >= _LEAST_SCORE / _LEAST_LEAD:
            location, agreement = _bound(region, layer, _INACCURACY)
            found.append((layer.contrast * agreement, agreement, location))
    if not found:
        return None
    score, agreement, best = max(found, key=lambda each: each[0])
    rivals = [
        rival
        for rival, _, location in found
        if abs(location.center[2] / best.center[2] - 1) > _SAME_DEPTH
    ]
    is_clear = score >= _LEAST_LEAD * max(rivals, default=0)
    return best if is_clear and score >= _LEAST_SCORE and agreement >= _LEAST_AGREEMENT else None


def _filling(region: _Region, least: float) -> Location | None:
    """Bound a box that one depth fills evenly, whatever is beside it."""
    ones = np.ones(len(region.samples))
    for layer in _layers(region, _weights(region), ones):
        members = layer.own & region.inside
        depths = region.samples.depths[members]
        places = (region.samples.pixels[members] - region.box[:2]) / (
            region.box[2:] - region.box[:2]
        )
        cells = np.unique((places * _CELLS).astype(int).clip(0, _CELLS - 1) @ (1, _CELLS))
        if (
            layer.count >= least
            and layer.contrast >= _FILLED
            and len(cells) >= _FILLED_CELLS * _CELLS**2
            and depths.max() <= _FLAT * depths.min()
        ):
            return _bound(region, layer, _INACCURACY)[0]
    return None


def _bound(region: _Region, layer: _Layer, inaccuracy: float) -> tuple[Location, float]:
    """Bound a layer.

    Args:
        region: The samples.
        layer: Those of them that are the object.
        inaccuracy: How far a side of the box may be off, as a share of its width and height.

    Returns:
        The location, and the agreement of its outline with the box.
    """
    own = layer.own & region.inside
    extents = np.percentile(region.points[own], _TAILS, axis=0)  # (2, 3)
    agreement = 1.0
    # The ground goes on to the sides of an object, but not below it.
    for axis, members in enumerate((layer.distinct, layer.own)):
        extents[:, axis], overlap = _extent(region, members, axis, inaccuracy)
        agreement *= overlap
    low, high = extents
    size = (high - low).clip(MINIMUM_SIZE_M)
    size[2] = max(size[2], _LEAST_THICKNESS * size[:2].min())
    return Location((low + high) / 2, size, region.points[own]), agreement


def _extent(
    region: _Region, own: np.ndarray, axis: int, inaccuracy: float
) -> tuple[np.ndarray, float]:
    """(2,), least and greatest coordinate of an object along x or y in meters, and its overlap.

    The overlap is the intersection over union with the box along that axis.
    """
    across = region.samples.pixels[:, 1 - axis]
    level = (across >= region.box[1 - axis]) & (across < region.box[3 - axis])
    places, depths = region.samples.pixels[level, axis], region.samples.depths[level]
    points, own = region.points[level, axis], own[level]
    start, end = region.box[axis], region.box[axis + 2]
    pitch, length = region.samples.pitch[axis], end - start
    focal = pinhole(region.camera_matrix)[0][axis]
    # Narrower parts than samples would be empty by themselves.
    in_box = int(min(_PARTS, np.ceil(length / pitch))) if pitch else _PARTS
    width = length / in_box
    extra = int(np.ceil(inaccuracy * in_box))
    count = in_box + 2 * extra
    parts = (np.floor((places - start) / width).astype(int) + extra).clip(0, count - 1)
    if axis == 0:
        # Ground beside the object is as deep as another part of it.
        own = own & (np.abs(depths / _usual(depths, parts, own, count)[parts] - 1) <= _JUMP)
    held = np.bincount(parts[own], minlength=count)
    filled = held > _LEAST_FILLED * np.median(held[held > 0])
    reached = np.flatnonzero(filled[extra : count - extra]) + extra
    if not len(reached):
        reached = np.flatnonzero(filled)
    extent, edges = np.empty(2), np.empty(2)
    for index, (side, sign) in enumerate(((start, -1), (end, 1))):
        outermost, limit = (reached[0], reached[-1])[index], (-1, count)[index]
        last = outermost
        # On beyond the box, as far as the box may be too small.
        while last + sign != limit and filled[last + sign]:
            last += sign
        members = own & filled[parts] & (sign * parts <= sign * last)
        is_endless = last + sign == limit and extra > 0
        if is_endless and (sign * places[members] <= sign * side).any():
            # A neighbor as far away, or the box says nothing: its side is all that is known.
            members &= sign * places <= sign * side
        edge = sign * np.percentile(sign * places[members], _TAILS[1]) + sign * pitch / 2
        next_to_edge = np.abs(places[members] - edge) <= _NEXT_TO_SIDE * length
        depth = np.median(depths[members][next_to_edge] if next_to_edge.any() else depths[members])
        measured = sign * np.percentile(sign * points[members], _TAILS[1])
        measured += sign * pitch / 2 / focal * depth
        beyond = range(last + sign, limit, sign)
        ending = (
            side
            if is_endless
            else _ending(places[~own], depths[~own], parts[~own], beyond, depth, sign)
        )
        ending -= 0 if is_endless else sign * pitch / 2
        edges[index] = np.clip(side, *sorted((edge, ending)))
        extent[index] = measured + (edges[index] - edge) / focal * depth
    overlap = max(0.0, min(end, edges[1]) - max(start, edges[0]))
    return extent, overlap / (max(end, edges[1]) - min(start, edges[0]))


def _usual(depths: np.ndarray, parts: np.ndarray, own: np.ndarray, count: int) -> np.ndarray:
    """(count,), median depth of an object in each part; NaN where it has none."""
    order = np.lexsort((depths[own], parts[own]))
    numbers, starts, counts = np.unique(parts[own][order], return_index=True, return_counts=True)
    medians = np.full(count, np.nan)
    medians[numbers] = depths[own][order][starts + counts // 2]
    return medians


def _ending(
    places: np.ndarray,
    depths: np.ndarray,
    parts: np.ndarray,
    beyond: Sequence[int],
    depth: float,
    sign: int,
) -> float:
    """Where something ends an object of that depth; infinite where all beyond may hide it."""
    for part in beyond:
        there = parts == part
        if there.any() and np.median(depths[there]) >= depth * (1 - _JUMP):
            return sign * (sign * places[there]).min()
    return sign * np.inf
