# SPDX-License-Identifier: Apache-2.0
"""Pool features of objects from feature maps with RoIAlign."""

from __future__ import annotations

import torch
from torchvision.ops import roi_align


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
    pooled = roi_align(
        feature_map.float(),
        [xyxy.float()],
        output_size=1,
        spatial_scale=1 / stride,
        sampling_ratio=2,
        aligned=True,
    )
    return pooled.flatten(1).to(feature_map.dtype)


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
    # In full precision: RoIAlign does not support bfloat16.
    pooled = roi_align(maps.float(), list(xyxy), output_size=1, sampling_ratio=2, aligned=True)
    return pooled.flatten(1).unflatten(0, boxes.shape[:2]).to(tokens.dtype)
