# SPDX-License-Identifier: Apache-2.0
"""Score continuations of names with the language model, such as kinds of things."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, PreTrainedModel

from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.packed_attention import PADDING, SHARED, additive_mask, visible_tokens

_BATCH = 8


class LabelScorer:
    """Computes log-probabilities of kinds as continuations of names.

    The examples are processed once. A pass processes a batch of names, each followed by a colon
    and all kinds without their last tokens; kinds do not attend to each other.
    """

    def __init__(self, language_model: LanguageModel, kinds: Sequence[str], examples: str) -> None:
        """Process the examples.

        Args:
            language_model: The language model.
            kinds: M labels or other continuations; at least one.
            examples: Lines before each name, such as `rose: flower`.
        """
        self._language_model = language_model
        self._kinds = [language_model.tokenize(" " + language_model.plain(k)) for k in kinds]
        self._examples = DynamicCache(config=self._model.config)
        with torch.inference_mode():
            self._model(
                input_ids=language_model.tokenize(examples)[None],
                past_key_values=self._examples,
                use_cache=True,
                logits_to_keep=1,
            )

    def scores(self, names: Sequence[str]) -> Iterator[np.ndarray]:
        """Score all kinds as continuations of names, batch by batch.

        Args:
            names: N names.

        Yields:
            (M, B) float32 log-probabilities of the next B names.
        """
        for start in range(0, len(names), _BATCH):
            yield self._score(names[start : start + _BATCH])

    @property
    def _model(self) -> PreTrainedModel:
        return self._language_model.model

    @torch.inference_mode()
    def _score(self, names: Sequence[str]) -> np.ndarray:
        plain = self._language_model.plain
        prompts = [self._language_model.tokenize(f"{plain(name)}:") for name in names]
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self._model.device)
        ids, segments = self._pack(prompts, lengths)
        before = self._examples.get_seq_length()
        cache = copy.deepcopy(self._examples)
        cache.batch_repeat_interleave(len(names))
        visible = visible_tokens(segments)  # (B, T, T)
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
        # The last token of a name predicts the first token of every kind.
        after_names = predicted[torch.arange(len(names)), lengths - 1]  # (B, vocabulary)
        scores = after_names[:, [int(kind[0]) for kind in self._kinds]]
        column = int(lengths.max())
        for i, kind in enumerate(self._kinds):
            for token in kind[1:]:
                scores[:, i] += predicted[:, column, token]
                column += 1
        return scores.T.cpu().numpy()

    def _pack(
        self, prompts: list[torch.Tensor], lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and segments, both (B, T), of names, each followed by the kinds."""
        names = pad_sequence(prompts, batch_first=True)
        columns = torch.arange(names.shape[1], device=names.device)
        segments = torch.where(columns < lengths[:, None], SHARED, PADDING)
        kinds = torch.cat([kind[:-1] for kind in self._kinds])
        owners = [i for i, kind in enumerate(self._kinds) for _ in kind[1:]]
        owner_ids = torch.tensor(owners, dtype=torch.int64, device=names.device)
        return (
            torch.cat([names, kinds.expand(len(prompts), -1)], 1),
            torch.cat([segments, owner_ids.expand(len(prompts), -1)], 1),
        )
