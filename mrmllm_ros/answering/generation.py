# SPDX-License-Identifier: Apache-2.0
"""Generate text with `transformers`: streaming, interruptible, with a confidence."""

from __future__ import annotations

from collections.abc import Container, Mapping
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

from mrmllm_ros.answering.answerer import Answer, Decoding, TextListener
from mrmllm_ros.model.citations import cited_ids


def end_tokens(model: PreTrainedModel) -> tuple[int, ...]:
    """Ids of the tokens that end a text; empty if the model has none."""
    ends = model.generation_config.eos_token_id
    if ends is None:
        return ()
    return tuple(ends) if isinstance(ends, (list, tuple)) else (ends,)


@torch.inference_mode()
def generate_answer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Mapping[str, Any],
    decoding: Decoding,
    listener: TextListener,
    citable: Container[int],
) -> Answer:
    """Generate the answer to one prompt.

    Args:
        model: Any model with `generate`.
        tokenizer: Its tokenizer.
        inputs: Inputs of `generate`; `input_ids` is (1, T).
        decoding: How tokens are chosen.
        listener: Receives the text piece by piece and may end it.
        citable: Ids of the objects in the prompt; citations of other ids are dropped.

    Returns:
        The answer; if the listener ended it, the text so far.
    """
    distribution = _Distribution()
    follower = _Follower(distribution, listener)
    # The default of `top_k` is 50.
    sampling = {"temperature": decoding.temperature, "top_k": 0} if decoding.temperature else {}
    output = model.generate(
        **inputs,
        max_new_tokens=decoding.max_new_tokens,
        do_sample=bool(sampling),
        **sampling,
        streamer=_ListenerStreamer(tokenizer, listener),
        stopping_criteria=StoppingCriteriaList([follower]),
        logits_processor=LogitsProcessorList([distribution]),
    )
    tokens = output[0, inputs["input_ids"].shape[1] :].tolist()
    at_limit = len(tokens) == decoding.max_new_tokens
    text = tokenizer.decode(tokens, skip_special_tokens=True).strip()
    return Answer(
        text=text,
        confidence=follower.mean_probability(),
        cited=cited_ids(text, citable),
        token_ids=tuple(tokens),
        truncated=at_limit and tokens[-1] not in end_tokens(model),
    )


class _ListenerStreamer(TextStreamer):
    """Passes each piece of text to a listener."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, listener: TextListener) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._listener = listener

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        if text:
            self._listener.on_text(text)


class _Distribution(LogitsProcessor):
    """Keeps the probabilities of the next token."""

    def __init__(self) -> None:
        self.newest: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.newest = scores[0].float().softmax(-1)
        return scores


class _Follower(StoppingCriteria):
    """Records the probability of each chosen token and ends generation for the listener."""

    def __init__(self, distribution: _Distribution, listener: TextListener) -> None:
        self._distribution = distribution
        self._listener = listener
        self._probabilities: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        self._probabilities.append(self._distribution.newest[input_ids[0, -1]])
        stop = self._listener.should_stop()
        return torch.full((len(input_ids),), stop, dtype=torch.bool, device=input_ids.device)

    def mean_probability(self) -> float:
        """Mean probability of the tokens so far; 0 without tokens."""
        if not self._probabilities:
            return 0.0
        return float(torch.stack(self._probabilities).mean())
