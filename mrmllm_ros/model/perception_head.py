# SPDX-License-Identifier: Apache-2.0
"""Perception head: predictions about objects from queries and language-model states.

The idea is the paper's: comprehension improves perception of objects that the detector was not
trained on. The design is ours: the query token of an object, and the language model's hidden state
at that token, give a score, a label from any vocabulary, a box correction, attributes and a
novelty. Outputs may be left out. An untrained head returns what the detector found.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from transformers.utils import ModelOutput

from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig

# Maximum shift of an edge as a fraction of the box; at 0.5, opposite edges could meet.
MAX_EDGE_SHIFT = 0.45
# Scores of labels are clipped to this and to 1 minus this.
_MIN_SCORE = 1e-3
# Initial log-odds of the detector's label.
_TRUST = 4.0
# Initial log-odds of novelty: every object is familiar.
_FAMILIAR = -2.0
# Sizes of the outputs; an output that is not listed has the head's hidden size.
_SIZES = {"score": 1, "box": 4, "novelty": 1}
# Maximum change of log-odds; beyond it, float32 probabilities saturate at 0 or 1.
_MAX_LOGIT_SHIFT = 15.0


@dataclass(frozen=True, eq=False)
class LabelSpace:
    """Labels to choose from, and the labels that the detector chose.

    Attributes:
        names: V labels.
        embeddings: (V, d_llm) mean token embedding of each label.
        vocabulary_size: Number of leading labels that every object may get; the others are allowed
            only for objects that the detector gave them.
        detector_ids: (B, K) int64 index of the detector's label.
        scores: (B, K, V) float32 score of each label, 0 for labels without evidence; None if only
            the detector's label is known.
    """

    names: tuple[str, ...]
    embeddings: torch.Tensor
    vocabulary_size: int
    detector_ids: torch.Tensor
    scores: torch.Tensor | None = None

    @property
    def detector_mask(self) -> torch.Tensor:
        """(B, K, V) bool, true at the detector's label."""
        return self.detector_ids[..., None] == self._indices

    @property
    def allowed(self) -> torch.Tensor:
        """(B, K, V) bool, true if an object may get a label."""
        return self.detector_mask | (self._indices < self.vocabulary_size)

    @property
    def _indices(self) -> torch.Tensor:
        return torch.arange(len(self.embeddings), device=self.embeddings.device)


@dataclass
class PerceptionOutput(ModelOutput):
    """Predictions of the perception head.

    Attributes:
        scores: (B, K) fused confidence, 0 to 1.
        label_logits: (B, K, V) over the labels, minus infinity for labels that are not allowed.
        edge_shifts: (B, K, 4) shifts of the left, top, right and bottom edges, as fractions of the
            box's width and height.
        attribute_logits: For each attribute, (B, K, A) over its values.
        novelty_logits: (B, K) log-odds that the object's appearance is unusual: occluded,
            corrupted, out of place.
    """

    scores: torch.Tensor | None = None
    label_logits: torch.Tensor | None = None
    edge_shifts: torch.Tensor | None = None
    attribute_logits: dict[str, torch.Tensor] | None = None
    novelty_logits: torch.Tensor | None = None

    @property
    def novelty(self) -> torch.Tensor:
        """(B, K) probability of novelty: 0 familiar, 1 corner case."""
        return self.novelty_logits.sigmoid()

    def select(self, index: int) -> PerceptionOutput:
        """Return the predictions for one image of the batch, without the dimension B."""
        return PerceptionOutput(
            scores=self.scores[index],
            label_logits=self.label_logits[index],
            edge_shifts=self.edge_shifts[index],
            attribute_logits={k: v[index] for k, v in self.attribute_logits.items()},
            novelty_logits=self.novelty_logits[index],
        )


class PerceptionHead(nn.Module):
    """Predicts from an object's query token and the language model's hidden state there.

    The query token holds the image, the hidden state the object's context.
    """

    def __init__(self, config: MrMllmConfig) -> None:
        super().__init__()
        size, names = config.hidden_size, config.perception_outputs
        self.trunk = _projection(config)
        uses_text = config.head_needs_language_model
        self.context = _projection(config, bias=False) if uses_text else None
        self.text = _projection(config) if {"label", "attribute"} & {*names} else None
        self.outputs = nn.ModuleDict(
            {name: nn.Linear(size, _SIZES.get(name, size)) for name in names}
        )
        self.trust = nn.Parameter(torch.full((), _TRUST))

    def reset_to_identity(self) -> None:
        """Zero the outputs and the language model's part: predictions equal the detector's."""
        for output in self.outputs.values():
            nn.init.zeros_(output.weight)
            nn.init.zeros_(output.bias)
        if self.context is not None:
            nn.init.zeros_(self.context[1].weight)

    def forward(
        self,
        tokens: torch.Tensor,
        hidden_states: torch.Tensor | None,
        scores: torch.Tensor,
        labels: LabelSpace,
        attributes: dict[str, torch.Tensor],
    ) -> PerceptionOutput:
        """Predict score, label, box, attributes and novelty of each object.

        Args:
            tokens: (B, K, d_llm) query tokens.
            hidden_states: (B, K, d_llm) last hidden states of the language model at these tokens,
                or None to predict without it.
            scores: (B, K) float32 confidence of the detector.
            labels: Labels to choose from.
            attributes: For each attribute, (A, d_llm) mean token embedding of its values.
        """
        states = self.trunk(tokens)
        if hidden_states is not None:
            states = states + self.context(hidden_states)
        states = functional.gelu(states)  # (B, K, d)
        similarity = self._similarity("label", states, labels.embeddings)
        return PerceptionOutput(
            scores=_shift_logits(scores, self._output("score", states)[..., 0].float()),
            label_logits=self._prior(labels) + similarity,
            edge_shifts=MAX_EDGE_SHIFT * self._output("box", states).float().tanh(),
            attribute_logits={
                name: self._similarity("attribute", states, embeddings)
                for name, embeddings in attributes.items()
            },
            novelty_logits=self._familiar + self._output("novelty", states)[..., 0].float(),
        )

    @property
    def _familiar(self) -> float:
        """Log-odds of novelty before the output is added; minus infinity without that output."""
        return _FAMILIAR if "novelty" in self.outputs else -torch.inf

    def _output(self, name: str, states: torch.Tensor) -> torch.Tensor:
        """(B, K, size) values of an output; zeros, which change nothing, without that output."""
        if name in self.outputs:
            return self.outputs[name](states)
        return states.new_zeros(*states.shape[:-1], _SIZES[name])

    def _prior(self, labels: LabelSpace) -> torch.Tensor:
        """(B, K, V) logits of the labels before the similarity is added.

        These are the log-odds of the labels' scores. Without such scores, and for a head that
        predicts no labels, `trust` is the log-odds of the detector's label against all other
        labels together.
        """
        if labels.scores is not None and "label" in self.outputs:
            logits = labels.scores.logit(_MIN_SCORE)
            return logits.masked_fill(~labels.allowed, -torch.inf)
        others = (labels.allowed.sum(-1, keepdim=True) - 1).clamp(min=1).float().log()  # (B, K, 1)
        # Without label training, `trust` gets no gradient, for which distributed training would
        # wait.
        trust = self.trust if "label" in self.outputs else self.trust.detach()
        prior = labels.detector_mask * (trust.float() + others)
        return prior.masked_fill(~labels.allowed, -torch.inf)

    def _similarity(
        self, output: str, states: torch.Tensor, embeddings: torch.Tensor
    ) -> torch.Tensor:
        """(B, K, V) float32 similarity to (V, d_llm) embeddings; zeros without that output."""
        if output not in self.outputs:
            return torch.zeros(*states.shape[:-1], len(embeddings), device=states.device)
        directions = functional.normalize(self.text(embeddings), dim=-1)
        return (self.outputs[output](states) @ directions.T).float()


def _projection(config: MrMllmConfig, bias: bool = True) -> nn.Sequential:
    """Projection from the language model's hidden size to the head's."""
    linear = nn.Linear(config.text_hidden_size, config.hidden_size, bias=bias)
    return nn.Sequential(nn.LayerNorm(config.text_hidden_size), linear)


def _shift_logits(scores: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Add to the log-odds of probabilities; a shift of zero is exact, unlike logit and sigmoid."""
    odds = torch.exp(-shift.clamp(-_MAX_LOGIT_SHIFT, _MAX_LOGIT_SHIFT))
    return scores / (scores + (1 - scores) * odds)
