# SPDX-License-Identifier: Apache-2.0
"""Answer questions and enrich detections with an `MrMllm`."""

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

from mrmllm_ros.answering.answerer import (
    Answer,
    Answerer,
    EncodedImage,
    Question,
    TextListener,
    check_context_length,
)
from mrmllm_ros.answering.generation import generate_answer
from mrmllm_ros.compute import Step, at_once
from mrmllm_ros.detection.colors import color_attributes
from mrmllm_ros.detection.detector import FixedVocabularyError, Perception, unique_labels
from mrmllm_ros.detection.enriched_detections import EnrichedDetections, attribute_values
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.configuration_mrmllm import MrMllmConfig
from mrmllm_ros.model.label_fusion import LabelFusion
from mrmllm_ros.model.model_settings import MrMllmSettings
from mrmllm_ros.model.modeling_mrmllm import (
    MrMllm,
    ObjectStates,
    PrefillOutput,
    SystemPrompt,
)
from mrmllm_ros.model.processing_mrmllm import FrameBatch, MrMllmProcessor, enriched_detections
from mrmllm_ros.model.prompt import PromptSettings

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class PrefilledFrame:
    """Key-value cache of one frame.

    Attributes:
        attention_mask: (1, T) int64 over the cached tokens.
        past_key_values: Keys and values; copied for each question.
        citable: Ids of the objects that an answer can cite.
    """

    attention_mask: torch.Tensor
    past_key_values: Cache
    citable: frozenset[int]


class Lazy(Generic[T]):
    """Value that is computed on first use, by one thread."""

    def __init__(self, compute: Callable[..., T]) -> None:
        self._compute = compute
        self._values: list[T] = []
        self._lock = Lock()

    def __call__(self, *arguments: object) -> T:
        """Return the value, computing it with these arguments if necessary."""
        with self._lock:
            if not self._values:
                self._values.append(self._compute(*arguments))
            return self._values[0]


@dataclass(frozen=True, eq=False)
class MrMllmEncodedImage(EncodedImage):
    """Encoded image whose language-model cache is computed for the first question.

    Attributes:
        prefilled: Cache from which every question continues.
    """

    prefilled: Lazy[PrefilledFrame]

    def prefill(self, step: Step = at_once) -> None:
        """See `EncodedImage.prefill`."""
        self.prefilled(step)


class MrMllmAnswerer(Answerer[MrMllmEncodedImage]):
    """Runs an `MrMllm` on frames and questions.

    Attributes:
        model: The fusion model.
        processor: Processor of the model.
        label_fusion: Correction of the detector's labels, or None.
    """

    label_fusion: LabelFusion | None = None

    def __init__(self, model: MrMllm, backbones: Backbones, settings: PromptSettings) -> None:
        """Prefill the system prompt.

        Args:
            model: The fusion model, trained or not.
            backbones: Backbones of the model.
            settings: Limits of the prompt.
        """
        self.model = model
        self.name = backbones.language_model.name
        is_trained = model.trained_state() or backbones.language_model.has_adapters
        self.state = "trained" if is_trained else "untrained"
        self._language_model = backbones.language_model
        self.processor = MrMllmProcessor(model.config, backbones, settings)
        self._context = ""
        self._system_prompt = self._lazy_system_prompt()
        self._system_prompt()

    @property
    def system_prompt_length(self) -> int:
        """Number of tokens of the system prompt, which all frames share."""
        return len(self.processor.chat.system_prompt_ids)

    @classmethod
    def load(
        cls, settings: MrMllmSettings, prompt: PromptSettings, backbones: Backbones
    ) -> MrMllmAnswerer:
        """Load the checkpoint that the settings name, or create an untrained model without one.

        Raises:
            CheckpointError: If the checkpoint cannot be read or is for other backbones.
        """
        if settings.checkpoint:
            model = MrMllm.from_pretrained(settings.source, backbones)
            model.config.head_uses_language_model &= settings.head_uses_language_model
        else:
            model = MrMllm(prompt_only(backbones), backbones)
        answerer = cls(model, backbones, prompt)
        if settings.checkpoint:
            # The model may have no other trained weights than the merged adapters.
            answerer.state = "trained"
        return answerer

    def configure(self, settings: PromptSettings) -> None:
        """See `Answerer.configure`."""
        self.processor.prompt = settings

    def set_context(self, context: str) -> None:
        """See `Answerer.set_context`; the next frames are prefilled with another system prompt."""
        if context == self._context:
            return
        self._context = context
        self.processor.set_context(context)
        if self.label_fusion is not None and self.label_fusion.context is not None:
            self.label_fusion.context.set_context(context)
        self._system_prompt = self._lazy_system_prompt()

    def _lazy_system_prompt(self) -> Lazy[SystemPrompt]:
        """Cache of the system prompt, computed for the first frame that needs it."""
        ids = self.processor.chat.system_prompt_ids

        @torch.inference_mode()
        def prefill() -> SystemPrompt:
            return self.model.prefill_system_prompt(ids)

        return Lazy(prefill)

    @property
    def labels(self) -> tuple[str, ...]:
        """See `Answerer`; empty if labels are those of the detector."""
        if self.label_fusion is not None:
            return self.label_fusion.labels
        return self.processor.vocabulary if self._predicts_labels else ()

    @property
    def _predicts_labels(self) -> bool:
        return "label" in self.model.config.perception_outputs

    def set_vocabulary(self, labels: Sequence[str]) -> None:
        """See `Answerer.set_vocabulary`."""
        if self.label_fusion is None and not self._predicts_labels:
            raise FixedVocabularyError(
                "the fusion model does not predict labels; set the parameter "
                "evidence.visual_labels to always, or mrmllm.checkpoint to a checkpoint whose "
                "perception head does"
            )
        vocabulary = unique_labels(labels)
        if self.label_fusion is not None:
            self.label_fusion.set_labels(vocabulary)
        self.processor.vocabulary = vocabulary

    @torch.inference_mode()
    def encode(
        self,
        images: Sequence[np.ndarray],
        perceptions: Sequence[Perception],
        step: Step = at_once,
    ) -> list[MrMllmEncodedImage]:
        """See `Answerer.encode`.

        The prompt is written and the language model runs for the first question, or at once if the
        perception head needs the language model.
        """
        if not images:
            return []
        if self.label_fusion is not None:
            perceptions = self.label_fusion.fuse_images(images, perceptions, step)
        with step("colors"):
            colors = [
                color_attributes(image, perception.candidates)
                for image, perception in zip(images, perceptions, strict=True)
            ]
        # Encoded once: the perception head may use the frames now, the language model later.
        frames = Lazy(lambda: self.model.encode_images(self.processor.frames(images, perceptions)))
        stated = [
            attribute_values(measured[: perception.reported])
            for measured, perception in zip(colors, perceptions, strict=True)
        ]
        prompted = Lazy(lambda: self.processor.add_prompts(frames(), perceptions, stated))
        if self.model.head is not None:
            with step("image"):
                frames()
        with step("head"):
            encoded_images = self._encode(frames, prompted, perceptions)
        return [
            replace(encoded, enriched=encoded.enriched.with_attributes(measured))
            for encoded, measured in zip(encoded_images, colors, strict=True)
        ]

    @torch.inference_mode()
    def encode_batch(
        self, frames: FrameBatch, perceptions: Sequence[Perception]
    ) -> list[MrMllmEncodedImage]:
        """Encode the frames of a batch; see `Answerer.encode`.

        Args:
            frames: B frames with prompts.
            perceptions: Detections in each frame.
        """
        batch = Lazy(lambda: frames)
        return self._encode(batch, batch, perceptions)

    @torch.inference_mode()
    def answer(
        self, encoded: MrMllmEncodedImage, question: Question, listener: TextListener
    ) -> Answer:
        """See `Answerer.answer`.

        Raises:
            PromptTooLongError: If prompt and answer exceed the language model's context length.
        """
        prefilled = encoded.prefilled()
        ids = self.processor.chat.question_ids(question.text, question.context)[None]
        mask = torch.cat([prefilled.attention_mask, torch.ones_like(ids)], 1)
        longest = int(mask.sum()) + question.decoding.max_new_tokens
        check_context_length(longest, self._language_model.context_length, self.name)
        # `generate` needs ids for the whole prompt but skips the cached ones, so that any id can
        # stand for the query tokens, which have none.
        cached = ids[:, :1].expand(1, prefilled.attention_mask.shape[1])
        inputs = {
            "input_ids": torch.cat([cached, ids], 1),
            "attention_mask": mask,
            "past_key_values": copy.deepcopy(prefilled.past_key_values),
        }
        return generate_answer(
            self.model.language_model,
            self._language_model.tokenizer,
            inputs,
            question.decoding,
            listener,
            prefilled.citable,
        )

    def _encode(
        self,
        frames: Lazy[FrameBatch],
        prompted: Lazy[FrameBatch],
        perceptions: Sequence[Perception],
    ) -> list[MrMllmEncodedImage]:
        @torch.inference_mode()
        def prefill(step: Step = at_once) -> PrefillOutput:
            return self.model.prefill(prompted(), self._system_prompt(), step)

        def select(index: int, step: Step = at_once) -> PrefilledFrame:
            return _select_frame(output(step), prompted(), index)

        output = Lazy(prefill)
        if self.model.head is None:
            enriched = [EnrichedDetections.unchanged(perception) for perception in perceptions]
        elif self.model.config.head_needs_language_model:
            enriched = self._enrich(perceptions, frames(), output().objects)
        else:
            enriched = self._enrich(perceptions, frames(), self.model.object_tokens(frames()))
        return [
            MrMllmEncodedImage(each, Lazy(partial(select, index)))
            for index, each in enumerate(enriched)
        ]

    def _enrich(
        self, perceptions: Sequence[Perception], frames: FrameBatch, objects: ObjectStates
    ) -> list[EnrichedDetections]:
        output = self.model.predict_objects(objects, frames.objects)
        names = frames.objects.labels.names
        attributes = self.model.config.attributes
        return [
            enriched_detections(perception, output.select(i), names, attributes)
            for i, perception in enumerate(perceptions)
        ]


def prompt_only(backbones: Backbones) -> MrMllmConfig:
    """Configuration of an untrained model: the language model gets the prompt alone."""
    return MrMllm.configure(
        backbones,
        prefix_tokens=False,
        perception_outputs=[],
        query_fusion=False,
        prompt_examples=True,
    )


def _select_frame(output: PrefillOutput, frames: FrameBatch, index: int) -> PrefilledFrame:
    """Select one frame of a batch."""
    cache = output.past_key_values
    if len(output.attention_mask) > 1:
        cache = copy.deepcopy(cache)
        cache.batch_select_indices([index])
    return PrefilledFrame(
        attention_mask=output.attention_mask[index : index + 1],
        past_key_values=cache,
        citable=frames.prompts.citable[index],
    )
