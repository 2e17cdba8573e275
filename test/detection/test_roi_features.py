# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from mrmllm_ros.detection.roi_features import pool_boxes, pool_tokens

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


def test_boxes_keep_their_place_in_a_map_of_half_precision():
    columns = (torch.arange(256.0) - 128).half().expand(1, 1, 6, 256)
    # Half precision cannot represent 1024.5.
    pooled = pool_boxes(columns, boxes((1024.5, 8, 1032.5, 16)), STRIDE)
    assert pooled.dtype is torch.float16
    assert pooled.item() == pytest.approx(0.0625, abs=0.01)


def test_nothing_outside_of_the_box_counts():
    spot = torch.zeros(1, 1, 6, 8)
    spot[0, 0, 0, 7] = 1000.0
    assert pool_boxes(spot, boxes((0, 16, 40, 48)), STRIDE).item() == 0.0


def tokens_of(feature_map):
    """(1, C, H, W) as (1, H * W, C), in row-major order."""
    return feature_map.flatten(2).transpose(1, 2)


def shares(*cxcywh):
    return torch.tensor(cxcywh, dtype=torch.float32).reshape(1, -1, 4)


def test_a_box_on_one_token_has_that_token(ramp):
    # Column 4 of 8, row 2 of 6.
    pooled = pool_tokens(tokens_of(ramp), (6, 8), shares((4.5 / 8, 2.5 / 6, 1 / 8, 1 / 6)))
    torch.testing.assert_close(pooled, torch.tensor([[[4.0, 2.0]]]))


def test_a_box_on_the_whole_image_has_the_mean_of_its_tokens(ramp):
    pooled = pool_tokens(tokens_of(ramp), (6, 8), shares((0.5, 0.5, 1, 1)))
    torch.testing.assert_close(pooled, torch.tensor([[[3.5, 2.5]]]))


def test_tokens_are_pooled_as_maps_are(ramp):
    xyxy = boxes((3, 5, 30, 40), (16, 8, 48, 24), (0, 0, 64, 48))
    cxcywh = torch.cat([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], dim=1)
    pooled = pool_tokens(tokens_of(ramp), (6, 8), cxcywh[None] / torch.tensor([64, 48, 64, 48]))
    torch.testing.assert_close(pooled[0], pool_boxes(ramp, xyxy, STRIDE))


def test_each_image_of_a_batch_has_its_own_boxes_and_tokens(ramp):
    left, right = shares((0.25, 0.5, 0.5, 1)), shares((0.75, 0.5, 0.5, 1))
    tokens = torch.cat([tokens_of(ramp), -tokens_of(ramp)])
    pooled = pool_tokens(tokens, (6, 8), torch.cat([left, right]))
    torch.testing.assert_close(pooled, torch.tensor([[[1.5, 2.5]], [[-5.5, -2.5]]]))


def test_without_boxes_no_tokens_are_pooled(ramp):
    assert pool_tokens(tokens_of(ramp), (6, 8), shares()).shape == (1, 0, 2)


def test_tokens_can_be_learnt_through_the_pooling(ramp):
    tokens = tokens_of(ramp).requires_grad_()
    pool_tokens(tokens, (6, 8), shares((0.5, 0.5, 0.5, 0.5))).sum().backward()
    # Rows 1 to 4 and columns 2 to 5 lie in the box in part or whole, the corners do not.
    grid = tokens.grad[0, :, 0].reshape(6, 8)
    assert (grid[2:4, 3:5] > 0).all()
    assert grid[0, 0] == grid[5, 7] == 0


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_tokens_are_pooled_in_every_precision_and_keep_it(precision):
    tokens = torch.arange(24.0).reshape(1, 12, 2)
    boxes = torch.tensor([[[0.5, 0.5, 1.0, 1.0]]])
    pooled = pool_tokens(tokens.to(precision), (3, 4), boxes)
    assert pooled.dtype == precision
    torch.testing.assert_close(
        pooled.float(), pool_tokens(tokens, (3, 4), boxes), atol=0.1, rtol=0.01
    )
