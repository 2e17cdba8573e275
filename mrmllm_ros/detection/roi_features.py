# SPDX-License-Identifier: Apache-2.0
"""Pool features of objects from feature maps with RoIAlign.

Of one cell with two by two samples, which is a mean of bilinear samples; torchvision, which has
the general function, takes a second to import.
"""

from __future__ import annotations

import torch
from torch.nn.functional import grid_sample


def pool_boxes(feature_map: torch.Tensor, xyxy: torch.Tensor, stride: float) -> torch.Tensor:
    """Average a feature map over each box.

    Args:
        feature_map: (1, C, H, W) features of one image.
        xyxy: (N, 4) boxes in pixels of the network's input, on the same device.
        stride: Input pixels per cell of the map.

    Returns:
        (N, C) features of the map's dtype.
    """
    # In full precision: from 1024 on, half precision has a resolution of two pixels.
    [pooled] = _average(feature_map.float(), xyxy.float()[None] / stride)
    return pooled.to(feature_map.dtype)


def pool_tokens(tokens: torch.Tensor, grid: tuple[int, int], boxes: torch.Tensor) -> torch.Tensor:
    """Average image tokens over each box.

    Args:
        tokens: (B, N, d) tokens of B images in row-major order.
        grid: Rows and columns of the tokens; N is their product.
        boxes: (B, K, 4) center x, center y, width, height as shares of the image.

    Returns:
        (B, K, d) features of the tokens' dtype.
    """
    rows, columns = grid
    maps = tokens.transpose(1, 2).unflatten(2, grid)  # (B, d, rows, columns)
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    cells = torch.tensor([columns, rows] * 2, device=tokens.device)
    xyxy = torch.cat([center - half, center + half], -1).float() * cells  # (B, K, 4)
    # In full precision, as in `pool_boxes`.
    return _average(maps.float(), xyxy).to(tokens.dtype)


def _average(maps: torch.Tensor, xyxy: torch.Tensor) -> torch.Tensor:
    """Mean of two by two bilinear samples in each box.

    Args:
        maps: (B, C, H, W) float32 maps.
        xyxy: (B, K, 4) float32 boxes in cells; a sample more than one cell outside the map is 0.

    Returns:
        (B, K, C) means.
    """
    shares = torch.tensor([0.25, 0.75], device=xyxy.device)
    start, size = xyxy[..., :2], xyxy[..., 2:] - xyxy[..., :2]
    points = start[..., None, :] + size[..., None, :] * shares[:, None]  # (B, K, 2, x and y)
    x, y = points[..., None, :, 0], points[..., :, None, 1]
    grid = torch.stack(torch.broadcast_tensors(x, y), -1).flatten(2, 3)  # (B, K, 4, 2)
    size_wh = torch.tensor(maps.shape[:1:-1], device=xyxy.device)
    inside = ((grid >= -0.5) & (grid <= size_wh + 0.5)).all(-1)  # (B, K, 4)
    samples = grid_sample(
        maps, grid / size_wh * 2 - 1, padding_mode="border", align_corners=False
    )  # (B, C, K, 4)
    return (samples * inside[:, None]).mean(-1).transpose(1, 2)
