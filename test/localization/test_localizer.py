# SPDX-License-Identifier: Apache-2.0
"""Objects of known shape, drawn as a depth camera sees them, found again.

What must hold, with the box as a detector gives it: the center of the visible side within 2 % of
its distance or 2 cm, its size within 10 % or two pixels, over near, far, hidden and missing depth.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from mrmllm_ros.localization.depth import DepthImage, PointCloud
from mrmllm_ros.localization.localizer import MINIMUM_SIZE_M, localize

WIDTH, HEIGHT, FOCAL = 640, 480, 525.0
MATRIX = np.array([[FOCAL, 0.0, (WIDTH - 1) / 2], [0.0, FOCAL, (HEIGHT - 1) / 2], [0.0, 0.0, 1.0]])
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
RAYS = np.dstack(
    [(COLUMNS - MATRIX[0, 2]) / FOCAL, (ROWS - MATRIX[1, 2]) / FOCAL, np.ones((HEIGHT, WIDTH))]
)
# The camera is one meter above the floor and looks straight ahead.
FLOOR_Y = 1.0


def sphere(center, radius):
    """(H, W) depth of a sphere in meters, infinite outside."""
    center = np.array(center, float)
    along, squared = RAYS @ center, (RAYS**2).sum(-1)
    root = along**2 - squared * (center @ center - radius**2)
    with np.errstate(invalid="ignore"):
        return np.where(root >= 0, (along - np.sqrt(root)) / squared, np.inf)


def cuboid(center, size, yaw=0.0):
    """(H, W) depth of a cuboid that is turned about the vertical."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    turned = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    origin, rays = -turned.T @ np.array(center, float), RAYS @ turned
    with np.errstate(divide="ignore", invalid="ignore"):
        sides = np.stack([(sign * np.array(size) / 2 - origin) / rays for sign in (-1, 1)])
    enters, leaves = sides.min(0).max(-1), sides.max(0).min(-1)
    return np.where((enters <= leaves) & (enters > 0), enters, np.inf)


def wall(z):
    return np.full((HEIGHT, WIDTH), float(z))


def floor():
    with np.errstate(divide="ignore"):
        return np.where(RAYS[..., 1] > 0, FLOOR_Y / RAYS[..., 1], np.inf)


@dataclass
class Seen:
    """A single object: mask, box, and center and size of its visible side."""

    mask: np.ndarray
    box: np.ndarray
    center: np.ndarray
    size: np.ndarray

    @classmethod
    def of(cls, depth):
        mask = np.isfinite(depth)
        columns, rows = (np.flatnonzero(mask.any(axis)) for axis in (0, 1))
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
        points = RAYS[mask] * depth[mask][:, None]
        low, high = points.min(0), points.max(0)
        return cls(mask, box, (low + high) / 2, high - low)


def image(*depths, missing=0.0, noise=0.0):
    """Depth image of several objects: the nearest depth of each pixel.

    `missing` is the share of pixels without depth, `noise` a standard deviation for one meter,
    growing with the square of the distance as that of stereo cameras does.
    """
    rng = np.random.default_rng(0)
    depth = np.minimum.reduce(depths)
    depth = depth + rng.normal(size=depth.shape) * noise * depth**2
    depth[rng.random(depth.shape) < missing] = np.nan
    return DepthImage(depth.astype(np.float32), MATRIX, MATRIX)


def check(location, seen, axes=(0, 1, 2)):
    assert location is not None
    distance = np.linalg.norm(seen.center)
    error = np.linalg.norm(location.center - seen.center)
    assert error <= max(0.02 * distance, 0.02), f"{error:.3f} m off at {distance:.2f} m"
    # The position of an edge is known up to a pixel.
    pixel = seen.center[2] / FOCAL
    # Flat objects have a minimum thickness.
    size = np.maximum(seen.size, [0, 0, 0.05 * seen.size[:2].min()])
    for axis in axes:
        off = location.size[axis] - size[axis]
        allowed = max(0.1 * size[axis], 2 * pixel)
        assert abs(off) <= allowed, f"size {'xyz'[axis]} off by {off:.3f} of {size[axis]:.3f}"
    assert (location.size >= MINIMUM_SIZE_M).all()
    assert len(location.points)


SPHERES = {
    "near": (sphere((0.05, 0.0, 0.5), 0.1), wall(3)),
    "small and near": (sphere((-0.1, 0.1, 0.6), 0.04), wall(0.9)),
    "on the floor": (sphere((0.3, 0.85, 3.0), 0.15), wall(5), floor()),
    "far": (sphere((-1.0, 0.4, 8.0), 0.6), wall(15), floor()),
}
CUBOIDS = {
    "box seen from the front": (cuboid((0, 0.8, 2), (0.4, 0.4, 0.4)), wall(5), floor()),
    "box turned a little": (cuboid((-0.3, 0.8, 3), (0.4, 0.4, 0.4), 0.17), wall(5), floor()),
    "box on its edge": (cuboid((-0.3, 0.8, 2), (0.4, 0.4, 0.4), 0.785), wall(5), floor()),
    "screen near": (cuboid((0.1, 0.05, 0.5), (0.3, 0.2, 0.001)), wall(2)),
    "person": (cuboid((0, 0.15, 3), (0.5, 1.7, 0.3)), wall(5), floor()),
    "person before a wall": (cuboid((1, 0.15, 4), (0.5, 1.7, 0.3)), wall(4.5), floor()),
    "person at 8 m": (cuboid((1, 0.15, 8), (0.5, 1.7, 0.3)), wall(12), floor()),
    "person at 15 m": (cuboid((1, 0.15, 15), (0.5, 1.7, 0.3)), wall(20), floor()),
    "car": (cuboid((-1.3, 0.2, 8), (1.8, 1.5, 4.2), 0.2), wall(25), floor()),
}
SHAPES = SPHERES | CUBOIDS


@pytest.mark.parametrize("missing", [0.0, 0.6])
@pytest.mark.parametrize("name", SHAPES)
def test_an_object_is_found_before_its_background(name, missing):
    shape, *background = SHAPES[name]
    seen = Seen.of(shape)
    check(localize(image(shape, *background, missing=missing), MATRIX, seen.box), seen)


@pytest.mark.parametrize("name", SHAPES)
def test_with_a_mask_the_background_does_not_matter_and_the_box_neither(name):
    shape, *background = SHAPES[name]
    seen = Seen.of(shape)
    whole = np.array([0, 0, WIDTH, HEIGHT])
    check(localize(image(shape, *background, missing=0.6), MATRIX, whole, seen.mask), seen)


# The far floor differs by more than 2.5 % from one row to the second next.
GROWN = [(name, pixels) for name in SHAPES for pixels in (1, 2) if (name, pixels) != ("far", 2)]


@pytest.mark.parametrize(("name", "grown"), GROWN)
def test_a_mask_may_be_larger_than_the_object(name, grown):
    shape, *background = SHAPES[name]
    seen = Seen.of(shape)
    kernel = np.ones((2 * grown + 1,) * 2, np.uint8)
    mask = cv2.dilate(seen.mask.astype(np.uint8), kernel).astype(bool)
    location = localize(image(shape, *background), MATRIX, seen.box, mask)
    assert np.linalg.norm(location.center - seen.center) <= 0.02 * max(1, seen.center[2])


def test_a_part_at_another_depth_belongs_to_a_mask():
    # A seat, and a leg behind it that is seen below it.
    seat, leg = cuboid((0, 0, 2), (0.5, 0.4, 0.05)), cuboid((0.1, 0.45, 2.6), (0.15, 0.5, 0.05))
    seen = Seen.of(np.minimum(seat, leg))
    check(localize(image(seat, leg, wall(5)), MATRIX, seen.box, seen.mask), seen)


@pytest.mark.parametrize("name", SHAPES)
def test_a_point_cloud_gives_the_same_as_a_depth_image(name):
    shape, *background = SHAPES[name]
    seen = Seen.of(shape)
    depth = np.minimum.reduce((shape, *background))
    # In any order.
    points = (RAYS * depth[..., None]).reshape(-1, 3)
    points = np.random.default_rng(0).permutation(points)
    check(localize(PointCloud(points, MATRIX), MATRIX, seen.box), seen)


@pytest.mark.parametrize("name", ["near", "on the floor", "person", "person at 8 m", "car"])
def test_a_box_may_be_larger_than_the_object(name):
    shape, *background = SHAPES[name]
    seen = Seen.of(shape)
    margin = 0.08 * np.tile(seen.box[2:] - seen.box[:2], 2) * (-1, -1, 1, 1)
    check(localize(image(shape, *background), MATRIX, seen.box + margin), seen)


@pytest.mark.parametrize("z", [1.0, 5.0, 8.0, 12.0])
def test_noise_that_grows_with_the_distance_leaves_center_width_and_height(z):
    shape = cuboid((0.5, 0.15, z), (0.5, 1.7, 0.3))
    seen = Seen.of(shape)
    noise = 0.001
    location = localize(image(shape, wall(z + 4), floor(), noise=noise), MATRIX, seen.box)
    check(location, seen, axes=(0, 1))
    # Along the axis noise cannot be told from shape.
    assert location.size[2] <= 1.1 * seen.size[2] + 7 * noise * z**2


OCCLUDERS = {
    "a post on the left": cuboid((-0.12, 0.3, 2), (0.12, 3, 0.05)),
    "a post in the middle": cuboid((0, 0.3, 1.5), (0.06, 3, 0.06)),
    "a table before the lower part": cuboid((0, 0.6, 2), (2, 0.55, 0.05)),
}


@pytest.mark.parametrize("missing", [0.0, 0.6])
@pytest.mark.parametrize("name", OCCLUDERS)
def test_a_partial_occlusion_changes_nothing(name, missing):
    shape = cuboid((0, 0.15, 3), (0.5, 1.7, 0.3))
    seen = Seen.of(shape)
    depths = image(shape, OCCLUDERS[name], wall(5), floor(), missing=missing)
    check(localize(depths, MATRIX, seen.box), seen)


def test_a_hole_over_a_side_of_the_object_does_not_make_it_narrower():
    shape = cuboid((0, 0.15, 3), (0.5, 1.7, 0.3))
    seen = Seen.of(shape)
    depth = np.minimum(shape, wall(5)).astype(np.float32)
    depth[:, COLUMNS[0] > (seen.box[0] + seen.box[2]) / 2] = 0
    check(localize(DepthImage(depth, MATRIX, MATRIX), MATRIX, seen.box), seen)


def test_neighbors_of_the_same_depth_are_not_background():
    shape = cuboid((0, 0.15, 3), (0.5, 1.7, 0.3))
    neighbors = [cuboid((x, 0.15, 3), (0.5, 1.7, 0.3)) for x in (-0.6, 0.6)]
    seen = Seen.of(shape)
    depths = image(shape, *neighbors, wall(5), floor())
    check(localize(depths, MATRIX, seen.box), seen)


def test_a_picture_on_the_wall_is_where_the_wall_is():
    box = np.array([200, 100, 300, 200])
    location = localize(image(wall(2.5)), MATRIX, box)
    np.testing.assert_allclose(location.center[2], 2.5, rtol=1e-6)
    np.testing.assert_allclose(location.size[:2], 100 / FOCAL * 2.5, rtol=0.02)


def test_a_flat_object_has_a_thickness():
    location = localize(image(wall(2.0)), MATRIX, np.array([200, 100, 300, 200]))
    assert location.size[2] == pytest.approx(0.05 * location.size[:2].min())


def test_the_axes_are_those_of_the_optical_frame():
    shape = sphere((0.4, -0.3, 2.0), 0.1)
    x, y, z = localize(image(shape, wall(4)), MATRIX, Seen.of(shape).box).center
    assert x > 0 > y
    assert z > 0


def test_the_points_are_on_the_object():
    shape = sphere((0.3, 0.85, 3.0), 0.15)
    seen = Seen.of(shape)
    points = localize(image(shape, wall(5), floor()), MATRIX, seen.box, seen.mask).points
    assert points.dtype == np.float32
    distances = np.linalg.norm(points - np.array([0.3, 0.85, 3.0]), axis=1)
    np.testing.assert_allclose(distances, 0.15, atol=1e-3)


@pytest.mark.parametrize("hole", [0.0, np.nan, np.inf, -1.0])
def test_without_depth_there_is_no_location(hole):
    depth = np.full((HEIGHT, WIDTH), hole, np.float32)
    depths = DepthImage(depth, MATRIX, MATRIX, max_depth_m=100.0)
    assert localize(depths, MATRIX, np.array([100, 100, 200, 200])) is None


def test_a_few_pixels_of_a_large_object_are_too_little():
    depth = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    depth[100:300:20, 100:300:20] = 2.0
    depths = DepthImage(depth, MATRIX, MATRIX)
    assert localize(depths, MATRIX, np.array([100, 100, 300, 300])) is None
    # For a small object, the same number is enough.
    depth[100:110, 100:110] = 2.0
    assert localize(depths, MATRIX, np.array([100, 100, 110, 110])) is not None


def test_fewer_points_than_asked_for_are_too_few():
    points = np.array([(0, 0, 2), (0.01, 0, 2), (0, 0.01, 2)], float)
    box = np.array([300, 220, 340, 260])
    cloud = PointCloud(points, MATRIX)
    assert localize(cloud, MATRIX, box, min_points=4) is None
    location = localize(cloud, MATRIX, box, min_points=3)
    assert (location.size >= MINIMUM_SIZE_M).all()


@pytest.mark.parametrize("count", [1, 2])
def test_the_fewest_points_still_make_a_box_that_is_not_empty(count):
    points = np.array([(0, 0, 2), (0, 0, 2.01)], float)[:count]
    box = np.array([300, 220, 340, 260])
    location = localize(PointCloud(points, MATRIX), MATRIX, box, min_points=1)
    assert np.isfinite(location.center).all()
    assert (location.size >= MINIMUM_SIZE_M).all()


@pytest.mark.parametrize(
    "box", [(100, 100, 100, 200), (100, 100, 200, 100), (-50, 0, -10, 50), (700, 0, 800, 50)]
)
def test_an_empty_box_and_one_outside_of_the_image_hold_nothing(box):
    assert localize(image(wall(2)), MATRIX, np.array(box)) is None


def test_an_empty_mask_is_no_object():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    assert localize(image(wall(2)), MATRIX, np.array([0, 0, 50, 50]), mask) is None


def test_a_box_beyond_the_image_is_clipped():
    location = localize(image(wall(2)), MATRIX, np.array([-20, -20, 100, 100]))
    assert location.center[2] == pytest.approx(2.0)


def test_a_cloud_without_points_holds_nothing():
    cloud = PointCloud(np.zeros((0, 3), np.float32), MATRIX)
    assert localize(cloud, MATRIX, np.array([0, 0, 640, 480])) is None


# Boxes and depths as detectors and sensors give them. A pose is right if its center is within 2 %
# of the distance or 2 cm. It is wrong, that of something else, if its middle across or its nearest
# surface is off by more than a twentieth of the distance.
FIGURE_SHAPES = {
    "ball": lambda x, z: sphere((x, 0.85, z), 0.15),
    "box": lambda x, z: cuboid((x, 0.75, z), (0.5, 0.5, 0.2)),
    "person": lambda x, z: np.minimum(
        sphere((x, -0.58, z), 0.12), cuboid((x, 0.25, z), (0.5, 1.45, 0.25))
    ),
    "screen": lambda x, z: cuboid((x, -0.1, z), (0.6, 0.4, 0.02)),
    "bus": lambda x, z: cuboid((x, -0.5, z + 4), (2.5, 3.0, 8.0)),
}
SCENES = [
    (name, x, z)
    for name, far in (("ball", 4), ("box", 5), ("person", 12), ("screen", 4), ("bus", 9))
    for x, z in ((0.1, far / 2), (0.1, far), (-0.35, far))
]


def is_wrong(location, seen):
    distance = np.linalg.norm(seen.center)
    across = np.abs(location.center - seen.center)[:2].max()
    fronts = [each.center[2] - each.size[2] / 2 for each in (location, seen)]
    return max(across, abs(np.subtract(*fronts))) > max(0.05 * distance, 0.05)


def is_right(location, seen):
    distance = np.linalg.norm(seen.center)
    return np.linalg.norm(location.center - seen.center) <= max(0.02 * distance, 0.02)


def look(name, x, z, *others):
    """A scene with an object at a share of the view's half width."""
    shape = FIGURE_SHAPES[name](x * z * WIDTH / 2 / FOCAL, z)
    return Seen.of(shape), (shape, *others, wall(z + (14 if name == "bus" else 6)), floor())


def loosened(box, shares):
    """A box with each side moved outwards by a share of the width or height."""
    moved = box + np.array(shares) * np.tile(box[2:] - box[:2], 2) * (-1, -1, 1, 1)
    return moved.clip(0, [WIDTH, HEIGHT] * 2)


def report(title, found):
    """Check poses, which are None if unknown, and print the figures."""
    given = [(location, seen) for location, seen in found if location is not None]
    right, wrong = (sum(f(*pair) for pair in given) for f in (is_right, is_wrong))
    none = len(found) - len(given)
    print(f"{title}: {len(found)} boxes, {right} right, {wrong} wrong, {none} none")
    return right / len(found), wrong


@pytest.mark.parametrize("missing", [0.0, 0.6])
@pytest.mark.parametrize("loose", ["jittered", "too small", "too large"])
def test_loose_boxes(loose, missing):
    rng = np.random.default_rng(0)
    found = []
    for name, x, z in SCENES:
        seen, depths = look(name, x, z)
        measured = image(*depths, missing=missing)
        for _ in range(2 if loose == "jittered" else 1):
            shares = {"too small": [-0.08] * 4, "too large": [0.08] * 4}.get(
                loose, 0.04 * rng.normal(size=4)
            )
            box = loosened(seen.box, shares)
            found.append((localize(measured, MATRIX, box), seen))
    right, wrong = report(f"{loose}, {missing:.0%} missing", found)
    assert right >= 0.8
    assert not wrong


@pytest.mark.parametrize("inset", [0, 4])
@pytest.mark.parametrize("side", ["left", "right"])
def test_objects_across_the_border_of_the_image(side, inset):
    found = []
    for name, _, z in SCENES:
        seen, depths = look(name, {"left": -1, "right": 1}[side], z)
        box = seen.box.copy()
        box[0 if side == "left" else 2] += inset if side == "left" else -inset
        found.append((localize(image(*depths), MATRIX, box), seen))
    right, wrong = report(f"{side} border, {inset} pixels inside", found)
    assert right >= 0.9
    assert not wrong


def test_a_bus_at_the_border_is_not_located_at_a_person_in_front_of_it():
    bus, person = cuboid((-3.4, -0.5, 10), (2.5, 3, 8)), cuboid((-1.9, 0.15, 4), (0.5, 1.7, 0.3))
    seen = Seen.of(bus)
    for inset in (0, 2, 4, 8):
        box = seen.box + np.array([inset, 0, 0, 0])
        location = localize(image(bus, person, wall(25), floor()), MATRIX, box)
        assert location is None or not is_wrong(location, seen)


COVERS = {
    "post": lambda x, z: cuboid((x, 0.3, 0.75 * z), (0.12, 3, 0.05)),
    "table": lambda x, z: cuboid((x, 0.8, 0.75 * z), (4, 0.5, 0.05)),
    "person": lambda x, z: cuboid((x + 0.3, 0.15, 0.7 * z), (0.4, 1.7, 0.3)),
}


@pytest.mark.parametrize("cover", COVERS)
def test_partial_cover(cover):
    found = []
    for name, x, z in SCENES:
        occluder = COVERS[cover](0.75 * x * z * WIDTH / 2 / FOCAL, z)
        seen, depths = look(name, x, z, occluder)
        visible = seen.mask & (occluder > depths[0])
        if np.count_nonzero(visible) > 0.4 * np.count_nonzero(seen.mask):
            found.append((localize(image(*depths, missing=0.6), MATRIX, seen.box), seen))
    right, wrong = report(f"{cover} before it", found)
    assert right >= 0.85
    assert not wrong


@pytest.mark.parametrize("behind_m", [0.5, 1.0, 2.0])
def test_a_wall_close_behind(behind_m):
    found = []
    for name, x, z in SCENES:
        depth = 8.0 if name == "bus" else 0.0
        seen, depths = look(name, x, z, wall(z + depth + behind_m))
        found.append((localize(image(*depths), MATRIX, seen.box), seen))
    right, wrong = report(f"wall {behind_m} m behind", found)
    assert right >= 0.85
    assert not wrong


def lidar(depths, rings):
    """Point cloud of a lidar with rings over 30 degrees and steps of 0.2 degrees."""
    elevations = np.deg2rad(np.linspace(-15, 15, rings))
    azimuths = np.deg2rad(np.arange(-31, 31, 0.2))
    elevation, azimuth = np.meshgrid(elevations, azimuths)
    columns = np.tan(azimuth) * FOCAL + MATRIX[0, 2]
    rows = -np.tan(elevation) / np.cos(azimuth) * FOCAL + MATRIX[1, 2]
    columns, rows = (np.round(places).astype(int).ravel() for places in (columns, rows))
    seen = (columns >= 0) & (columns < WIDTH) & (rows >= 0) & (rows < HEIGHT)
    depth = np.minimum.reduce(depths)[rows[seen], columns[seen]]
    return (
        PointCloud(RAYS[rows[seen], columns[seen]] * depth[:, None], MATRIX),
        rows[seen],
        columns[seen],
    )


@pytest.mark.parametrize("rings", [16, 64])
def test_rings_of_a_lidar(rings):
    found = []
    for name, x, z in SCENES:
        seen, depths = look(name, x, z)
        cloud, *_ = lidar(depths, rings)
        found.append((localize(cloud, MATRIX, seen.box), seen))
    right, wrong = report(f"{rings} rings", found)
    assert right >= 0.75
    assert not wrong


@pytest.mark.parametrize("loose", [-0.08, 0.0, 0.08])
def test_an_object_between_the_rings_of_a_lidar_has_no_pose(loose):
    tried = 0
    for height in np.arange(-0.3, 0.9, 0.03):
        shape = sphere((0.3, height, 6), 0.08)
        depths = (shape, wall(9), floor())
        seen = Seen.of(shape)
        cloud, rows, columns = lidar(depths, 16)
        if seen.mask[rows, columns].any():
            continue
        tried += 1
        assert localize(cloud, MATRIX, loosened(seen.box, [loose] * 4), min_points=3) is None
    assert tried > 5


def test_an_object_that_the_sensor_does_not_measure_has_no_pose():
    shape = cuboid((0.2, 0.15, 3), (0.5, 1.7, 0.3))
    seen = Seen.of(shape)
    depth = np.minimum(wall(5), floor())
    depth[seen.mask] = np.nan
    for loose in (0.0, 0.04, 0.08):
        depths = DepthImage(depth.astype(np.float32), MATRIX, MATRIX)
        assert localize(depths, MATRIX, loosened(seen.box, [loose] * 4)) is None


def test_a_bus_across_the_border_is_found_with_its_far_end():
    bus = cuboid((-3.4, -0.5, 10), (2.5, 3, 8))
    seen = Seen.of(bus)
    depths = image(bus, wall(25), floor())
    check(localize(depths, MATRIX, seen.box, resolution_wh=(WIDTH, HEIGHT)), seen)
