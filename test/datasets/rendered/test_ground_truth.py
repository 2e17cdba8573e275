# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.datasets.rendered.ground_truth import VisibleObject, annotate, column_runs

SHAPE = (60, 80)
RED = (20, 20, 220)


def slow_runs(mask):
    """Run lengths pixel by pixel."""
    counts, value, length = [], False, 0
    for column in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            if mask[row, column] != value:
                counts.append(length)
                value, length = not value, 0
            length += 1
    return [*counts, length]


@pytest.fixture
def image():
    return np.full((*SHAPE, 3), RED, np.uint8)


@pytest.fixture
def make_found():
    """Function that makes an object with a visible rectangle."""

    def make(rows=(10, 30), columns=(20, 50), own=None, everywhere=None):
        visible = np.zeros(SHAPE, bool)
        visible[slice(*rows), slice(*columns)] = True
        own = int(visible.sum()) if own is None else own
        return VisibleObject(
            instance=7,
            noun="cup",
            family="a cup",
            model="Scopia/cup",
            visible=visible,
            own_pixels=own,
            all_pixels=own if everywhere is None else everywhere,
        )

    return make


class TestColumnRuns:
    @pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
    def test_they_are_those_of_a_slow_reference(self, share):
        mask = np.random.default_rng(0).random((13, 17)) < share
        assert column_runs(mask) == slow_runs(mask)

    def test_an_empty_mask_is_one_run_of_background(self):
        assert column_runs(np.zeros((3, 4), bool)) == [12]

    def test_a_full_mask_begins_with_no_background(self):
        assert column_runs(np.ones((3, 4), bool)) == [0, 12]

    def test_they_count_down_the_columns(self):
        mask = np.zeros((2, 3), bool)
        mask[0, 1] = mask[1, 0] = True
        assert column_runs(mask) == [1, 2, 3]


class TestAnnotate:
    def test_box_and_area_are_those_of_the_mask(self, make_found, image):
        entry = annotate(make_found(), image)
        assert entry["bbox"] == [20, 10, 30, 20]
        assert entry["area"] == 600
        assert entry["segmentation"]["size"] == list(SHAPE)
        assert sum(entry["segmentation"]["counts"][1::2]) == 600

    def test_an_object_in_full_view_is_neither_occluded_nor_truncated(self, make_found, image):
        entry = annotate(make_found(), image)
        assert (entry["occlusion"], entry["truncation"]) == (0, 0)
        assert "ignore" not in entry

    def test_occlusion_is_the_hidden_share_of_the_pixels_inside_the_image(self, make_found, image):
        entry = annotate(make_found(own=800, everywhere=1600), image)
        assert (entry["occlusion"], entry["truncation"]) == (0.25, 0.5)

    def test_more_visible_pixels_than_own_ones_are_no_negative_occlusion(self, make_found, image):
        entry = annotate(make_found(own=590, everywhere=580), image)
        assert (entry["occlusion"], entry["truncation"]) == (0, 0)

    @pytest.mark.parametrize(
        ("changes", "ignored"),
        [
            ({"rows": (10, 14), "columns": (20, 30)}, False),
            ({"rows": (10, 13), "columns": (20, 33)}, True),
            ({"own": 6000}, False),
            ({"own": 6100}, True),
        ],
    )
    def test_small_and_hidden_objects_are_ignored(self, make_found, image, changes, ignored):
        assert ("ignore" in annotate(make_found(**changes), image)) is ignored

    def test_position_is_that_of_the_box_around_the_points(self, make_found, image):
        points = np.array([[1.0, 0.0, 3.0], [3.0, 2.0, 5.0], [1.0, 2.0, 3.5]])
        entry = annotate(make_found(), image, points)
        assert entry["visible_3d"] == {"center": [2, 1, 4], "size": [2, 2, 2]}
        assert entry["distance"] == pytest.approx(np.sqrt(21), abs=1e-3)

    @pytest.mark.parametrize("points", [None, np.zeros((0, 3))])
    def test_without_points_there_is_no_position(self, make_found, image, points):
        assert not {"distance", "visible_3d"} & set(annotate(make_found(), image, points))

    def test_the_color_is_that_of_the_visible_pixels(self, make_found, image):
        assert annotate(make_found(), image)["color"] == "red"
        image[10:30, 20:50] = (220, 60, 20)
        assert annotate(make_found(), image)["color"] == "blue"

    def test_an_unclear_color_is_none(self, make_found, image):
        for column, color in enumerate([(220, 60, 20), RED, (20, 220, 250)]):
            image[:, 20 + column : 50 : 3] = color
        assert annotate(make_found(), image)["color"] is None
