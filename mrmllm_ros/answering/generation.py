# SPDX-License-Identifier: Apache-2.0
"""Generation through `transformers` that streams, can be stopped, and rates itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
    TextStreamer,
)


@dataclass(frozen=True)
class Listener:
    """Who follows a text while it is generated.

    Attributes:
        on_text: Called with each piece of text as soon as it is complete.
        should_stop: Asked after every token; true ends the text there.
    """

    on_text: Callable[[str], None]
    should_stop: Callable[[], bool]


@dataclass(frozen=True)
class Decoding:
    """How tokens are chosen.

    Attributes:
        max_new_tokens: Longest text.
        temperature: 0 takes the likeliest token each time; above it, tokens are drawn, the more
            evenly the higher it is.
    """

    max_new_tokens: int
    temperature: float = 0.0


@dataclass(frozen=True)
class Generation:
    """A generated text.

    Attributes:
        text: The text without special tokens.
        confidence: Mean probability of its tokens, 0 to 1; 0 where there are none.
        token_ids: Its tokens, the one that ended it included.
        truncated: Whether it ended at `Decoding.max_new_tokens` and not by itself.
    """

    text: str
    confidence: float
    token_ids: tuple[int, ...]
    truncated: bool


def end_tokens(model: PreTrainedModel) -> tuple[int, ...]:
    """Ids of the tokens that end a text; none where a model has no such token."""
    ends = model.generation_config.eos_token_id
    if ends is None:
        return ()
    return tuple(ends) if isinstance(ends, (list, tuple)) else (ends,)


@torch.inference_mode()
def generate_text(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Mapping[str, Any],
    decoding: Decoding,
    listener: Listener,
) -> Generation:
    """Continue one prompt.

    Args:
        model: Any model that `generate` runs.
        tokenizer: Its tokenizer.
        inputs: What its `generate` takes; `input_ids` is (1, T).
        decoding: How tokens are chosen.
        listener: Who follows.

    Returns:
        The text so far, however it ended.
    """
    distribution = _Distribution()
    follower = _Follower(distribution, listener.should_stop)
    # Left out, `top_k` is 50.
    drawn = {"temperature": decoding.temperature, "top_k": 0}
    sampling = drawn if decoding.temperature > 0 else {}
    output = model.generate(
        **inputs,
        max_new_tokens=decoding.max_new_tokens,
        do_sample=bool(sampling),
        **sampling,
        streamer=_CallbackStreamer(tokenizer, listener.on_text),
        stopping_criteria=StoppingCriteriaList([follower]),
        logits_processor=LogitsProcessorList([distribution]),
    )
    tokens = output[0, inputs["input_ids"].shape[1] :].tolist()
    at_limit = len(tokens) == decoding.max_new_tokens
    return Generation(
        text=tokenizer.decode(tokens, skip_special_tokens=True).strip(),
        confidence=follower.mean_probability(),
        token_ids=tuple(tokens),
        truncated=at_limit and tokens[-1] not in end_tokens(model),
    )


class _CallbackStreamer(TextStreamer):
    """Hands each piece of text to a function."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, on_text: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._on_text = on_text

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        if text:
            self._on_text(text)


class _Distribution(LogitsProcessor):
    """Keeps the model's probabilities for the next token."""

    def __init__(self) -> None:
        self.newest: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.newest = scores[0].float().softmax(-1)
        return scores


class _Follower(StoppingCriteria):
    """Notes the probability of each token that was chosen, and ends generation when asked to."""

    def __init__(self, distribution: _Distribution, should_stop: Callable[[], bool]) -> None:
        self._distribution = distribution
        self._should_stop = should_stop
        self._probabilities: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        self._probabilities.append(self._distribution.newest[input_ids[0, -1]])
        stop = self._should_stop()
        return torch.full((len(input_ids),), stop, dtype=torch.bool, device=input_ids.device)

    def mean_probability(self) -> float:
        """Of the tokens so far; 0 where there are none."""
        if not self._probabilities:
            return 0.0
        return float(torch.stack(self._probabilities).mean())
