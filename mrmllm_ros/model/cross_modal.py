# SPDX-License-Identifier: Apache-2.0
"""Perception-enhanced cross-modal integration, the paper's second mechanism.

From the paper: `H^(n+1) = L(H^(n), V_proj + P_proj)`, where perception outputs such as boxes are a
modality of their own. Ours: what `P_proj` encodes and how, and that `V_proj + P_proj` enters the
language model `L` in two ways, as tokens of its input and, through gates that start closed, in its
upper layers (gates as in Flamingo, Alayrac et al., arXiv 2204.14198).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

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
            boxes: (B, K, 4) float32 centre and size as shares of the image.
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
            boxes: (B, K, 4) float32 centre and size as shares of the image.
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


class GatedInjection(nn.Module):
    """Lets the hidden states of one language layer attend to the query tokens.

    With its gate at zero, where it starts, it changes nothing.
    """

    def __init__(self, config: MrMllmConfig) -> None:
        super().__init__()
        self.heads = config.fusion_heads
        self.norm = nn.LayerNorm(config.language_width)
        self.query = nn.Linear(config.language_width, config.fusion_width, bias=False)
        self.key_value = nn.Linear(config.language_width, 2 * config.fusion_width, bias=False)
        self.out = nn.Linear(config.fusion_width, config.language_width, bias=False)
        self.gate = nn.Parameter(torch.zeros(()))

    def keys_values(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What hidden states attend to; the same for every question about a frame.

        Args:
            tokens: (B, S + K, d_llm) query tokens.

        Returns:
            Keys and values, each (B, heads, 1 + S + K, d / heads). The first of them is zero:
            what a hidden state attends to where nothing in the image concerns it.
        """
        both = functional.pad(self.key_value(tokens), (0, 0, 1, 0))
        keys, values = both.chunk(2, -1)
        return self._split(keys), self._split(values)

    def forward(
        self, hidden: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Add what the query tokens tell.

        Args:
            hidden: (B, T, d_llm) hidden states.
            keys: As `keys_values` gives them.
            values: As `keys_values` gives them.
            mask: (B, S + K) bool, true where there is a query token.

        Returns:
            (B, T, d_llm)
        """
        queries = self._split(self.query(self.norm(hidden)))
        visible = functional.pad(mask, (1, 0), value=True)[:, None, None, :]
        told = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=visible)
        return hidden + self.gate.tanh() * self.out(told.transpose(1, 2).flatten(2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


@dataclass(frozen=True, eq=False)
class Injection:
    """What is injected while the language model runs.

    Attributes:
        layers: The injection of each layer that it reaches.
        keys_values: Keys and values for each of them.
        mask: (B, S + K) bool, true where there is a query token.
        start: Positions before this one are left alone: what the language model reads before it
            has come to the query tokens.
    """

    layers: nn.ModuleList
    keys_values: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    mask: torch.Tensor
    start: int = 0

    @classmethod
    def of(
        cls, layers: nn.ModuleList, tokens: torch.Tensor, mask: torch.Tensor, start: int = 0
    ) -> Injection:
        """Compute keys and values of the query tokens for every layer."""
        return cls(layers, tuple(layer.keys_values(tokens) for layer in layers), mask, start)

    def of_item(self, index: int) -> Injection:
        """That of one item of the batch."""
        item = slice(index, index + 1)
        keys_values = tuple((keys[item], values[item]) for keys, values in self.keys_values)
        return Injection(self.layers, keys_values, self.mask[item], self.start)


# A context variable, because several threads run the same language model for different frames.
_injection: ContextVar[Injection | None] = ContextVar("injection", default=None)


@contextmanager
def injected(injection: Injection | None) -> Iterator[None]:
    """While this lasts, the language model runs with the injection, in this thread only."""
    token = _injection.set(injection)
    try:
        yield
    finally:
        _injection.reset(token)


def hook_injections(language_model: PreTrainedModel, injections: nn.ModuleList) -> None:
    """Let the injections follow the uppermost layers of a language model, whatever its family.

    Args:
        language_model: Any decoder of `transformers`.
        injections: One `GatedInjection` for each layer that shall be reached.
    """
    layers = decoder_layers(language_model)[-len(injections) :]
    for index, layer in enumerate(layers):
        layer.register_forward_hook(_hook(injections, index))


def decoder_layers(language_model: PreTrainedModel) -> nn.ModuleList:
    """The list of the decoder layers.

    Raises:
        ValueError: If the model has none of the length that its configuration says.
    """
    count = language_model.config.get_text_config().num_hidden_layers
    # The decoder alone: a model may hold an encoder of images that is as deep.
    for module in language_model.get_decoder().modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise ValueError(f"{type(language_model).__name__} has no list of {count} decoder layers")


def _hook(injections: nn.ModuleList, index: int):  # noqa: ANN202
    def after_layer(
        layer: nn.Module, inputs: tuple, output: torch.Tensor | tuple[torch.Tensor, ...]
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        injection = _injection.get()
        if injection is None or injection.layers is not injections:
            return output
        # Some families give the hidden states alone, some with more behind them.
        if isinstance(output, tuple):
            return (_inject(injection, index, output[0]), *output[1:])
        return _inject(injection, index, output)

    return after_layer


def _inject(injection: Injection, index: int, hidden: torch.Tensor) -> torch.Tensor:
    layer, (keys, values) = injection.layers[index], injection.keys_values[index]
    before, after = hidden[:, : injection.start], hidden[:, injection.start :]
    return torch.cat([before, layer(after, keys, values, injection.mask)], 1)
