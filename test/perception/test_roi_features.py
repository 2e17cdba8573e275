# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from mrmllm_ros.perception.roi_features import pool_boxes

STRIDE = 8.0


def boxes(*xyxy):
    return torch.tensor(xyxy, dtype=torch.float32).reshape(-1, 4)


@pytest.fixture
def ramp():
    """(1, 2, 6, 8) whose channels are the column and the row of each cell."""
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    return torch.stack([columns, rows])[None]


def test_without_boxes_there_are_no_rows_of_the_right_width(ramp):
    assert pool_boxes(ramp, boxes(), STRIDE).shape == (0, 2)


def test_every_box_of_a_uniform_map_has_its_value():
    uniform = torch.tensor([3.0, -2.0, 7.0]).view(1, 3, 1, 1).expand(1, 3, 6, 8)
    pooled = pool_boxes(uniform, boxes((0, 0, 64, 48), (10, 10, 13, 12), (5, 5, 60, 20)), STRIDE)
    torch.testing.assert_close(pooled, torch.tensor([[3.0, -2.0, 7.0]] * 3))


@pytest.mark.parametrize(("column", "row"), [(1, 1), (4, 2), (6, 4)])
def test_a_box_on_one_cell_has_the_value_of_that_cell(column, row, ramp):
    left, top = column * STRIDE, row * STRIDE
    pooled = pool_boxes(ramp, boxes((left, top, left + STRIDE, top + STRIDE)), STRIDE)
    torch.testing.assert_close(pooled, torch.tensor([[float(column), float(row)]]))


def test_a_box_over_several_cells_has_their_mean(ramp):
    # Columns 2 to 5, rows 1 to 2.
    pooled = pool_boxes(ramp, boxes((16, 8, 48, 24)), STRIDE)
    torch.testing.assert_close(pooled, torch.tensor([[3.5, 1.5]]))


def test_rows_come_in_the_order_of_the_boxes(ramp):
    one, other = (8, 8, 16, 16), (32, 24, 40, 32)
    torch.testing.assert_close(
        pool_boxes(ramp, boxes(one, other), STRIDE),
        pool_boxes(ramp, boxes(other, one), STRIDE).flip(0),
    )


def test_features_keep_the_precision_of_the_map(ramp):
    assert pool_boxes(ramp.double(), boxes((0, 0, 8, 8)), STRIDE).dtype is torch.float64


def test_nothing_outside_of_the_box_counts():
    spot = torch.zeros(1, 1, 6, 8)
    spot[0, 0, 0, 7] = 1000.0
    assert pool_boxes(spot, boxes((0, 16, 40, 48)), STRIDE).item() == 0.0
