# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.detection.masks import Mask


@pytest.fixture
def whole():
    """(48, 64) with an L of 3 columns and 5 rows that begins at column 10, row 20."""
    whole = np.zeros((48, 64), bool)
    whole[20:25, 10] = True
    whole[24, 10:13] = True
    return whole


def test_nothing_is_inside_of_an_empty_mask():
    empty = Mask.empty()
    assert empty.is_empty
    assert empty.inside.shape == (0, 0)
    assert not empty.whole((64, 48)).any()


def test_a_mask_without_a_pixel_inside_is_empty():
    cut = Mask.cut(np.zeros((48, 64), bool))
    assert cut.is_empty
    assert cut.inside.shape == (0, 0)
    assert Mask(np.zeros((3, 4), bool)).is_empty


def test_only_what_is_needed_is_kept_and_nothing_of_the_rest(whole):
    mask = Mask.cut(whole)
    assert (mask.left, mask.top) == (10, 20)
    np.testing.assert_array_equal(mask.inside, whole[20:25, 10:13])
    assert mask.inside.base is None, "a view would keep the whole"
    assert not mask.is_empty


def test_the_whole_mask_comes_back_in_the_size_of_the_image(whole):
    np.testing.assert_array_equal(Mask.cut(whole).whole((64, 48)), whole)


@pytest.mark.parametrize("corner", [(0, 0), (0, 63), (47, 0), (47, 63)])
def test_the_image_has_corners(corner):
    whole = np.zeros((48, 64), bool)
    whole[corner] = True
    mask = Mask.cut(whole)
    assert mask.inside.shape == (1, 1)
    np.testing.assert_array_equal(mask.whole((64, 48)), whole)


def test_the_whole_image_may_be_inside():
    np.testing.assert_array_equal(Mask.cut(np.ones((3, 5), bool)).inside, np.ones((3, 5), bool))


def test_the_region_is_what_the_mask_is_about(whole):
    mask = Mask.cut(whole)
    np.testing.assert_array_equal(whole[mask.region], mask.inside)


@pytest.mark.parametrize(
    "inside", [np.zeros((2, 2), np.uint8), np.zeros(4, bool), np.zeros((1, 2, 2), bool)]
)
def test_what_is_no_table_of_booleans_is_refused(inside):
    with pytest.raises(ValueError, match=r"expected \(h, w\) bool"):
        Mask(inside)


@pytest.mark.parametrize("place", [{"left": -1}, {"top": -1}])
def test_a_mask_that_begins_outside_of_the_image_is_refused(place):
    with pytest.raises(ValueError, match="begins outside"):
        Mask(np.ones((2, 2), bool), **place)
