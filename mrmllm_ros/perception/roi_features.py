# SPDX-License-Identifier: Apache-2.0
"""Features of objects, pooled from a feature map."""

from __future__ import annotations

import torch
from torchvision.ops import roi_align


def pool_boxes(feature_map: torch.Tensor, xyxy: torch.Tensor, stride: float) -> torch.Tensor:
    """Average the feature map over each box (RoIAlign).

    Args:
        feature_map: (1, C, H, W) features of one image.
        xyxy: (N, 4) boxes in pixels of the network's input, on the same device.
        stride: Input pixels for each cell of the map.

    Returns:
        (N, C) features in the map's precision.
    """
    pooled = roi_align(
        feature_map,
        [xyxy.to(feature_map.dtype)],
        output_size=1,
        spatial_scale=1 / stride,
        sampling_ratio=4,
        aligned=True,
    )
    return pooled.flatten(1)
