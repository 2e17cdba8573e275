# SPDX-License-Identifier: Apache-2.0
"""Shared query fusion: `Q_shared = F(V_m, V_p)`, the paper's first mechanism.

From the paper: the queries draw on both the multimodal model's visual features `V_m` and the
perception model's features `V_p`, and serve comprehension and perception alike. Ours: that a query
stands for one candidate of the detector, the scene queries beside them, and what `F` is made of.
"""

from __future__ import annotations

import torch
from torch import nn

from mrmllm_ros.model.box_embedding import BoxEmbedding, cell_boxes
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig


class ObjectQueries(nn.Module):
    """One query for each candidate: its features `V_p` and where it is."""

    def __init__(self, config: MrMllmConfig, boxes: BoxEmbedding) -> None:
        """Make the projection.

        Args:
            config: Gives the widths d_p and d.
            boxes: Embeds boxes to width d; shared with the fusion, so that objects and image
                cells lie in the same coordinates.
        """
        super().__init__()
        self.boxes = boxes
        self.norm = nn.LayerNorm(config.perception_width)
        self.linear = nn.Linear(config.perception_width, config.fusion_width)
        # What stands for the features where there is no image.
        self.unseen = nn.Parameter(torch.zeros(config.fusion_width))

    def forward(
        self, features: torch.Tensor, boxes: torch.Tensor, seen: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Make queries.

        Args:
            features: (B, K, d_p) `V_p`.
            boxes: (B, K, 4) float32 center and size as shares of the image.
            seen: (B,) bool, true where there is an image; None where all have one.

        Returns:
            (B, K, d)
        """
        return unless_seen(self.linear(self.norm(features)), self.unseen, seen) + self.boxes(boxes)


class SharedQueryFusion(nn.Module):
    """`F`: a small transformer in which scene and object queries look at each other and at `V_m`.

    Each layer is self-attention among the queries, cross-attention to the image, feed-forward,
    with normalization before each.
    """

    def __init__(self, config: MrMllmConfig, boxes: BoxEmbedding) -> None:
        """Make the fusion.

        Args:
            config: Gives S, d, d_m, layers and heads.
            boxes: Embeds boxes to width d.
        """
        super().__init__()
        width = config.fusion_width
        self.boxes = boxes
        self.scene = nn.Parameter(torch.zeros(config.scene_queries, width))
        self.visual_norm = nn.LayerNorm(config.visual_width)
        self.visual = nn.Linear(config.visual_width, width)
        # The learned null that stands for `V_m` where there is no image.
        self.unseen = nn.Parameter(torch.zeros(width))
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                width,
                config.fusion_heads,
                dim_feedforward=4 * width,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.fusion_layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        queries: torch.Tensor,
        mask: torch.Tensor,
        visual: torch.Tensor,
        grid: tuple[int, int],
        seen: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Fuse.

        Args:
            queries: (B, K, d) object queries.
            mask: (B, K) bool, true where there is an object.
            visual: (B, N_m, d_m) `V_m`, the image's cells row by row.
            grid: Rows and columns of the cells; N_m is their product.
            seen: (B,) bool, true where there is an image; None where all have one.

        Returns:
            (B, S + K, d) `Q_shared`: the scene queries, then the object queries.
        """
        batch = len(queries)
        cells = self.boxes(cell_boxes(grid).to(visual.device))  # (N_m, d)
        told = unless_seen(self.visual(self.visual_norm(visual)), self.unseen, seen)
        memory = told + cells  # (B, N_m, d)
        shared = torch.cat([self.scene.expand(batch, -1, -1), queries], 1)  # (B, S + K, d)
        absent = ~with_scene(mask, len(self.scene))
        for layer in self.layers:
            shared = layer(shared, memory, tgt_key_padding_mask=absent)
        return self.norm(shared)


def with_scene(mask: torch.Tensor, scene_queries: int) -> torch.Tensor:
    """Extend a mask of objects by the scene queries, which are always there.

    Args:
        mask: (B, K) bool.
        scene_queries: Their number S.

    Returns:
        (B, S + K) bool.
    """
    return nn.functional.pad(mask, (scene_queries, 0), value=True)


def unless_seen(
    features: torch.Tensor, unseen: torch.Tensor, seen: torch.Tensor | None
) -> torch.Tensor:
    """Put a learned vector in the place of features that there are none of.

    Args:
        features: (B, N, d), of any value where there is no image.
        unseen: (d,)
        seen: (B,) bool, true where there is an image; None where all have one.

    Returns:
        (B, N, d)
    """
    if seen is None:
        return features
    return torch.where(seen[:, None, None], features, unseen.to(features.dtype))
