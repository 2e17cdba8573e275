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
    cut = Mask.crop(np.zeros((48, 64), bool))
    assert cut.is_empty
    assert cut.inside.shape == (0, 0)
    assert Mask(np.zeros((3, 4), bool)).is_empty


def test_a_mask_is_cropped_without_a_reference_to_the_rest(whole):
    mask = Mask.crop(whole)
    assert (mask.left, mask.top) == (10, 20)
    np.testing.assert_array_equal(mask.inside, whole[20:25, 10:13])
    assert mask.inside.base is None, "a view would keep the whole"
    assert not mask.is_empty


def test_the_whole_mask_comes_back_in_the_size_of_the_image(whole):
    np.testing.assert_array_equal(Mask.crop(whole).whole((64, 48)), whole)


@pytest.mark.parametrize("corner", [(0, 0), (0, 63), (47, 0), (47, 63)])
def test_the_image_has_corners(corner):
    whole = np.zeros((48, 64), bool)
    whole[corner] = True
    mask = Mask.crop(whole)
    assert mask.inside.shape == (1, 1)
    np.testing.assert_array_equal(mask.whole((64, 48)), whole)


def test_the_whole_image_may_be_inside():
    np.testing.assert_array_equal(Mask.crop(np.ones((3, 5), bool)).inside, np.ones((3, 5), bool))


def test_the_region_is_the_rectangle_of_the_mask(whole):
    mask = Mask.crop(whole)
    np.testing.assert_array_equal(whole[mask.region], mask.inside)


@pytest.mark.parametrize(
    "inside", [np.zeros((2, 2), np.uint8), np.zeros(4, bool), np.zeros((1, 2, 2), bool)]
)
def test_only_two_dimensional_bool_arrays_are_masks(inside):
    with pytest.raises(ValueError, match=r"expected \(h, w\) bool"):
        Mask(inside)


@pytest.mark.parametrize("place", [{"left": -1}, {"top": -1}])
def test_a_mask_that_begins_outside_of_the_image_is_rejected(place):
    with pytest.raises(ValueError, match="begins outside the image"):
        Mask(np.ones((2, 2), bool), **place)


def decoded(mask, resolution_wh=(64, 48)):
    """A mask that has been encoded and decoded."""
    height, width = mask.inside.shape
    corner = (mask.left, mask.top)
    return Mask.from_run_lengths(mask.run_lengths, corner, (width, height), resolution_wh)


def test_runs_count_row_by_row_and_begin_with_the_background(whole):
    runs = Mask.crop(whole).run_lengths
    # Rows of 3 pixels: four times inside, outside, outside, then all inside.
    assert runs.tolist() == [0, 1, 2, 1, 2, 1, 2, 1, 2, 3]
    assert runs.dtype == np.uint32
    assert Mask(np.array([[False, True], [True, False]])).run_lengths.tolist() == [1, 2, 1]


def test_a_full_rectangle_is_an_empty_run_and_a_full_one():
    assert Mask(np.ones((3, 5), bool)).run_lengths.tolist() == [0, 15]


@pytest.mark.parametrize("mask", [Mask.empty(), Mask(np.zeros((3, 4), bool), 1, 2)])
def test_an_empty_mask_has_no_runs(mask):
    assert mask.run_lengths.shape == (0,)
    assert mask.run_lengths.dtype == np.uint32
    assert Mask.from_run_lengths([], (0, 0), (0, 0), (64, 48)).inside.shape == (0, 0)


def test_any_mask_survives_its_encoding(whole):
    rng = np.random.default_rng(0)
    masks = [Mask.crop(whole), Mask(np.ones((48, 64), bool)), Mask(np.eye(1, dtype=bool), 63, 47)]
    for share in (0.02, 0.5, 0.98):
        for height, width in ((1, 1), (1, 20), (20, 1), (13, 17)):
            inside = rng.random((height, width)) < share
            inside[0, -1] = True
            masks.append(Mask(inside, left=44, top=28))
    for mask in masks:
        again = decoded(mask)
        np.testing.assert_array_equal(again.inside, mask.inside)
        assert (again.left, again.top) == (mask.left, mask.top)


def test_empty_runs_between_others_are_read():
    mask = Mask.from_run_lengths([1, 0, 2, 1], (0, 0), (2, 2), (2, 2))
    np.testing.assert_array_equal(mask.inside, [[False, False], [False, True]])


@pytest.mark.parametrize(
    ("corner", "size_wh"),
    [
        ((0, 0), (65, 1)),
        ((0, 0), (1, 49)),
        ((61, 0), (4, 2)),
        ((0, 47), (4, 2)),
        ((2**32 - 1, 0), (1, 1)),
        ((0, 2**32 - 1), (1, 1)),
        ((-1, 0), (4, 2)),
        ((0, 0), (0, 4)),
        ((0, 0), (4, 0)),
        ((0, 0), (0, 0)),
    ],
)
def test_a_rectangle_that_is_not_inside_the_image_is_rejected(corner, size_wh):
    runs = [0, size_wh[0] * size_wh[1]]
    with pytest.raises(ValueError, match="is not inside the image of 64 x 48 pixels"):
        Mask.from_run_lengths(runs, corner, size_wh, (64, 48))


@pytest.mark.parametrize(
    "runs", [[], [0], [7], [0, 9], [4, 5], [2**32 - 1, 9], np.array([2**63, 2**63 + 8], np.uint64)]
)
def test_runs_that_do_not_fill_their_rectangle_are_rejected(runs):
    total = sum(map(int, runs))
    with pytest.raises(ValueError, match=f"mask of 4 x 2 pixels at 1, 2 add up to {total}, ex"):
        Mask.from_run_lengths(runs, (1, 2), (4, 2), (64, 48))


@pytest.mark.parametrize("runs", [[9, -1], [4.0, 4.0], [[4, 4]], 8, ["8"]])
def test_only_one_dimensional_integers_are_run_lengths(runs):
    with pytest.raises(ValueError, match=r"expected \(R,\) integers, none negative"):
        Mask.from_run_lengths(runs, (1, 2), (4, 2), (64, 48))
