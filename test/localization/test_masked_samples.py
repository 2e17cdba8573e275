# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.localization.depth import DepthImage, PointCloud
from mrmllm_ros.localization.masked_samples import mask_bounds, sample_mask

WIDTH, HEIGHT = 640, 480
MATRIX = np.array([[500.0, 0.0, 319.5], [0.0, 500.0, 239.5], [0.0, 0.0, 1.0]])


def rectangle(left, top, right, bottom):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def screen(mask, z=1.0, wall=3.0):
    """Depth image of a screen that fills a mask, before a wall."""
    return DepthImage(np.where(mask, z, wall).astype(np.float32), MATRIX, MATRIX)


def test_the_bounds_enclose_the_mask():
    assert mask_bounds(rectangle(20, 30, 60, 50)).tolist() == [20, 30, 60, 50]


def test_an_exact_mask_holds_the_object_alone():
    mask = rectangle(100, 100, 150, 140)
    masked = sample_mask(screen(mask), mask)
    assert len(masked.samples) == 50 * 40
    assert not masked.background.any()
    # Two pixels at each side may be background.
    assert np.count_nonzero(masked.interior) == 46 * 36


def test_background_in_a_mask_that_is_too_large_is_that_beyond_it():
    masked = sample_mask(screen(rectangle(100, 100, 150, 140)), rectangle(98, 98, 152, 142))
    np.testing.assert_array_equal(masked.background, masked.samples.depths == 3)
    assert (masked.samples.depths[masked.interior] == 1).all()


@pytest.mark.parametrize("shown", [(100, 100, 150, 140), (90, 90, 160, 150)])
def test_an_object_on_a_surface_or_larger_than_its_mask_is_no_background(shown):
    mask = rectangle(100, 100, 150, 140)
    masked = sample_mask(screen(rectangle(*shown), z=2.99), mask)
    assert not masked.background.any()


def test_a_thin_object_on_a_surface_is_like_background():
    mask = rectangle(100, 100, 103, 200)
    assert sample_mask(screen(mask, z=2.99), mask).background.all()


def test_the_border_of_the_image_is_no_border_of_the_object():
    mask = rectangle(0, 0, 50, 40)
    masked = sample_mask(screen(mask), mask)
    assert np.count_nonzero(masked.interior) == 48 * 38


def test_a_thin_object_has_no_interior():
    mask = rectangle(100, 100, 103, 200)
    masked = sample_mask(screen(mask), mask)
    assert not masked.interior.any()
    assert not masked.background.any()


@pytest.mark.parametrize("count", [0, 1])
def test_few_points_are_selected_too(count):
    # In the middle of the image, at (320, 240).
    points = np.array([(0.0, 0.0, 2.0)])[:count]
    masked = sample_mask(PointCloud(points, MATRIX), rectangle(310, 230, 330, 250))
    assert len(masked.samples) == count
    assert masked.interior.all()
    assert not masked.background.any()
