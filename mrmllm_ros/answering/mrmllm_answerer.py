# SPDX-License-Identifier: Apache-2.0
"""MR-MLLM at work: reads frames once, enriches their detections, answers questions about them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
import torch
from transformers import Cache

from mrmllm_ros.answering.answerer import Answer, Answerer, Question, Reading, require_room
from mrmllm_ros.answering.generation import Listener, generate_text
from mrmllm_ros.detection.colors import with_colors
from mrmllm_ros.detection.detector import FixedVocabularyError, Perception, distinct
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.checkpoint import MrMllmSettings
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig
from mrmllm_ros.model.modeling_mrmllm import FramePass, MrMllm, ObjectStates
from mrmllm_ros.model.processing_mrmllm import FrameBatch, MrMllmProcessor, enriched_detections
from mrmllm_ros.model.prompt import PromptSettings, cited_ids

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Prefix:
    """A frame as the language model has read it.

    Attributes:
        attention_mask: (1, T) int64 over all that has been read.
        cache: Its keys and values; copied for each question.
        listed: Number of objects in the prompt, which are those that can be cited.
    """

    attention_mask: torch.Tensor
    cache: Cache
    listed: int


class Once(Generic[T]):
    """Something that is made when it is first asked for, by one thread."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self._lock = Lock()

    def __call__(self) -> T:
        """What was made."""
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]


@dataclass(frozen=True, eq=False)
class MrMllmReading(Reading):
    """A frame, read or about to be.

    Attributes:
        prefix: What every question goes on from.
    """

    prefix: Once[Prefix]


class MrMllmAnswerer(Answerer[MrMllmReading]):
    """Runs an `MrMllm` on frames and questions.

    Attributes:
        model: The fusion model.
        processor: Makes its batches of frames and questions.
    """

    def __init__(self, model: MrMllm, backbones: Backbones, settings: PromptSettings) -> None:
        """Read the preamble.

        Args:
            model: The fusion model, trained or not.
            backbones: Those it was made with.
            settings: Limits of the prompt.
        """
        self.model = model
        self.name = backbones.language_model.name
        self.state = "trained" if model.trained_state() else "untrained"
        self._language_model = backbones.language_model
        self.processor = MrMllmProcessor(model.config, backbones, settings)
        with torch.inference_mode():
            self._preamble = model.read_preamble(self.processor.chat.preamble_ids)

    @property
    def preamble_length(self) -> int:
        """Number of tokens that come before every frame and are read once."""
        return len(self._preamble.ids)

    @classmethod
    def load(
        cls, settings: MrMllmSettings, prompt: PromptSettings, backbones: Backbones
    ) -> MrMllmAnswerer:
        """Load the checkpoint that the settings name, or do without.

        Raises:
            CheckpointError: If it cannot be read or is for other backbones.
        """
        if settings.checkpoint:
            model = MrMllm.from_pretrained(settings.source, backbones)
            model.merge_adapters()
            model.config.head_reads &= settings.head_reads
        else:
            model = MrMllm(prompt_only(backbones), backbones)
        return cls(model, backbones, prompt)

    def configure(self, settings: PromptSettings) -> None:
        """See `Answerer.configure`."""
        self.processor.prompt = settings

    @property
    def labels(self) -> tuple[str, ...]:
        """See `Answerer`; none without a perception head that is trained on labels."""
        return self.processor.vocabulary if self._says_labels else ()

    @property
    def _says_labels(self) -> bool:
        return "label" in self.model.config.perception_outputs

    def set_vocabulary(self, labels: Sequence[str]) -> None:
        """See `Answerer.set_vocabulary`."""
        if not self._says_labels:
            raise FixedVocabularyError(
                "without a perception head that is trained on labels the fusion model leaves them "
                "as they are; name a checkpoint that has one with the parameter mrmllm.checkpoint"
            )
        self.processor.vocabulary = distinct(labels)

    @torch.inference_mode()
    def read(
        self, images: Sequence[np.ndarray], perceptions: Sequence[Perception]
    ) -> list[MrMllmReading]:
        """See `Answerer.read`.

        The language model reads a frame only for questions, unless the perception head needs what
        it has read.
        """
        if not images:
            return []
        # Seen once: the perception head may look at it, and the language model read it later.
        frames = Once(lambda: self.model.see(self.processor(images, perceptions)))
        readings = self._readings(frames, perceptions)
        return [
            replace(reading, enriched=with_colors(reading.enriched, image))
            for reading, image in zip(readings, images, strict=True)
        ]

    @torch.inference_mode()
    def read_frames(
        self, frames: FrameBatch, perceptions: Sequence[Perception]
    ) -> list[MrMllmReading]:
        """Read frames that have been made into a batch; see `Answerer.read`.

        Args:
            frames: What `processor` made of B frames.
            perceptions: What the detector found in each.
        """
        return self._readings(Once(lambda: frames), perceptions)

    @torch.inference_mode()
    def answer(self, reading: MrMllmReading, question: Question, listener: Listener) -> Answer:
        """See `Answerer.answer`.

        Raises:
            PromptTooLongError: If prompt and answer exceed the language model's context.
        """
        prefix = reading.prefix()
        ids = self.processor.chat.question_ids(question.text)[None]
        mask = torch.cat([prefix.attention_mask, torch.ones_like(ids)], 1)
        longest = int(mask.sum()) + question.decoding.max_new_tokens
        require_room(longest, self._language_model.context_length, self.name)
        # `generate` wants the whole prompt and cuts off what the cache holds; what stands there
        # for the query tokens, which have no ids, is never looked at.
        read = ids[:, :1].expand(1, prefix.attention_mask.shape[1])
        inputs = {
            "input_ids": torch.cat([read, ids], 1),
            "attention_mask": mask,
            "past_key_values": copy.deepcopy(prefix.cache),
        }
        generation = generate_text(
            self.model.language_model,
            self._language_model.tokenizer,
            inputs,
            question.decoding,
            listener,
        )
        return Answer(
            text=generation.text,
            confidence=generation.confidence,
            # Only what the model has read can be cited.
            cited=cited_ids(generation.text, prefix.listed),
            tokens=len(generation.token_ids),
            truncated=generation.truncated,
        )

    def _readings(
        self, frames: Once[FrameBatch], perceptions: Sequence[Perception]
    ) -> list[MrMllmReading]:
        @torch.inference_mode()
        def read_all() -> FramePass:
            return self.model.read(frames(), self._preamble)

        def prefix(index: int) -> Prefix:
            return _prefix(frame_pass(), frames(), index)

        frame_pass = Once(read_all)
        if self.model.head is None:
            enriched = [EnrichedDetections.unchanged(perception) for perception in perceptions]
        else:
            reads = self.model.config.perceives_by_reading
            objects = frame_pass().objects if reads else self.model.look(frames())
            enriched = self._enrich(perceptions, frames(), objects)
        return [
            MrMllmReading(each, Once(partial(prefix, index)))
            for index, each in enumerate(enriched)
        ]

    def _enrich(
        self, perceptions: Sequence[Perception], frames: FrameBatch, objects: ObjectStates
    ) -> list[EnrichedDetections]:
        output = self.model.perceive(objects, frames.objects)
        texts = frames.objects.labels.names
        attributes = self.model.config.attributes
        return [
            enriched_detections(perception, output.of_item(i), texts, attributes)
            for i, perception in enumerate(perceptions)
        ]


def prompt_only(backbones: Backbones) -> MrMllmConfig:
    """The configuration where nothing is trained: the language model reads the prompt alone."""
    return MrMllm.configure(
        backbones,
        prefix_tokens=False,
        perception_outputs=[],
        query_fusion=False,
        prompt_examples=True,
    )


def _prefix(frame_pass: FramePass, frames: FrameBatch, index: int) -> Prefix:
    """That of one frame of a batch."""
    cache = frame_pass.cache
    if len(frame_pass.attention_mask) > 1:
        cache = copy.deepcopy(cache)
        cache.batch_select_indices([index])
    return Prefix(
        attention_mask=frame_pass.attention_mask[index : index + 1],
        cache=cache,
        listed=frames.listed[index],
    )
