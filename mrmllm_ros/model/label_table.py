# SPDX-License-Identifier: Apache-2.0
"""What class names mean as labels: `K(y|n)`, the probability that a thing named n is a y.

The visual encoder names regions in its own words. A name that ends with a label, as `Windsor tie`
ends with `tie`, has that label. For other names the language model is asked: after some examples
it continues `minivan:` with each label. Two corrections are ours: labels that fit every name lose
most of their mean score, and general kinds such as `animal` compete with the labels, because most
names have none of them.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, PreTrainedModel

from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.packed_attention import PADDING, SHARED, additive_mask, visible_tokens

# Kinds of things that compete with the labels.
OTHER_KINDS = (
    *("animal", "fish", "insect", "snake", "lizard", "monkey", "whale", "plant", "flower"),
    *("mushroom", "fruit", "vegetable", "food", "drink", "furniture", "tool", "machine", "weapon"),
    *("musical instrument", "building", "structure", "clothing", "shoe", "hat", "bag", "box"),
    *("container", "toy", "ball", "aircraft", "vehicle", "lamp", "screen", "camera", "computer"),
    *("door", "fence", "rock", "mountain", "water", "place", "material", "device", "game", "mask"),
    *("curtain", "rug", "paper"),
)
# None of them is a class name of ImageNet or a label of COCO.
_EXAMPLES = "rose: flower\nmug: cup\noak: tree\nsedan: car\nhamster: animal\npizza cutter: tool\n"
_SYNONYMS = 3  # of a name, in the language model's prompt
_BATCH = 8
# Chosen with class names of known kinds; see docs/labels.md.
_PRIOR_WEIGHT = 0.6
_TEMPERATURE = 0.5


@dataclass(frozen=True, eq=False)
class LabelTable:
    """`K(y|n)` of labels and names.

    Attributes:
        labels: V labels y.
        names: N class names n.
        values: (V, N) float32 from 0 to 1.

    Raises:
        ValueError: If the shape of `values` differs.
    """

    labels: tuple[str, ...]
    names: tuple[str, ...]
    values: np.ndarray

    def __post_init__(self) -> None:
        expected = (len(self.labels), len(self.names))
        if self.values.shape != expected:
            raise ValueError(f"values have shape {self.values.shape}, expected {expected}")

    @classmethod
    def of_strings(cls, labels: Sequence[str], names: Sequence[str]) -> LabelTable:
        """Table of the names that end with a label; see `string_matches`."""
        return cls(tuple(labels), tuple(names), string_matches(labels, names).astype(np.float32))

    @classmethod
    def of_language_model(
        cls, labels: Sequence[str], names: Sequence[str], language_model: LanguageModel
    ) -> LabelTable:
        """Table of string matches and the language model's knowledge.

        Args:
            labels: V labels.
            names: N class names.
            language_model: The language model; a table takes it N short passes.
        """
        scorer = LabelScorer(language_model, labels)
        known = probabilities(scorer.scores(names), len(labels))
        values = np.maximum(known, string_matches(labels, names))
        return cls(tuple(labels), tuple(names), values.astype(np.float32))


def string_matches(labels: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Find names that end with a label, in one of their synonyms.

    Args:
        labels: V labels.
        names: N names with synonyms separated by commas, such as `bow tie, bow-tie, bowtie`.

    Returns:
        (V, N) bool.
    """
    synonyms = [[_words(synonym) for synonym in name.split(",")] for name in names]
    matches = np.zeros((len(labels), len(names)), bool)
    for row, words in zip(matches, map(_words, labels), strict=True):
        row[:] = [any(own[-len(words) :] == words for own in of_name) for of_name in synonyms]
    return matches


def probabilities(scores: np.ndarray, labels: int) -> np.ndarray:
    """Convert scores of continuations to `K(y|n)`.

    Args:
        scores: (N, V + other kinds) log-probabilities of the labels and the other kinds.
        labels: Number V of labels.

    Returns:
        (V, N) probabilities; those of a name sum to less than 1.
    """
    logits = (scores - _PRIOR_WEIGHT * scores.mean(0)) / _TEMPERATURE
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return (odds / odds.sum(1, keepdims=True)).T[:labels]


class LabelScorer:
    """Scores labels as continuations of names, with the language model.

    The examples are processed once. A pass processes a batch of names, each followed by all labels
    without their last tokens; labels do not attend to each other.
    """

    def __init__(self, language_model: LanguageModel, labels: Sequence[str]) -> None:
        """Process the examples.

        Args:
            language_model: The language model.
            labels: V labels, to which `OTHER_KINDS` are added.
        """
        self._language_model = language_model
        kinds = (*labels, *(kind for kind in OTHER_KINDS if kind not in labels))
        self._kinds = [self._tokenize(" " + language_model.plain(kind)) for kind in kinds]
        examples = self._tokenize(_EXAMPLES)[None]
        self._examples = DynamicCache(config=self._model.config)
        with torch.inference_mode():
            self._model(input_ids=examples, past_key_values=self._examples, use_cache=True)

    def scores(self, names: Sequence[str]) -> np.ndarray:
        """Score all labels and other kinds as continuations of names.

        Args:
            names: N class names.

        Returns:
            (N, V + other kinds) float32 log-probabilities.
        """
        rows = [self._score(batch) for batch in _batches(names)]
        return np.concatenate([np.zeros((0, len(self._kinds)), np.float32), *rows])

    @property
    def _model(self) -> PreTrainedModel:
        return self._language_model.model

    def _tokenize(self, text: str) -> torch.Tensor:
        return self._language_model.tokenize(text)

    @torch.inference_mode()
    def _score(self, names: Sequence[str]) -> np.ndarray:
        """(B, V + other kinds) float32 log-probabilities."""
        prompts = [self._tokenize(f"{_shortened(name)}:") for name in names]
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self._model.device)
        ids, segments = self._pack(prompts, lengths)
        visible = visible_tokens(segments)
        before = self._examples.get_seq_length()
        cache = copy.deepcopy(self._examples)
        cache.batch_repeat_interleave(len(names))
        logits = self._model(
            input_ids=ids,
            attention_mask=additive_mask(
                functional.pad(visible, (before, 0), value=True), self._model.dtype
            ),
            position_ids=before + (visible.sum(-1) - 1).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
        ).logits
        predicted = logits.float().log_softmax(-1)
        ends = predicted[torch.arange(len(names)), lengths - 1]  # (B, vocabulary)
        scores = ends[:, [int(kind[0]) for kind in self._kinds]]
        column = int(lengths.max())
        for i, kind in enumerate(self._kinds):
            for token in kind[1:]:
                scores[:, i] += predicted[:, column, token]
                column += 1
        return scores.cpu().numpy()

    def _pack(
        self, prompts: list[torch.Tensor], lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and segments (B, T) of each name, followed by all labels without last tokens."""
        names = pad_sequence(prompts, batch_first=True)
        columns = torch.arange(names.shape[1], device=names.device)
        segments = torch.where(columns < lengths[:, None], SHARED, PADDING)
        labels = torch.cat([kind[:-1] for kind in self._kinds])
        owners = [i for i, kind in enumerate(self._kinds) for _ in kind[1:]]
        parts = torch.tensor(owners, dtype=torch.int64, device=names.device)
        batch = len(prompts)
        return (
            torch.cat([names, labels.expand(batch, -1)], 1),
            torch.cat([segments, parts.expand(batch, -1)], 1),
        )


def _shortened(name: str) -> str:
    return ", ".join(name.split(", ")[:_SYNONYMS])


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _BATCH):
        yield names[start : start + _BATCH]
