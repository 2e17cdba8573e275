# SPDX-License-Identifier: Apache-2.0
"""Perception-enhanced cross-modal integration, the paper's second mechanism.

From the paper: `H^(n+1) = L(H^(n), V_proj + P_proj)`, where perception outputs such as boxes are a
modality of their own. Ours: what `P_proj` encodes and how, and that `V_proj + P_proj` enters the
language model `L` as tokens of its input, which every layer then attends to.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from mrmllm_ros.model.box_embedding import BoxEmbedding
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig


class PerceptionEmbedding(nn.Module):
    """`P_proj`: what the detector said of an object, box, score and label, as one vector."""

    def __init__(self, config: MrMllmConfig) -> None:
        super().__init__()
        width = config.fusion_width
        self.box = BoxEmbedding(config.box_frequencies, width)
        self.score = nn.Linear(1, width)
        self.label_norm = nn.LayerNorm(config.language_width)
        self.label = nn.Linear(config.language_width, width)
        # Binds the token of an object to the number that cites it.
        self.number = nn.Linear(config.language_width, width, bias=False)
        self.out = nn.Linear(width, config.language_width)

    def forward(
        self,
        boxes: torch.Tensor,
        scores: torch.Tensor,
        labels: torch.Tensor,
        numbers: torch.Tensor,
    ) -> torch.Tensor:
        """Embed what was perceived.

        Args:
            boxes: (B, K, 4) float32 center and size as shares of the image.
            scores: (B, K) confidence.
            labels: (B, K, d_llm) mean token embedding of each label's text.
            numbers: (K, d_llm) mean token embedding of each object's number.

        Returns:
            (B, K, d_llm)
        """
        mixed = self.box(boxes) + self.score(scores[..., None])
        mixed = mixed + self.label(self.label_norm(labels))
        mixed = mixed + self.number(self.label_norm(numbers))
        return self.out(functional.gelu(mixed))


class QueryTokens(nn.Module):
    """`V_proj + P_proj`: the shared queries as tokens that the language model can read."""

    def __init__(self, config: MrMllmConfig) -> None:
        super().__init__()
        self.visual = nn.Linear(config.fusion_width, config.language_width)
        self.perception = PerceptionEmbedding(config)
        # Tokens start at the scale of the embeddings that the language model is used to.
        self.scale = nn.Parameter(torch.full((), config.embedding_scale))

    def forward(
        self,
        shared: torch.Tensor,
        boxes: torch.Tensor,
        scores: torch.Tensor,
        labels: torch.Tensor,
        numbers: torch.Tensor,
    ) -> torch.Tensor:
        """Make tokens.

        Args:
            shared: (B, S + K, d) `Q_shared`; scene queries carry no `P_proj`.
            boxes: (B, K, 4) float32 center and size as shares of the image.
            scores: (B, K) confidence.
            labels: (B, K, d_llm) mean token embedding of each label's text.
            numbers: (K, d_llm) mean token embedding of each object's number.

        Returns:
            (B, S + K, d_llm)
        """
        perceived = self.perception(boxes, scores, labels, numbers)
        scene_queries = shared.shape[1] - perceived.shape[1]
        tokens = self.visual(shared) + functional.pad(perceived, (0, 0, scene_queries, 0))
        return functional.rms_norm(tokens, tokens.shape[-1:]) * self.scale
