# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.localization.depth import DepthImage, PointCloud

MATRIX = np.array([[100.0, 0.0, 31.5], [0.0, 100.0, 23.5], [0.0, 0.0, 1.0]])
WHOLE = np.array([0, 0, 64, 48])


@pytest.fixture
def slope():
    """(48, 64): 1 m in the first row, increasing by a centimeter per row."""
    return np.repeat(1 + np.arange(48, dtype=np.float32)[:, None] / 100, 64, axis=1)


def test_an_empty_region_holds_nothing(slope):
    samples = DepthImage(slope, MATRIX, MATRIX).within(np.array([10, 10, 10, 20]))
    assert len(samples) == 0
    assert samples.pixels.shape == (0, 2)
    assert samples.points(MATRIX).shape == (0, 3)


def test_a_pixel_is_at_its_center(slope):
    samples = DepthImage(slope, MATRIX, MATRIX).within(np.array([3, 5, 4, 6]))
    np.testing.assert_allclose(samples.pixels, [[3.5, 5.5]])
    np.testing.assert_allclose(samples.depths, [1.05])
    np.testing.assert_allclose(samples.pitch, [1, 1])


@pytest.mark.parametrize("hole", [0.0, -1.0, np.nan, np.inf, 5.1])
def test_invalid_and_too_large_depths_are_holes(hole, slope):
    slope[5, 3] = hole
    depths = DepthImage(slope, MATRIX, MATRIX, max_depth_m=5.0)
    assert len(depths.within(np.array([3, 5, 4, 6]))) == 0
    assert len(depths.within(WHOLE)) == 48 * 64 - 1


def test_the_optical_axis_goes_through_the_principal_point():
    matrix = np.array([[100.0, 0.0, 31.0], [0.0, 100.0, 23.0], [0.0, 0.0, 1.0]])
    depths = DepthImage(np.full((47, 63), 2.0, np.float32), matrix, matrix)
    [point] = depths.within(np.array([31, 23, 32, 24])).points(matrix)
    np.testing.assert_allclose(point, [0, 0, 2], atol=1e-6)


def test_a_smaller_depth_image_is_found_in_the_coordinates_of_the_color_image(slope):
    color = np.array([[200.0, 0.0, 63.5], [0.0, 200.0, 47.5], [0.0, 0.0, 1.0]])
    samples = DepthImage(slope, MATRIX, color).within(np.array([6, 10, 8, 12]))
    np.testing.assert_allclose(samples.pixels, [[7, 11]])
    np.testing.assert_allclose(samples.pitch, [2, 2])
    own = DepthImage(slope, MATRIX, MATRIX).within(np.array([3, 5, 4, 6]))
    np.testing.assert_allclose(samples.points(color), own.points(MATRIX), rtol=1e-6)


def test_a_camera_with_another_angle_of_view_has_the_same_rays(slope):
    wide = np.array([[50.0, 0.0, 31.5], [0.0, 50.0, 23.5], [0.0, 0.0, 1.0]])
    # The depth camera sees half of the angle: it fills the middle of the color image.
    samples = DepthImage(slope, MATRIX, wide).within(WHOLE)
    assert samples.pixels.min(0) == pytest.approx([16.25, 12.25])
    assert samples.pixels.max(0) == pytest.approx([47.75, 35.75])
    assert len(samples) == 48 * 64


def test_a_large_region_is_subsampled_evenly():
    depth = np.ones((1080, 1920), np.float32)
    samples = DepthImage(depth, MATRIX, MATRIX).within(np.array([0, 0, 1920, 1080]))
    assert 5_000 < len(samples) <= 32_000
    assert samples.pitch[0] == samples.pitch[1] > 1
    np.testing.assert_allclose(samples.pixels.mean(0), [960, 540], rtol=0.02)


def test_a_depth_image_and_its_points_give_the_same_samples(slope):
    region = np.array([10, 12, 30, 40])
    image = DepthImage(slope, MATRIX, MATRIX)
    points = image.within(WHOLE).points(MATRIX)
    shuffled = np.random.default_rng(0).permutation(points)
    seen = PointCloud(shuffled, MATRIX).within(region)
    expected = image.within(region)
    order = np.lexsort(np.round(seen.pixels, 2).T)
    np.testing.assert_allclose(seen.pixels[order], expected.pixels, atol=1e-3)
    np.testing.assert_allclose(seen.depths[order], expected.depths, rtol=1e-6)


@pytest.mark.parametrize(
    "point", [(0, 0, np.nan), (np.nan, 0, 1), (0, np.inf, 1), (0, 0, 0), (0, 0, -2), (0, 0, 6)]
)
def test_invalid_points_are_dropped(point):
    points = np.array([(0, 0, 2.0), point])
    assert len(PointCloud(points, MATRIX, max_depth_m=5.0).within(WHOLE)) == 1


def test_a_large_cloud_is_subsampled():
    points = np.random.default_rng(0).uniform((-0.1, -0.1, 1), (0.1, 0.1, 1.1), (100_000, 3))
    assert 5_000 < len(PointCloud(points, MATRIX).within(WHOLE)) <= 32_000
