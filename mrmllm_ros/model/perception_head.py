# SPDX-License-Identifier: Apache-2.0
"""Back to perception: what the language model's states say about each object.

From the paper: comprehension strengthens perception where the detector meets what it was not
trained on. How is ours: an object's query, and the language model's hidden state there, give a
score, a label from any vocabulary, a correction of the box, attributes and a novelty; or some of
these, where only some are trained. The head starts as the identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig

# How far an edge may move, as a share of the box: at half, opposite edges could meet.
REACH = 0.45
# Log-odds to start with of the detector's own label.
_TRUST = 4.0
# Log-odds of novelty to start training with: everything is familiar.
_FAMILIAR = -2.0
# Numbers that an output is; the others are as wide as the head.
_WIDTHS = {"score": 1, "box": 4, "novelty": 1}
# Of log-odds; beyond it, a probability of float32 would be 0 or 1 and soon not a number.
_MOST_SHIFT = 15.0


@dataclass(frozen=True, eq=False)
class LabelSpace:
    """The labels to choose from and what the detector chose.

    Attributes:
        names: The V labels.
        texts: (V, d_llm) mean token embedding of each label's text.
        vocabulary: Every object may get one of the first so many labels; the others are open
            only to the objects that the detector gave them to.
        detector: (B, K) int64, index of the detector's label.
    """

    names: tuple[str, ...]
    texts: torch.Tensor
    vocabulary: int
    detector: torch.Tensor

    @property
    def chosen(self) -> torch.Tensor:
        """(B, K, V) bool, true at the detector's label."""
        return self.detector[..., None] == torch.arange(len(self.texts), device=self.texts.device)

    @property
    def open(self) -> torch.Tensor:
        """(B, K, V) bool, true where an object may get a label."""
        count = len(self.texts)
        return self.chosen | (torch.arange(count, device=self.texts.device) < self.vocabulary)


@dataclass(frozen=True, eq=False)
class PerceptionOutput:
    """What the head says of each object.

    Attributes:
        scores: (B, K) fused confidence, 0 to 1.
        label_logits: (B, K, V) over the labels, minus infinity where one is not open.
        edge_shifts: (B, K, 4) how far left, top, right and bottom move, as shares of the box's
            width and height.
        attribute_logits: For each attribute, (B, K, A) over its values.
        novelty_logits: (B, K) log-odds that what the detector saw of the object is unlike what
            it knows: hidden, damaged, out of place.
    """

    scores: torch.Tensor
    label_logits: torch.Tensor
    edge_shifts: torch.Tensor
    attribute_logits: dict[str, torch.Tensor]
    novelty_logits: torch.Tensor

    @property
    def novelty(self) -> torch.Tensor:
        """(B, K), 0 familiar to 1 corner case."""
        return self.novelty_logits.sigmoid()

    def of_item(self, index: int) -> PerceptionOutput:
        """That of one item of the batch, without the dimension B."""
        return PerceptionOutput(
            scores=self.scores[index],
            label_logits=self.label_logits[index],
            edge_shifts=self.edge_shifts[index],
            attribute_logits={k: v[index] for k, v in self.attribute_logits.items()},
            novelty_logits=self.novelty_logits[index],
        )


class PerceptionHead(nn.Module):
    """Judges an object by its query, before and after the language model has read it.

    The state before knows the image, the one after what it means in its context.
    """

    def __init__(self, config: MrMllmConfig) -> None:
        super().__init__()
        width, names = config.fusion_width, config.perception_outputs
        self.trunk = _projection(config)
        self.read = _projection(config, bias=False) if config.perceives_by_reading else None
        self.text = _projection(config) if {"label", "attribute"} & {*names} else None
        self.outputs = nn.ModuleDict(
            {name: nn.Linear(width, _WIDTHS.get(name, width)) for name in names}
        )
        self.trust = nn.Parameter(torch.full((), _TRUST))

    def start_as_identity(self) -> None:
        """Set every output to zero; what the detector said stays.

        What the language model has made of the queries starts without a say, too.
        """
        for output in self.outputs.values():
            nn.init.zeros_(output.weight)
            nn.init.zeros_(output.bias)
        if self.read is not None:
            nn.init.zeros_(self.read[1].weight)

    def forward(
        self,
        objects: torch.Tensor,
        read: torch.Tensor | None,
        scores: torch.Tensor,
        labels: LabelSpace,
        attributes: dict[str, torch.Tensor],
    ) -> PerceptionOutput:
        """Judge each object.

        Args:
            objects: (B, K, d_llm) query tokens.
            read: (B, K, d_llm) hidden states of the language model once it has read them in their
                context; None where it does not.
            scores: (B, K) float32, the detector's confidence.
            labels: Labels to choose from.
            attributes: For each attribute, (A, d_llm) mean token embedding of its values' texts.
        """
        mixed = self.trunk(objects)
        if read is not None:
            mixed = mixed + self.read(read)
        states = functional.gelu(mixed)  # (B, K, d)
        return PerceptionOutput(
            scores=_shift_odds(scores, self._say("score", states)[..., 0].float()),
            label_logits=self._prior(labels) + self._similarity("label", states, labels.texts),
            edge_shifts=REACH * self._say("box", states).float().tanh(),
            attribute_logits={
                name: self._similarity("attribute", states, texts)
                for name, texts in attributes.items()
            },
            novelty_logits=self._familiar + self._say("novelty", states)[..., 0].float(),
        )

    @property
    def _familiar(self) -> float:
        """Log-odds of the novelty of what nothing else is said of."""
        return _FAMILIAR if "novelty" in self.outputs else -torch.inf

    def _say(self, output: str, states: torch.Tensor) -> torch.Tensor:
        """(B, K, width of the output); zeros, which change nothing, where it is not trained."""
        if output in self.outputs:
            return self.outputs[output](states)
        return states.new_zeros(*states.shape[:-1], _WIDTHS[output])

    def _prior(self, labels: LabelSpace) -> torch.Tensor:
        """(B, K, V) logits that say what the detector says.

        The trust is the log-odds of its label against all others together, however many.
        """
        others = (labels.open.sum(-1, keepdim=True) - 1).clamp(min=1).float().log()  # (B, K, 1)
        # Where labels are not trained no loss reaches it, for which training on several processes
        # would wait.
        trust = self.trust if "label" in self.outputs else self.trust.detach()
        prior = labels.chosen * (trust.float() + others)
        return prior.masked_fill(~labels.open, -torch.inf)

    def _similarity(self, output: str, states: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """(B, K, V) float32, of what is said to (V, d_llm) texts; zeros where untrained."""
        if output not in self.outputs:
            return torch.zeros(*states.shape[:-1], len(texts), device=states.device)
        directions = functional.normalize(self.text(texts), dim=-1)
        return (self.outputs[output](states) @ directions.T).float()


def _projection(config: MrMllmConfig, bias: bool = True) -> nn.Sequential:
    """From the language model's width to the head's."""
    linear = nn.Linear(config.language_width, config.fusion_width, bias=bias)
    return nn.Sequential(nn.LayerNorm(config.language_width), linear)


def _shift_odds(scores: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Add to the log-odds of a probability; written so that zero changes nothing at all."""
    odds = torch.exp(-shift.clamp(-_MOST_SHIFT, _MOST_SHIFT))
    return scores / (scores + (1 - scores) * odds)
