# SPDX-License-Identifier: Apache-2.0
"""Perception-enhanced cross-modal integration, the paper's second mechanism.

From the paper: `H^(n+1) = L(H^(n), V_proj + P_proj)`, with perception outputs such as boxes as a
modality. Ours: what `P_proj` encodes and how, and that `V_proj + P_proj` enters the language model
`L` as input tokens, to which every layer attends.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from mrmllm_ros.model.box_embedding import BoxEmbedding
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig


class PerceptionEmbedding(nn.Module):
    """`P_proj`: box, score, label and number of an object as one vector."""

    def __init__(self, config: MrMllmConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.box = BoxEmbedding(config.box_frequencies, size)
        self.score = nn.Linear(1, size)
        self.label_norm = nn.LayerNorm(config.text_hidden_size)
        self.label = nn.Linear(config.text_hidden_size, size)
        # Associates an object's token with the number that cites it.
        self.number = nn.Linear(config.text_hidden_size, size, bias=False)
        self.out = nn.Linear(size, config.text_hidden_size)

    def forward(
        self,
        boxes: torch.Tensor,
        scores: torch.Tensor,
        labels: torch.Tensor,
        numbers: torch.Tensor,
    ) -> torch.Tensor:
        """Embed detections.

        Args:
            boxes: (B, K, 4) float32 center and size, normalized by the image size.
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
    """`V_proj + P_proj`: the shared queries as input tokens of the language model."""

    def __init__(self, config: MrMllmConfig) -> None:
        super().__init__()
        self.visual = nn.Linear(config.hidden_size, config.text_hidden_size)
        self.perception = PerceptionEmbedding(config)
        # Tokens start at the scale of the language model's embeddings.
        self.scale = nn.Parameter(torch.full((), config.embedding_scale))

    def forward(
        self,
        shared: torch.Tensor,
        boxes: torch.Tensor,
        scores: torch.Tensor,
        labels: torch.Tensor,
        numbers: torch.Tensor,
    ) -> torch.Tensor:
        """Compute the query tokens.

        Args:
            shared: (B, S + K, d) `Q_shared`; scene queries get no `P_proj`.
            boxes: (B, K, 4) float32 center and size, normalized by the image size.
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
