# SPDX-License-Identifier: Apache-2.0
"""Boxes as vectors."""

from __future__ import annotations

import math

import torch
from torch import nn

# cx, cy, w, h and the area.
_NUMBERS = 5


class BoxEmbedding(nn.Module):
    """Fourier features of a box's center, size and area, mixed by one linear layer.

    Fourier features let a small network tell neighboring coordinates apart (Tancik et al.,
    arXiv 2006.10739). The paper names boxes as a modality and leaves their encoding open; this
    one is ours.
    """

    def __init__(self, frequencies: int, width: int) -> None:
        """Make the embedding.

        Args:
            frequencies: Number F of frequencies; the i-th is 2^i half turns.
            width: Width of the result.
        """
        super().__init__()
        self.frequencies = frequencies
        self.linear = nn.Linear(_NUMBERS * 2 * frequencies, width)

    def forward(self, boxes: torch.Tensor) -> torch.Tensor:
        """Embed boxes.

        Args:
            boxes: (..., 4) float32 center x, center y, width, height as shares of the image.

        Returns:
            (..., width) in the precision of the weights.
        """
        area = boxes[..., 2:3] * boxes[..., 3:4]
        numbers = torch.cat([boxes, area], -1)  # (..., 5)
        powers = 2.0 ** torch.arange(self.frequencies, device=boxes.device, dtype=boxes.dtype)
        angles = math.pi * numbers[..., None] * powers  # (..., 5, F)
        features = torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)  # (..., 10 F)
        # Angles in half precision would be off by a good part of a turn.
        return self.linear(features.to(self.linear.weight.dtype))


def cell_boxes(grid: tuple[int, int]) -> torch.Tensor:
    """Boxes of the cells of a token grid over the image.

    Args:
        grid: Rows and columns.

    Returns:
        (rows * columns, 4) center x, center y, width, height as shares of the image, row by row.
    """
    rows, columns = grid
    center_y = (torch.arange(rows) + 0.5) / rows
    center_x = (torch.arange(columns) + 0.5) / columns
    y, x = torch.meshgrid(center_y, center_x, indexing="ij")
    sizes = torch.tensor([1 / columns, 1 / rows]).expand(rows * columns, 2)
    return torch.cat([x.reshape(-1, 1), y.reshape(-1, 1), sizes], 1)
