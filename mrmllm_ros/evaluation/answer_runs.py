# SPDX-License-Identifier: Apache-2.0
"""All questions about a scene, answered in one batch: the same answers as one by one, sooner."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import Cache, PreTrainedModel

from mrmllm_ros.answering.generation import end_tokens
from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer, MrMllmReading
from mrmllm_ros.model.processing_mrmllm import pad_left
from mrmllm_ros.model.prompt import cited_ids

MAX_NEW_TOKENS = 96


@dataclass(frozen=True)
class Reply:
    """What the model said to a question.

    Attributes:
        text: The answer.
        cited: Ids that it cites, those that name nothing included.
    """

    text: str
    cited: tuple[int, ...]


@torch.inference_mode()
def reply(
    answerer: MrMllmAnswerer,
    reading: MrMllmReading,
    questions: Sequence[str],
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> list[Reply]:
    """Answer questions about one scene, the likeliest token each time.

    Args:
        answerer: The model.
        reading: What it has made of the scene; it is left as it is.
        questions: N questions; empty ones ask for a description.
        max_new_tokens: Longest answer.
    """
    if not questions:
        return []
    count, prefix = len(questions), reading.prefix()
    ids, present = pad_left(
        [answerer.processor.chat.question_ids(question) for question in questions]
    )
    before = prefix.attention_mask.expand(count, -1)
    cache = copy.deepcopy(prefix.cache)
    if count > 1:
        cache.batch_repeat_interleave(count)
    language_model = answerer.model.language_model
    tokens = _greedy(
        language_model, ids, torch.cat([before, present.long()], 1), cache, max_new_tokens
    )
    tokenizer = answerer.model.text.tokenizer
    texts = [text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]
    return [Reply(text, cited_ids(text)) for text in texts]


def _greedy(
    model: PreTrainedModel,
    ids: torch.Tensor,
    mask: torch.Tensor,
    cache: Cache,
    most: int,
) -> list[list[int]]:
    """Continue N texts.

    Args:
        model: The language model.
        ids: (N, Q) int64 that have not been read yet.
        mask: (N, T + Q) int64 over what has been read and `ids`.
        cache: Keys and values of what has been read; grows.
        most: Longest continuation.

    Returns:
        N continuations, the token that ended each included.
    """
    ends = torch.tensor(end_tokens(model), device=ids.device)
    chosen: list[torch.Tensor] = []
    running = torch.ones(len(ids), dtype=torch.bool, device=ids.device)
    while len(chosen) < most and running.any():
        # Padding between what has been read and the question takes no position.
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        ids = logits[:, -1].argmax(-1, keepdim=True)
        chosen.append(torch.where(running, ids[:, 0], -1))
        running &= ~torch.isin(ids[:, 0], ends)
        mask = torch.nn.functional.pad(mask, (0, 1), value=1)
    return [[token for token in row if token >= 0] for row in torch.stack(chosen, 1).tolist()]
