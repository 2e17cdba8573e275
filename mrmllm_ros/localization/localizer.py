# SPDX-License-Identifier: Apache-2.0
"""Localize objects in 3D from boxes in an image and depth.

A depth sensor measures the visible side of an object, and the 3D box bounds that side only. The
extent along the optical axis is almost zero for a screen seen from the front, and about the
radius for a ball. It is at least one centimeter and at least a twentieth of the smaller of width
and height; sensor noise adds to it.

A mask separates the object from the rest, but its border is not exact. The object is the main
layer of depths in the interior of the mask, and other parts of the mask that do not have the depth
of their surroundings.

A box in an image also contains the background, the ground and occluders, and its sides are not
exact. Without a mask the object is found in three steps:

1. Contrast: a depth that is as frequent beside the box, in the same rows or columns, belongs to
   the ground, a wall or an occluder. A gap between the box and its surroundings allows for
   objects that extend beyond the box. Sides at the border of the image are not compared.
2. Layers: depths with contrast are grouped into layers. The object is the layer with the highest
   contrast in the middle of the box whose outline agrees with the box. The pose is unknown if no
   layer fits, or two fit almost equally well. A box that one depth fills evenly, such as a
   picture on a wall, needs no contrast.
3. Sides: each side of the object is between its last sample and the first sample of the
   background or the ground. Within these limits the side of the box is used if an occluder or
   missing depth leaves the side open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mrmllm_ros.detection.boxes import box_areas, clip_boxes, expand_boxes
from mrmllm_ros.localization.depth import Depths, DepthSamples, pinhole
from mrmllm_ros.localization.masked_samples import mask_bounds, sample_mask

MINIMUM_SIZE_M = 0.01
_MIN_THICKNESS = 0.05  # of the smaller of width and height
_MIN_COVERAGE = 0.02  # share of an object's pixels with a depth

# With a mask.
_MIN_INTERIOR = 0.3  # minimum share of the samples to find the main layer with them
_MIN_PART = 0.1  # minimum share of the samples in another layer of the object

# Shares of the box's width and height, on each side of it.
_BOX_ERROR = 0.12  # maximum error of a side
_SURROUNDINGS = 0.25  # width of the surroundings
_MIN_SURROUNDINGS = 4  # samples across
_BORDER = 0.02  # share of the image: closer sides touch the border

_DEPTH_BIN = 0.025  # relative width of a bin of depths
_BANDS = 16  # rows or columns of the box in which depths are compared with the surroundings
_STRAY = 0.0015  # maximum share of the samples in an empty bin
_DISTINCT = 0.5  # minimum contrast of samples that differ from the surroundings
_MIN_DISTINCT = 0.2  # minimum share of distinct samples to find the width with them

_MIN_SCORE = 0.2  # contrast times agreement with the box
_MIN_AGREEMENT = 0.6  # intersection over union of outline and box
_MIN_RATIO = 1.25  # of the score of the best layer to that of the second best
_SAME_DEPTH = 0.03  # relative difference of equivalent depths

# A box that is evenly filled with one depth.
_FILLED = 0.9  # share of the samples
_FILLED_CELLS = 0.8  # share of the cells
_CELLS = 8  # across and down
_FLAT = 1.3  # maximum ratio of depths

_TAILS = (0.1, 99.9)  # percentiles used as minimum and maximum
_MAX_PARTS = 32  # of the box, across or down
_MIN_FILLED = 0.06  # of the median count of samples in a part
_NEAR_SIDE = 0.1  # of the box's width or height
_JUMP = 0.1  # relative difference of depth to an occluder or the background


@dataclass(frozen=True, eq=False)
class Location:
    """Visible side of an object in the color camera's optical frame (REP 103, REP 104).

    Attributes:
        center: (3,) float64, meters: x to the right, y down, z forward.
        size: (3,) float64, meters along the same axes; never zero.
        points: (N, 3) float32, measured points of the surface in meters.
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
    """Localize an object.

    Args:
        depths: Depth image or point cloud.
        camera_matrix: (3, 3) matrix of the color camera.
        xyxy: (4,) left, top, right, bottom of the object in the color image, in pixels.
        mask: (H, W) bool mask of the object in the color image, if known.
        min_points: Minimum number of measurements of the object.
        resolution_wh: Width and height of the color image in pixels; by default twice the
            principal point.

    Returns:
        Location of the object, or None if it is unknown: fewer than `min_points` measurements,
        depth for less than a fiftieth of the object's pixels, or no layer that fits.

    Example:
        >>> wall = np.full((480, 640), 2.0, np.float32)
        >>> matrix = np.array([[500.0, 0.0, 319.5], [0.0, 500.0, 239.5], [0.0, 0.0, 1.0]])
        >>> box = np.array([270, 190, 370, 290])
        >>> localize(DepthImage(wall, matrix, matrix), matrix, box).size.round(2)
        array([0.4 , 0.4 , 0.02])
    """
    image_wh = np.array(resolution_wh or 2 * pinhole(camera_matrix)[1], float)
    if mask is not None:
        return _localize_mask(depths, camera_matrix, mask, min_points)
    box = clip_boxes(np.asarray(xyxy, float), image_wh)
    if (box[2:] <= box[:2]).any():
        return None
    samples = depths.within(clip_boxes(expand_boxes(box, _BOX_ERROR), image_wh))
    inside = ((samples.pixels >= box[:2]) & (samples.pixels < box[2:])).all(1)
    minimum = _minimum(samples, box_areas(box), min_points)
    if np.count_nonzero(inside) < minimum:
        return None
    region = _Region(samples, samples.points(camera_matrix), inside, box, camera_matrix)
    weights = _weights(region)
    contrast = _contrast(region, _strips(depths, region, image_wh))
    layers = [layer for layer in _layers(region, weights, contrast) if layer.count >= minimum]
    return _best(region, layers) or _evenly_filled(region, minimum)


def _minimum(samples: DepthSamples, area: float, min_points: int) -> float:
    """Minimum number of samples of an object with an area in pixels."""
    sample_area = np.prod(samples.pitch)
    return max(min_points, _MIN_COVERAGE * area / sample_area if sample_area else 1)


def _localize_mask(
    depths: Depths, camera_matrix: np.ndarray, mask: np.ndarray, min_points: int
) -> Location | None:
    """Localize an object with a mask; see `localize`."""
    if not mask.any():
        return None
    masked = sample_mask(depths, mask)
    samples, everywhere = masked.samples, np.ones(len(masked.samples), bool)
    minimum = _minimum(samples, np.count_nonzero(mask), min_points)
    if len(samples) < minimum:
        return None
    # Thin objects have no interior, and thin objects on a surface are like background.
    needed = max(minimum, _MIN_INTERIOR * len(samples))
    certain = (masked.interior, ~masked.background, everywhere)
    core = next(inside for inside in certain if np.count_nonzero(inside) >= needed)
    region = _Region(
        samples, samples.points(camera_matrix), core, mask_bounds(mask), camera_matrix
    )
    main = max(_layers(region, core, everywhere), key=lambda layer: layer.contrast)
    parts = core | ~masked.background
    members = np.zeros(len(samples), bool)
    for layer in _layers(replace(region, inside=parts), parts, everywhere):
        if layer.contrast >= _MIN_PART or (layer.members & main.members).any():
            members |= layer.members & parts
    count = np.count_nonzero(members)
    if count < minimum:
        return None
    whole = replace(region, inside=everywhere)
    return _bound(whole, _Layer(members, members, main.contrast, count), 0)[0]


@dataclass(frozen=True, eq=False)
class _Region:
    """Samples in and around the box of an object.

    Attributes:
        samples: N samples.
        points: (N, 3) positions of the samples in meters.
        inside: (N,) bool, whether a sample is in the box or mask.
        box: (4,) left, top, right, bottom in pixels.
        camera_matrix: (3, 3) matrix of the color camera.
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
        members: (N,) bool, samples in the range.
        distinct: (N,) bool, members that differ from the surroundings; all if these are few.
        contrast: Weighted contrast of the members, 0 to 1.
        count: Number of members in the box.
    """

    members: np.ndarray
    distinct: np.ndarray
    contrast: float
    count: int


def _weights(region: _Region) -> np.ndarray:
    """(N,) weights of the samples: highest in the middle of the box, zero outside."""
    half = (region.box[2:] - region.box[:2]) / 2
    offsets = (region.samples.pixels - (region.box[:2] + half)) / half
    # Never zero inside the box.
    return (1.01 - offsets**2).clip(0.001).prod(1) * region.inside


def _strips(depths: Depths, region: _Region, image_wh: np.ndarray) -> list[DepthSamples]:
    """Samples left of, above, right of and below a box; empty at the border of the image."""
    box, pitch = region.box, region.samples.pitch
    extent = np.tile(box[2:] - box[:2], 2)
    outward = np.array([-1, -1, 1, 1])
    inner = expand_boxes(box, _BOX_ERROR)
    outer = inner + outward * np.maximum(
        _SURROUNDINGS * extent, _MIN_SURROUNDINGS * np.tile(pitch, 2)
    )
    # Near the border of the image, a strip would contain the object.
    borders = np.array([0, 0, *image_wh])
    in_image = outward * (borders - inner) > _BORDER * np.tile(image_wh, 2)
    strips = []
    for side in range(4):
        strip, axis = box.copy(), side % 2
        strip[[axis, axis + 2]] = sorted((inner[side], outer[side])) if in_image[side] else 0
        strips.append(depths.within(clip_boxes(strip, image_wh)))
    return strips


def _contrast(region: _Region, strips: Sequence[DepthSamples]) -> np.ndarray:
    """(N,) 0 to 1, contrast of the samples: higher if a depth is rarer beside the box.

    Depths left and right are compared in bands of rows, those above and below in bands of columns.
    """
    samples, box = region.samples, region.box
    depth_range = samples.depths[region.inside]
    bins, count = _depth_bins(samples.depths, depth_range)
    similarity = np.zeros(len(samples))
    for axis in (0, 1):
        beside = [strip for strip in strips[axis::2] if len(strip)]
        if not beside:
            continue
        box_bands = _bands(samples, box, 1 - axis)
        in_box = _frequencies(box_bands[region.inside], bins[region.inside], count)
        in_strips = [
            _frequencies(
                _bands(strip, box, 1 - axis), _depth_bins(strip.depths, depth_range)[0], count
            )
            for strip in beside
        ]
        # Include adjacent bands, because rows of a lidar are not exactly those of the image.
        padded = np.pad(np.mean(in_strips, 0), ((1, 1), (0, 0)))
        highest = np.maximum.reduce([padded[:-2], padded[1:-1], padded[2:]])
        ratio = highest / np.maximum(in_box, 1e-3)
        similarity = np.maximum(similarity, ratio[box_bands, bins].clip(0, 1))
    return 1 - similarity


def _bands(samples: DepthSamples, box: np.ndarray, axis: int) -> np.ndarray:
    """(N,) band of each sample along x or y; samples beyond the box get the outermost band."""
    positions = (samples.pixels[:, axis] - box[axis]) / (box[axis + 2] - box[axis])
    return (positions * _BANDS).astype(int).clip(0, _BANDS - 1)


def _depth_bins(depths: np.ndarray, depth_range: np.ndarray) -> tuple[np.ndarray, int]:
    """Bin of each depth on a logarithmic scale, and the number of bins.

    The bins cover the minimum to the maximum of `depth_range`. The first and the last bin contain
    all depths beyond, each separated by an empty bin.
    """
    low, high = depth_range.min(), depth_range.max()
    first, last = (np.floor(np.log(end) / _DEPTH_BIN) for end in (low, high))
    count = int(last - first) + 5
    bins = np.floor(np.log(depths) / _DEPTH_BIN) - first + 2
    return bins.clip(0, count - 1).astype(int), count


def _frequencies(bands: np.ndarray, bins: np.ndarray, count: int) -> np.ndarray:
    """(_BANDS, count) share of each bin and its two neighbors in each band."""
    table = np.bincount(bands * count + bins, minlength=_BANDS * count).reshape(_BANDS, count)
    padded = np.pad(table, ((0, 0), (1, 1)))
    smooth = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return smooth / np.maximum(table.sum(1, keepdims=True), 1)


def _layers(region: _Region, weights: np.ndarray, contrast: np.ndarray) -> list[_Layer]:
    """Layers: runs of bins with enough distinct samples, across gaps of one empty bin."""
    depths, inside = region.samples.depths, region.inside
    bins, bin_count = _depth_bins(depths, depths[inside])
    sums = np.bincount(bins, inside * contrast, bin_count)
    filled = sums > min(_STRAY * np.count_nonzero(inside), max(sums.max() - 1, 0))
    filled[1:-1] |= filled[:-2] & filled[2:]
    runs = np.cumsum(np.diff(filled, prepend=False)) * filled
    distinct = contrast >= _DISTINCT
    shares = weights * contrast / weights.sum()
    layers = []
    for run in np.unique(runs[filled]):
        core = depths[inside & distinct & (runs == run)[bins]]
        if not len(core):
            continue
        members = (depths >= core.min()) & (depths <= core.max())
        count = np.count_nonzero(members & inside)
        is_distinct = np.count_nonzero(members & distinct & inside) >= _MIN_DISTINCT * count
        distinct_members = members & distinct if is_distinct else members
        layers.append(_Layer(members, distinct_members, shares[members].sum(), count))
    return layers


def _best(region: _Region, layers: Sequence[_Layer]) -> Location | None:
    """Location of the layer with the best score; None if it is low or ambiguous."""
    bounded = []
    for layer in layers:
        if layer.contrast >= _MIN_SCORE / _MIN_RATIO:
            location, agreement = _bound(region, layer, _BOX_ERROR)
            bounded.append((layer.contrast * agreement, agreement, location))
    if not bounded:
        return None
    score, agreement, best = max(bounded, key=lambda entry: entry[0])
    other_scores = [
        other_score
        for other_score, _, location in bounded
        if abs(location.center[2] / best.center[2] - 1) > _SAME_DEPTH
    ]
    is_clear = score >= _MIN_RATIO * max(other_scores, default=0)
    return best if is_clear and score >= _MIN_SCORE and agreement >= _MIN_AGREEMENT else None


def _evenly_filled(region: _Region, min_points: float) -> Location | None:
    """Location of a layer that fills the box evenly, independent of contrast."""
    ones = np.ones(len(region.samples))
    for layer in _layers(region, _weights(region), ones):
        members = layer.members & region.inside
        depths = region.samples.depths[members]
        offsets = region.samples.pixels[members] - region.box[:2]
        positions = offsets / (region.box[2:] - region.box[:2])
        cells = np.unique((positions * _CELLS).astype(int).clip(0, _CELLS - 1) @ (1, _CELLS))
        if (
            layer.count >= min_points
            and layer.contrast >= _FILLED
            and len(cells) >= _FILLED_CELLS * _CELLS**2
            and depths.max() <= _FLAT * depths.min()
        ):
            return _bound(region, layer, _BOX_ERROR)[0]
    return None


def _bound(region: _Region, layer: _Layer, box_error: float) -> tuple[Location, float]:
    """Find the bounds of a layer.

    Args:
        region: Samples in and around the box.
        layer: Layer of the object.
        box_error: Maximum error of a side of the box, as a share of its width and height.

    Returns:
        Location, and agreement (intersection over union) of the outline with the box.
    """
    members = layer.members & region.inside
    extents = np.percentile(region.points[members], _TAILS, axis=0)  # (2, 3)
    agreement = 1.0
    # The ground extends beyond the sides of an object, but not below it.
    for axis, bounded in enumerate((layer.distinct, layer.members)):
        extents[:, axis], axis_agreement = _extent(region, bounded, axis, box_error)
        agreement *= axis_agreement
    low, high = extents
    size = (high - low).clip(MINIMUM_SIZE_M)
    size[2] = max(size[2], _MIN_THICKNESS * size[:2].min())
    return Location((low + high) / 2, size, region.points[members]), agreement


def _extent(
    region: _Region, is_object: np.ndarray, axis: int, box_error: float
) -> tuple[np.ndarray, float]:
    """Extent of an object along x or y.

    Returns:
        (2,) minimum and maximum in meters, and the intersection over union with the box along
        the axis.
    """
    across = region.samples.pixels[:, 1 - axis]
    in_band = (across >= region.box[1 - axis]) & (across < region.box[3 - axis])
    positions, depths = region.samples.pixels[in_band, axis], region.samples.depths[in_band]
    points, is_object = region.points[in_band, axis], is_object[in_band]
    start, end = region.box[axis], region.box[axis + 2]
    pitch, length = region.samples.pitch[axis], end - start
    focal = pinhole(region.camera_matrix)[0][axis]
    # Parts narrower than the pitch could contain no sample.
    in_box = int(min(_MAX_PARTS, np.ceil(length / pitch))) if pitch else _MAX_PARTS
    width = length / in_box
    extra = int(np.ceil(box_error * in_box))
    count = in_box + 2 * extra
    parts = (np.floor((positions - start) / width).astype(int) + extra).clip(0, count - 1)
    if axis == 0 and box_error:
        # Drop ground beside the object with the depth of another part of the object.
        medians = _median_depths(depths, parts, is_object, count)
        is_object = is_object & (np.abs(depths / medians[parts] - 1) <= _JUMP)
    counts = np.bincount(parts[is_object], minlength=count)
    filled = counts > (_MIN_FILLED * np.median(counts[counts > 0]) if box_error else 0)
    reached = np.flatnonzero(filled[extra : count - extra]) + extra
    if not len(reached):
        reached = np.flatnonzero(filled)
    extent, edges = np.empty(2), np.empty(2)
    for index, (side, sign) in enumerate(((start, -1), (end, 1))):
        last, limit = (reached[0], reached[-1])[index], (-1, count)[index]
        # Continue beyond the box, within its maximum error.
        while last + sign != limit and filled[last + sign]:
            last += sign
        members = is_object & filled[parts] & (sign * parts <= sign * last)
        is_unbounded = last + sign == limit and extra > 0
        if is_unbounded and (sign * positions[members] <= sign * side).any():
            # An adjacent object of the same depth: only the side of the box is known.
            members &= sign * positions <= sign * side
        edge = sign * np.percentile(sign * positions[members], _TAILS[1]) + sign * pitch / 2
        near_edge = np.abs(positions[members] - edge) <= _NEAR_SIDE * length
        depth = np.median(depths[members][near_edge] if near_edge.any() else depths[members])
        measured = sign * np.percentile(sign * points[members], _TAILS[1])
        measured += sign * pitch / 2 / focal * depth
        maximum = side
        if not is_unbounded:
            others, beyond = ~is_object, range(last + sign, limit, sign)
            maximum = _first_behind(
                positions[others], depths[others], parts[others], beyond, depth, sign
            )
            maximum -= sign * pitch / 2
        edges[index] = np.clip(side, *sorted((edge, maximum)))
        extent[index] = measured + (edges[index] - edge) / focal * depth
    shared = max(0.0, min(end, edges[1]) - max(start, edges[0]))
    return extent, shared / (max(end, edges[1]) - min(start, edges[0]))


def _median_depths(
    depths: np.ndarray, parts: np.ndarray, is_object: np.ndarray, count: int
) -> np.ndarray:
    """(count,) median depth of an object in each part; NaN for empty parts."""
    order = np.lexsort((depths[is_object], parts[is_object]))
    numbers, starts, counts = np.unique(
        parts[is_object][order], return_index=True, return_counts=True
    )
    medians = np.full(count, np.nan)
    medians[numbers] = depths[is_object][order][starts + counts // 2]
    return medians


def _first_behind(
    positions: np.ndarray,
    depths: np.ndarray,
    parts: np.ndarray,
    beyond: Sequence[int],
    depth: float,
    sign: int,
) -> float:
    """Position of the first part that does not occlude a depth; infinite if all may occlude it."""
    for part in beyond:
        in_part = parts == part
        if in_part.any() and np.median(depths[in_part]) >= depth * (1 - _JUMP):
            return sign * (sign * positions[in_part]).min()
    return sign * np.inf
