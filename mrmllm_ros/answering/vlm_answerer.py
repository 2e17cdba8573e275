# SPDX-License-Identifier: Apache-2.0
"""Answers without any training of ours: a vision-language model and a prompt with the objects.

Of the paper's three mechanisms this uses the third alone: the model sees the image with its own
encoder, and reads what the detector found. Detections stay as the detector gave them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import transformers
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    BatchFeature,
    PreTrainedModel,
    ProcessorMixin,
)

from mrmllm_ros.answering.answerer import Answer, Answerer, Question, Reading, require_room
from mrmllm_ros.answering.generation import (
    Listener,
    generate_text,
)
from mrmllm_ros.compute import Compute
from mrmllm_ros.detection.colors import with_colors
from mrmllm_ros.detection.detector import FixedVocabularyError, Perception
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.model.language_model import forget_decoding, special_token_blanker
from mrmllm_ros.model.prompt import (
    DESCRIBE,
    PromptSettings,
    cited_ids,
    describe_objects,
    listed,
    stated_distances,
)
from mrmllm_ros.settings import Validated, setting
from mrmllm_ros.weights.pretrained import load_weights, resolve

# Written for a model that sees the image too, where the list may lack what the image shows.
INSTRUCTION = (
    "You are a robot, and the image is what your camera sees. A detector found the numbered "
    "objects in it, largest first. Behind each stand its side and two numbers of 0 to 99: its "
    "center across and its lower edge down. First lines may give their orders. "
    "The list may lack objects or name them wrongly. Answer in one short sentence and put the "
    "number of each listed object you mention behind it, like [1]."
)


class VlmError(MrmllmError):
    """A vision-language model cannot be loaded; the message names it and the fix."""


@dataclass(frozen=True)
class VlmSettings(Validated):
    """Which vision-language model."""

    model: str = setting(
        "",
        "Image-text-to-text model of transformers, a folder or a model of the Hugging Face hub; "
        "for answerer hf_vlm.",
    )
    trust_remote_code: bool = setting(
        False, "Whether code that comes with the model may run. Only for models that you trust."
    )


@dataclass(frozen=True, eq=False)
class VlmReading(Reading):
    """An image that is kept for questions; the model looks at it with each one.

    Attributes:
        image: (H, W, 3) uint8 in BGR order.
        perception: What the detector found in it.
    """

    image: np.ndarray
    perception: Perception


class VlmAnswerer(Answerer[VlmReading]):
    """Asks a vision-language model of `transformers`.

    Attributes:
        name: The model's name.
        state: Always `training-free`.
    """

    state = "training-free"

    def __init__(
        self, model: PreTrainedModel, processor: ProcessorMixin, settings: PromptSettings
    ) -> None:
        self.name = Path(model.name_or_path).name
        self._model = model.eval().requires_grad_(False)
        self._processor = processor
        self._settings = settings
        self._plain = special_token_blanker(processor.tokenizer)

    @classmethod
    def load(
        cls, settings: VlmSettings, prompt_settings: PromptSettings, compute: Compute
    ) -> VlmAnswerer:
        """Load the vision-language model that the settings name.

        Raises:
            VlmError: If none is named, or it cannot be had or read, or has no chat template.
        """
        if not sys.stderr.isatty():
            transformers.utils.logging.disable_progress_bar()
        if not settings.model:
            raise VlmError(
                "vlm.model: the answerer hf_vlm needs a vision-language model; name a folder or a "
                "model of the Hugging Face hub"
            )
        source = resolve(settings.model, "vision-language model", "vlm.model", VlmError)
        options: dict[str, Any] = {
            "trust_remote_code": settings.trust_remote_code,
            "local_files_only": Path(source).is_dir(),
        }
        try:
            model = load_weights(
                AutoModelForImageTextToText, source, dtype=compute.dtype, **options
            )
            processor = AutoProcessor.from_pretrained(source, **options)
        except Exception as error:
            # A missing, a damaged and a foreign model each fail in their own way.
            reason = " ".join(str(error).split()).rstrip(".")
            raise VlmError(
                f"the vision-language model {settings.model!r} cannot be loaded: {reason}. Name "
                "another with the parameter vlm.model"
            ) from error
        if processor.chat_template is None:
            raise VlmError(
                f"the vision-language model {settings.model!r} has no chat template; name one "
                "that is tuned to follow instructions with the parameter vlm.model"
            )
        forget_decoding(model)
        return cls(model.to(compute.device), processor, prompt_settings)

    def read(
        self, images: Sequence[np.ndarray], perceptions: Sequence[Perception]
    ) -> list[VlmReading]:
        """Keep images and what was found in them; the model is not run."""
        return [
            VlmReading(
                with_colors(EnrichedDetections.unchanged(perception), image),
                image,
                perception,
            )
            for image, perception in zip(images, perceptions, strict=True)
        ]

    def answer(self, reading: VlmReading, question: Question, listener: Listener) -> Answer:
        """Show the model the image and the list of reported objects, and ask it.

        Raises:
            PromptTooLongError: If prompt and answer exceed the model's context.
        """
        reported = reading.perception.detections
        objects = describe_objects(
            reported, self._settings, self._count_tokens, stated_distances(reported)
        )
        inputs = self._prepare(reading.image, self._plain(_ask(objects, question.text)))
        longest = inputs["input_ids"].shape[1] + question.decoding.max_new_tokens
        text_config = self._model.config.get_text_config()
        require_room(longest, getattr(text_config, "max_position_embeddings", None), self.name)
        generation = generate_text(
            self._model, self._processor.tokenizer, inputs, question.decoding, listener
        )
        return Answer(
            text=generation.text,
            confidence=generation.confidence,
            cited=cited_ids(generation.text, listed(objects)),
            tokens=len(generation.token_ids),
            truncated=generation.truncated,
        )

    def configure(self, settings: PromptSettings) -> None:
        """Take over the limits of the prompt."""
        self._settings = settings

    def set_vocabulary(self, labels: Sequence[str]) -> None:
        """Refuse: nothing here chooses labels.

        Raises:
            FixedVocabularyError: Always.
        """
        raise FixedVocabularyError(
            f"{self.name} leaves labels as the detector gave them; to choose among others set the "
            "parameter answerer to mrmllm, with trained weights in mrmllm.checkpoint"
        )

    def _count_tokens(self, text: str) -> int:
        return len(self._processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _prepare(self, image: np.ndarray, text: str) -> BatchFeature:
        """The model's inputs: a turn with image and text, up to where the answer begins."""
        picture = Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        content = [{"type": "image", "image": picture}, {"type": "text", "text": text}]
        inputs = self._processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        return inputs.to(self._model.device, self._model.dtype)


def _ask(objects: str, question: str) -> str:
    # All in the user's turn: some chat templates refuse a system message beside an image.
    return f"{INSTRUCTION}\nObjects:\n{objects}\n{question.strip() or DESCRIBE}"
