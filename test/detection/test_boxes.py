# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.detection.boxes import (
    box_areas,
    box_coverage,
    box_intersections,
    box_iou,
    clip_boxes,
    expand_boxes,
    non_max_suppression,
)

NONE = np.zeros((0, 4), np.float32)
SQUARE = np.array([[0, 0, 10, 10]], np.float32)
# The same box, its right half, a neighbor that touches it, a box far away, a point inside.
OTHERS = np.array(
    [[0, 0, 10, 10], [5, 0, 10, 10], [10, 0, 20, 10], [90, 90, 99, 99], [5, 5, 5, 5]], np.float32
)


def test_areas_of_boxes_and_of_one_box():
    np.testing.assert_array_equal(box_areas(OTHERS), [100, 50, 100, 81, 0])
    assert box_areas(SQUARE[0]) == 100
    assert box_areas(NONE).shape == (0,)


def test_shared_area_union_and_coverage():
    np.testing.assert_array_equal(box_intersections(SQUARE, OTHERS), [[100, 50, 0, 0, 0]])
    np.testing.assert_array_equal(box_iou(SQUARE, OTHERS), [[1, 0.5, 0, 0, 0]])
    np.testing.assert_array_equal(box_coverage(SQUARE, OTHERS), [[1, 0.5, 0, 0, 0]])
    np.testing.assert_array_equal(box_coverage(OTHERS, SQUARE)[:, 0], [1, 1, 0, 0, 0])


def test_iou_is_symmetric_and_within_bounds():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 50, (40, 2, 2)).astype(np.float32)
    boxes = np.hstack([corners.min(axis=1), corners.max(axis=1)])
    iou = box_iou(boxes, boxes)
    np.testing.assert_array_equal(iou, iou.T)
    np.testing.assert_allclose(np.diag(iou), 1, rtol=1e-5)
    assert (iou >= 0).all()
    assert (iou <= 1 + 1e-5).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_keep_the_type_of_the_boxes(dtype):
    boxes = OTHERS.astype(dtype)
    assert box_iou(boxes, boxes).dtype == box_coverage(boxes, boxes).dtype == dtype
    assert clip_boxes(boxes, (7, 7)).dtype == expand_boxes(boxes, 0.5).dtype == dtype


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("measure", [box_intersections, box_iou, box_coverage])
def test_boxes_without_area_share_nothing_and_no_boxes_give_an_empty_matrix(measure):
    point = OTHERS[4:]
    np.testing.assert_array_equal(measure(point, point), [[0]])
    assert measure(NONE, OTHERS).shape == (0, 5)
    assert measure(OTHERS, NONE).shape == (5, 0)
    assert measure(NONE, NONE).shape == (0, 0)


def test_boxes_are_clipped_to_the_image():
    boxes = np.array([[-5, -6, 700, 500], [10, 20, 30, 40], [650, 490, 660, 500]], np.float32)
    expected = [[0, 0, 640, 480], [10, 20, 30, 40], [640, 480, 640, 480]]
    np.testing.assert_array_equal(clip_boxes(boxes, (640, 480)), expected)
    np.testing.assert_array_equal(clip_boxes(boxes[0], (640, 480)), expected[0])
    assert clip_boxes(NONE, (640, 480)).shape == (0, 4)


def test_boxes_are_expanded_on_each_side():
    box = np.array([10.0, 20.0, 30.0, 60.0])
    np.testing.assert_array_equal(expand_boxes(box, 0.5), [0, 0, 40, 80])
    np.testing.assert_array_equal(expand_boxes(box[None], 0), box[None])
    np.testing.assert_array_equal(expand_boxes(OTHERS[4:], 0.5), OTHERS[4:])
    assert expand_boxes(NONE, 0.5).shape == (0, 4)


class TestNonMaxSuppression:
    BOXES = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]], np.float32)
    SCORES = np.array([0.5, 0.9, 0.7], np.float32)

    def test_the_highest_score_wins_and_comes_first(self):
        assert non_max_suppression(self.BOXES, self.SCORES, 0.5) == [1, 2]

    def test_the_threshold_itself_is_allowed(self):
        halves = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
        scores = np.array([0.9, 0.8], np.float32)
        assert non_max_suppression(halves, scores, 0.5) == [0, 1]
        assert non_max_suppression(halves, scores, 0.49) == [0]

    def test_a_dropped_box_drops_no_other(self):
        chain = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)
        scores = np.array([0.9, 0.8, 0.7], np.float32)
        assert non_max_suppression(chain, scores, 0.3) == [0, 2]

    def test_boxes_of_different_classes_are_independent(self):
        kept = non_max_suppression(self.BOXES, self.SCORES, 0.5, np.array([0, 1, 1]))
        assert kept == [1, 2, 0]

    def test_of_equal_scores_the_first_box_wins(self):
        assert non_max_suppression(self.BOXES, np.full(3, 0.5), 0.5) == [0, 2]

    def test_no_boxes_and_boxes_without_area(self):
        assert non_max_suppression(NONE, np.zeros(0), 0.5) == []
        points = np.zeros((2, 4), np.float32)
        assert non_max_suppression(points, np.array([0.1, 0.2]), 0.5) == [1, 0]
