# SPDX-License-Identifier: Apache-2.0
"""Shared query fusion: `Q_shared = F(V_m, V_p)`, the paper's first mechanism.

From the paper: the queries combine the multimodal model's visual features `V_m` and the perception
model's features `V_p`, and serve both comprehension and perception. Ours: one query for each
candidate of the detector, learned scene queries beside them, and the layers of `F`.
"""

from __future__ import annotations

import torch
from torch import nn

from mrmllm_ros.model.box_embedding import BoxEmbedding, cell_boxes
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig

# Probabilities of names are raised by this, so that their logarithms are bounded.
_MIN_PROBABILITY = 1e-4


class ObjectQueries(nn.Module):
    """Object queries: features `V_p`, names of the region and box embedding of each candidate."""

    def __init__(self, config: MrMllmConfig, boxes: BoxEmbedding) -> None:
        """Create the projection.

        Args:
            config: Configuration with the sizes d_p and d, and the number N of names.
            boxes: Box embedding of size d, shared with the fusion, so that objects and image cells
                have the same coordinates.
        """
        super().__init__()
        self.boxes = boxes
        self.norm = nn.LayerNorm(config.perception_hidden_size)
        self.linear = nn.Linear(config.perception_hidden_size, config.hidden_size)
        self.names = None
        if config.region_names:
            self.names = nn.Linear(config.region_names, config.hidden_size, bias=False)
        # Replaces the features of scenes without an image.
        self.no_image_embedding = nn.Parameter(torch.zeros(config.hidden_size))

    def forward(
        self,
        features: torch.Tensor,
        boxes: torch.Tensor,
        region_names: torch.Tensor | None = None,
        has_image: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compute the object queries.

        Args:
            features: (B, K, d_p) `V_p`.
            boxes: (B, K, 4) float32 center and size, normalized by the image size.
            region_names: (B, K, N) float32 probabilities of the encoder's class names, zeros for
                objects without a name; None if no object has one.
            has_image: (B,) bool; None if every scene has an image.

        Returns:
            (B, K, d)
        """
        queries = self.linear(self.norm(features))
        if self.names is not None and region_names is not None:
            queries = queries + self.names(_log_ratios(region_names).to(queries.dtype))
        return fill_missing(queries, self.no_image_embedding, has_image) + self.boxes(boxes)


class SharedQueryFusion(nn.Module):
    """`F`: transformer decoder over scene and object queries with `V_m` as memory.

    Each layer is self-attention among the queries, cross-attention to the image and a feed-forward
    network, with normalization before each.
    """

    def __init__(self, config: MrMllmConfig, boxes: BoxEmbedding) -> None:
        """Create the fusion.

        Args:
            config: Configuration with S, d, d_m and the numbers of layers and heads.
            boxes: Box embedding of size d.
        """
        super().__init__()
        size = config.hidden_size
        self.boxes = boxes
        self.scene = nn.Parameter(torch.zeros(config.scene_queries, size))
        self.visual_norm = nn.LayerNorm(config.vision_hidden_size)
        self.visual = nn.Linear(config.vision_hidden_size, size)
        # Replaces `V_m` of scenes without an image.
        self.no_image_embedding = nn.Parameter(torch.zeros(size))
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                size,
                config.num_attention_heads,
                dim_feedforward=4 * size,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.num_hidden_layers)
        )
        self.norm = nn.LayerNorm(size)

    def forward(
        self,
        queries: torch.Tensor,
        mask: torch.Tensor,
        visual: torch.Tensor,
        grid: tuple[int, int],
        has_image: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compute the shared queries.

        Args:
            queries: (B, K, d) object queries.
            mask: (B, K) bool, false at padding.
            visual: (B, N_m, d_m) `V_m`, the image's cells row by row.
            grid: Rows and columns of the cells; N_m is their product.
            has_image: (B,) bool; None if every scene has an image.

        Returns:
            (B, S + K, d) `Q_shared`: the scene queries, then the object queries.
        """
        batch = len(queries)
        cells = self.boxes(cell_boxes(grid).to(visual.device))  # (N_m, d)
        visual = self.visual(self.visual_norm(visual))
        memory = fill_missing(visual, self.no_image_embedding, has_image) + cells  # (B, N_m, d)
        shared = torch.cat([self.scene.expand(batch, -1, -1), queries], 1)  # (B, S + K, d)
        padding = ~with_scene_queries(mask, len(self.scene))
        for layer in self.layers:
            shared = layer(shared, memory, tgt_key_padding_mask=padding)
        return self.norm(shared)


def _log_ratios(probabilities: torch.Tensor) -> torch.Tensor:
    """Logarithms of probabilities (B, K, N) without their mean; zeros where all are equal."""
    logs = (probabilities + _MIN_PROBABILITY).log()
    return logs - logs.mean(-1, keepdim=True)


def with_scene_queries(mask: torch.Tensor, scene_queries: int) -> torch.Tensor:
    """Prepend the scene queries, which are never padding, to a mask of objects.

    Args:
        mask: (B, K) bool.
        scene_queries: Number S of scene queries.

    Returns:
        (B, S + K) bool.
    """
    return nn.functional.pad(mask, (scene_queries, 0), value=True)


def fill_missing(
    features: torch.Tensor, no_image_embedding: torch.Tensor, has_image: torch.Tensor | None
) -> torch.Tensor:
    """Replace the features of scenes without an image by a learned vector.

    Args:
        features: (B, N, d) features; any values for scenes without an image.
        no_image_embedding: (d,) learned vector.
        has_image: (B,) bool; None if every scene has an image.

    Returns:
        (B, N, d)
    """
    if has_image is None:
        return features
    return torch.where(has_image[:, None, None], features, no_image_embedding.to(features.dtype))
