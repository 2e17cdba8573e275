# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from mrmllm_ros.model.box_embedding import BoxEmbedding, cell_boxes


@pytest.fixture
def embed():
    torch.manual_seed(0)
    return BoxEmbedding(8, 32).requires_grad_(False)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (2, 0), (0,), (0, 4)])
def test_each_box_becomes_one_vector(shape, embed):
    boxes = torch.rand(*shape, 4)
    assert embed(boxes).shape == (*shape, 32)
    assert embed(boxes).isfinite().all()


def test_a_box_is_embedded_alike_whatever_stands_beside_it(embed):
    boxes = torch.rand(2, 3, 4)
    torch.testing.assert_close(embed(boxes)[1, 2], embed(boxes[1, 2]))


@pytest.mark.parametrize("which", range(4))
def test_a_step_of_one_in_a_hundred_is_seen_in_each_number(which, embed):
    boxes = torch.full((99, 4), 0.4)
    boxes[:, which] = torch.arange(1, 100) / 100
    vectors = embed(boxes)
    apart = torch.cdist(vectors, vectors) + 1e3 * torch.eye(99)
    assert apart.min() > 0.1


def test_the_frequencies_and_not_the_numbers_alone_tell_neighbors_apart():
    near = torch.tensor([[0.50, 0.5, 0.2, 0.2], [0.51, 0.5, 0.2, 0.2]])
    far = torch.tensor([[0.2, 0.5, 0.2, 0.2], [0.7, 0.5, 0.2, 0.2]])

    def apart(boxes, frequencies):
        torch.manual_seed(0)
        one, other = BoxEmbedding(frequencies, 32).requires_grad_(False)(boxes)
        return (one - other).norm()

    assert apart(near, 8) > 0.3 * apart(far, 8)
    assert apart(near, 1) < 0.1 * apart(far, 1)


def test_the_area_is_told_beside_the_sides():
    # Nothing but the area's features reaches the result.
    embed = BoxEmbedding(2, 4).requires_grad_(False)
    embed.linear.weight[:, : 4 * 2 * 2] = 0
    same_area, other_area = torch.tensor([[0.1, 0.2, 0.5, 0.2], [0.7, 0.3, 0.2, 0.5]]), 0.3
    one, other = embed(same_area)
    torch.testing.assert_close(one, other)
    same_area[1, 3] = other_area
    assert not torch.allclose(*embed(same_area))


def test_it_keeps_the_precision_of_its_weights():
    embed = BoxEmbedding(8, 32).to(torch.bfloat16)
    assert embed(torch.rand(3, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_the_cells_of_an_image_come_row_by_row():
    expected = [
        [1 / 6, 0.25, 1 / 3, 0.5],
        [3 / 6, 0.25, 1 / 3, 0.5],
        [5 / 6, 0.25, 1 / 3, 0.5],
        [1 / 6, 0.75, 1 / 3, 0.5],
        [3 / 6, 0.75, 1 / 3, 0.5],
        [5 / 6, 0.75, 1 / 3, 0.5],
    ]
    torch.testing.assert_close(cell_boxes((2, 3)), torch.tensor(expected))


@pytest.mark.parametrize("grid", [(1, 1), (1, 5), (7, 7), (10, 4)])
def test_the_cells_cover_the_image_once(grid):
    boxes = cell_boxes(grid)
    centers, sizes = boxes[:, :2], boxes[:, 2:]
    torch.manual_seed(0)
    points = torch.rand(1000, 1, 2)
    inside = ((points - centers).abs() < sizes / 2).all(-1)  # (points, cells)
    assert len(boxes) == grid[0] * grid[1]
    assert (inside.sum(1) == 1).all()
    assert inside.any(0).all()
