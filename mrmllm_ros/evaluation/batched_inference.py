# SPDX-License-Identifier: Apache-2.0
"""Encode scenes and answer questions about them in batches."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from transformers import Cache, PreTrainedModel

from mrmllm_ros.answering.generation import end_tokens
from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer, MrMllmEncodedImage
from mrmllm_ros.datasets import candidate_cache
from mrmllm_ros.datasets.candidate_cache import batches
from mrmllm_ros.datasets.example import Example, QuestionAnswer
from mrmllm_ros.detection.boxes import box_iou
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.model.label_fusion import LabelFusion
from mrmllm_ros.model.processing_mrmllm import pad_left
from mrmllm_ros.training.collator import frame_batch

MAX_NEW_TOKENS = 96


def encode_examples(
    answerer: MrMllmAnswerer, examples: Sequence[Example]
) -> Iterator[MrMllmEncodedImage]:
    """Encode scenes with or without images, one batch at a time on demand."""
    for batch in batches(examples):
        # Without targets, which would add labels to choose from.
        frames = frame_batch(answerer.processor, [replace(each, targets=None) for each in batch])
        yield from answerer.encode_batch(frames, [each.perception for each in batch])


def fuse_labels(answerer: MrMllmAnswerer, examples: Sequence[Example]) -> list[Example]:
    """Correct the detector's labels, as `MrMllmAnswerer.encode` does.

    Scenes without names of regions do not change.
    """
    if answerer.label_fusion is None:
        return list(examples)
    return [
        _fuse_labels(each, answerer.label_fusion) if _has_names(each) else each
        for each in examples
    ]


def _has_names(example: Example) -> bool:
    return example.region_names is not None and len(example.perception.candidates) > 0


def _fuse_labels(example: Example, fusion: LabelFusion) -> Example:
    fused, order = candidate_cache.fuse_labels(example, fusion)
    # A removed duplicate becomes the object that covers it most.
    before, after = example.perception.candidates, fused.perception.candidates
    nearest = box_iou(before.xyxy, after.xyxy).argmax(1)
    nearest[order] = np.arange(len(order))
    new_ids = {old + 1: int(new) + 1 for old, new in enumerate(nearest)}
    questions = tuple(_renumbered(item, new_ids) for item in example.questions)
    return replace(fused, questions=questions)


def _renumbered(item: QuestionAnswer, new_ids: Mapping[int, int]) -> QuestionAnswer:
    truth = item.truth
    cited = truth.cited and frozenset(new_ids[i] for i in truth.cited)
    pairs = truth.pairs and frozenset((new_ids[i], word) for i, word in truth.pairs)
    return replace(item, truth=replace(truth, cited=cited, pairs=pairs))


def enrich(answerer: MrMllmAnswerer, examples: Sequence[Example]) -> list[EnrichedDetections]:
    """Enrich the detections of scenes with the fusion model."""
    fused = fuse_labels(answerer, examples)
    return [encoded.enriched for encoded in encode_examples(answerer, fused)]


@torch.inference_mode()
def answer_questions(
    answerer: MrMllmAnswerer,
    encoded: MrMllmEncodedImage,
    questions: Sequence[str],
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> list[str]:
    """Answer questions about one scene in one batch, with greedy decoding.

    Args:
        answerer: The model.
        encoded: The encoded scene; not modified.
        questions: N questions; empty questions ask for a description.
        max_new_tokens: Maximum number of tokens of an answer.
    """
    if not questions:
        return []
    count, prefilled = len(questions), encoded.prefilled()
    ids, present = pad_left(
        [answerer.processor.chat.question_ids(question) for question in questions]
    )
    before = prefilled.attention_mask.expand(count, -1)
    cache = copy.deepcopy(prefilled.past_key_values)
    if count > 1:
        cache.batch_repeat_interleave(count)
    language_model = answerer.model.language_model
    tokens = _greedy(
        language_model, ids, torch.cat([before, present.long()], 1), cache, max_new_tokens
    )
    tokenizer = answerer.model.text.tokenizer
    return [text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]


def _greedy(
    model: PreTrainedModel,
    ids: torch.Tensor,
    mask: torch.Tensor,
    cache: Cache,
    max_new_tokens: int,
) -> list[list[int]]:
    """Continue N texts.

    Args:
        model: The language model.
        ids: (N, Q) int64 tokens after the cached ones.
        mask: (N, T + Q) int64 over cached tokens and `ids`.
        cache: Keys and values of the cached tokens; extended.
        max_new_tokens: Maximum number of tokens of a continuation.

    Returns:
        N continuations with their end tokens.
    """
    ends = torch.tensor(end_tokens(model), device=ids.device)
    chosen: list[torch.Tensor] = []
    running = torch.ones(len(ids), dtype=torch.bool, device=ids.device)
    while len(chosen) < max_new_tokens and running.any():
        # Position ids skip the padding between cached tokens and question.
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
