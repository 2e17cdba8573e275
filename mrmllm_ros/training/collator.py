# SPDX-License-Identifier: Apache-2.0
"""Collate examples to batches of tensors for the model and the losses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from mrmllm_ros.datasets.example import Example, QuestionAnswer, Targets
from mrmllm_ros.model.citations import cited_ids
from mrmllm_ros.model.configuration_mrmllm import COLORS
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.perception_head import MAX_EDGE_SHIFT
from mrmllm_ros.model.processing_mrmllm import ChatFormat, FrameBatch, MrMllmProcessor, TextBatch
from mrmllm_ros.model.prompt import distances

T = TypeVar("T")

_COLOR = re.compile(rf"\b({'|'.join(COLORS)})\b", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class TargetBatch:
    """Targets of the perception head for the candidates of B scenes.

    Attributes:
        scores: (B, K) float32, NaN if unknown and at padding.
        labels: (B, K) int64 indices into the batch's labels, -1 if unknown.
        edge_shifts: (B, K, 4) float32 as in `PerceptionOutput`, NaN if unknown.
        attributes: For each attribute, (B, K) int64 indices of values, -1 if unknown.
        novelty: (B, K) float32, NaN if unknown.
    """

    scores: torch.Tensor
    labels: torch.Tensor
    edge_shifts: torch.Tensor
    attributes: Mapping[str, torch.Tensor]
    novelty: torch.Tensor


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """B scenes with questions, answers and targets.

    Attributes:
        frames: Frames of the scenes.
        system_prompt_ids: (P,) int64 tokens.
        texts: Questions and answers.
        logits_mask: (B, T) bool, true at tokens that an answer's token follows.
        next_ids: (W,) int64 tokens that follow them.
        targets: Targets of the perception head.
    """

    frames: FrameBatch
    system_prompt_ids: torch.Tensor
    texts: TextBatch
    logits_mask: torch.Tensor
    next_ids: torch.Tensor
    targets: TargetBatch

    def to(self, device: torch.device) -> TrainingBatch:
        """Move the batch to a device."""
        return _moved(self, device)


class Collator:
    """Collates examples to training batches.

    Attributes:
        processor: Processor of the model.
        attributes: Values of each attribute that the head predicts.
    """

    def __init__(
        self,
        processor: MrMllmProcessor,
        language_model: LanguageModel,
        attributes: Mapping[str, Sequence[str]],
    ) -> None:
        self.processor = processor
        self.attributes = attributes
        self._language_model = language_model
        self._with_objects = processor.chat
        self._without_objects = ChatFormat(language_model, False, False)

    def __call__(self, examples: Sequence[Example], with_prompt: bool = True) -> TrainingBatch:
        """Collate examples.

        Args:
            examples: B examples.
            with_prompt: Whether the prompt lists the objects.
        """
        self.processor.chat = self._with_objects if with_prompt else self._without_objects
        if not with_prompt:
            examples = [_without_hidden(example) for example in examples]
        frames = frame_batch(self.processor, examples)
        examples = [_within(*each) for each in zip(examples, frames.prompts.citable, strict=True)]
        texts, logits_mask, next_ids = self._texts(examples)
        return TrainingBatch(
            frames=frames,
            system_prompt_ids=self.processor.chat.system_prompt_ids,
            texts=texts,
            logits_mask=logits_mask,
            next_ids=next_ids,
            targets=self._targets(examples, frames),
        )

    def _texts(self, examples: Sequence[Example]) -> tuple[TextBatch, torch.Tensor, torch.Tensor]:
        rows = [self._row(example.questions) for example in examples]
        ids, segment_ids, answers = (
            pad_sequence([row[i] for row in rows], batch_first=True, padding_value=padding)
            for i, padding in enumerate((0, -1, False))
        )
        # The logits at a token predict the next token.
        logits_mask = answers.roll(-1, 1)
        logits_mask[:, -1:] = False
        return TextBatch(ids, segment_ids), logits_mask, ids[answers]

    def _row(
        self, questions: Sequence[QuestionAnswer]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Tokens of the texts about one scene, their segment ids, and a mask of the answers."""
        ids, segment_ids, answers = [], [], []
        for i, question in enumerate(questions):
            asked = self.processor.chat.question_ids(question.question)
            answered = self._answer_ids(question.answer)
            ids += [asked, answered]
            segment_ids += [i] * (len(asked) + len(answered))
            answers += [False] * len(asked) + [True] * len(answered)
        device = self.processor.chat.system_prompt_ids.device
        none = torch.zeros(0, dtype=torch.int64, device=device)
        return (
            torch.cat(ids) if ids else none,
            torch.tensor(segment_ids, dtype=torch.int64, device=device),
            torch.tensor(answers, dtype=torch.bool, device=device),
        )

    def _answer_ids(self, answer: str) -> torch.Tensor:
        language_model = self._language_model
        return language_model.tokenize(
            language_model.plain(answer) + language_model.tokenizer.eos_token
        )

    def _targets(self, examples: Sequence[Example], frames: FrameBatch) -> TargetBatch:
        objects = frames.objects
        count, device = objects.scores.shape[1], objects.scores.device
        index = {label: i for i, label in enumerate(objects.labels.names)}
        all_targets = [_cut(_targets_of(example), count) for example in examples]

        def floats(rows: Sequence[np.ndarray]) -> torch.Tensor:
            tensors = [torch.from_numpy(np.float32(row)) for row in rows]
            return _padded(tensors, count, torch.nan).to(device)

        def indices(rows: Sequence[list[int]]) -> torch.Tensor:
            tensors = [torch.tensor(row, dtype=torch.int64) for row in rows]
            return _padded(tensors, count, -1).to(device)

        return TargetBatch(
            scores=floats([t.scores for t in all_targets]),
            labels=indices([[index.get(label, -1) for label in t.labels] for t in all_targets]),
            edge_shifts=floats(
                [_edge_shifts(e, t.xyxy) for e, t in zip(examples, all_targets, strict=True)]
            ),
            attributes={
                name: indices(
                    [[_index(values, a.get(name)) for a in t.attributes] for t in all_targets]
                )
                for name, values in self.attributes.items()
            },
            novelty=floats([t.novelty for t in all_targets]),
        )


def frame_batch(processor: MrMllmProcessor, examples: Sequence[Example]) -> FrameBatch:
    """Create a batch of frames from scenes with or without an image.

    Args:
        processor: Processor of the model.
        examples: B examples.
    """
    has_image = [example.visual is not None for example in examples]
    device = processor.chat.system_prompt_ids.device
    targets = [example.targets for example in examples if example.targets is not None]
    perceptions = [_with_features(processor, example) for example in examples]
    labels = sorted({label for target in targets for label in target.labels if label})
    frames = FrameBatch(
        objects=processor.objects(perceptions, labels),
        visual=torch.stack([_tokens(processor, example) for example in examples]).to(device),
        has_image=torch.tensor(has_image, device=device),
    )
    attributes = [example.attributes[: example.perception.reported] for example in examples]
    return processor.add_prompts(frames, perceptions, attributes)


def _within(example: Example, citable: frozenset[int]) -> Example:
    """Drop the questions whose answers cite objects that the prompt does not name.

    Args:
        example: An example.
        citable: Ids of the objects that can be cited.
    """
    kept = (q for q in example.questions if citable.issuperset(cited_ids(q.answer)))
    return replace(example, questions=tuple(kept))


def _without_hidden(example: Example) -> Example:
    """Drop the questions that need the prompt, which the batch leaves out.

    Without an image, only the prompt holds colors, states and distances. Questions about them
    would train the model to invent answers.
    """
    if example.visual is not None:
        return example
    hidden = {"attribute"}
    if not np.isnan(distances(example.perception.detections)).all():
        hidden.add("nearest")
    kept = (
        q
        for q in example.questions
        if q.family not in hidden and not _COLOR.search(f"{q.question} {q.answer}")
    )
    return replace(example, questions=tuple(kept))


def _with_features(processor: MrMllmProcessor, example: Example) -> Any:
    perception = example.perception
    features = perception.features
    if features is None:
        features = torch.zeros(len(perception.candidates), processor.perception_hidden_size)
    return replace(perception, box_features=features.float())


def _tokens(processor: MrMllmProcessor, example: Example) -> torch.Tensor:
    if example.visual is None:
        return torch.zeros(processor.visual_shape)
    return example.visual.float()


def _targets_of(example: Example) -> Targets:
    """Targets of an example, all unknown if it has none."""
    if example.targets is not None:
        return example.targets
    count = len(example.perception.candidates)
    unknown = np.full(count, np.nan, np.float32)
    return Targets(
        scores=unknown,
        labels=("",) * count,
        xyxy=np.full((count, 4), np.nan, np.float32),
        attributes=({},) * count,
        novelty=unknown,
    )


def _cut(targets: Targets, count: int) -> Targets:
    return Targets(
        scores=targets.scores[:count],
        labels=targets.labels[:count],
        xyxy=targets.xyxy[:count],
        attributes=targets.attributes[:count],
        novelty=targets.novelty[:count],
    )


def _edge_shifts(example: Example, xyxy: np.ndarray) -> np.ndarray:
    """(K, 4) target shifts of the edges, clipped to the maximum shift."""
    candidates = example.perception.candidates
    boxes = candidates.xyxy[: len(xyxy)]
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2).clip(1e-3)
    return ((xyxy - boxes) / sides).clip(-MAX_EDGE_SHIFT, MAX_EDGE_SHIFT)


def _index(values: Sequence[str], value: str | None) -> int:
    return values.index(value) if value in values else -1


def _padded(rows: list[torch.Tensor], length: int, value: float) -> torch.Tensor:
    """Stack rows, padded to `length`."""
    filler = torch.full((length, *rows[0].shape[1:]), value, dtype=rows[0].dtype)
    return pad_sequence([filler, *rows], batch_first=True, padding_value=value)[1:]


def _moved(value: T, device: torch.device) -> T:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if is_dataclass(value):
        return replace(
            value, **{f.name: _moved(getattr(value, f.name), device) for f in fields(value)}
        )
    if isinstance(value, Mapping):
        return {name: _moved(item, device) for name, item in value.items()}
    return value
