# SPDX-License-Identifier: Apache-2.0
"""Answer questions with a vision-language model whose prompt lists the detections.

This training-free answerer uses only the paper's third mechanism, the perception-embedded prompt.
The model processes the image with its own encoder. Detections are not changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    BatchFeature,
    PreTrainedModel,
    ProcessorMixin,
)

from mrmllm_ros.answering.answerer import (
    Answer,
    Answerer,
    EncodedImage,
    Question,
    TextListener,
    check_context_length,
)
from mrmllm_ros.answering.generation import generate_answer
from mrmllm_ros.compute import Compute, Step, at_once
from mrmllm_ros.detection.colors import with_colors
from mrmllm_ros.detection.detector import FixedVocabularyError, Perception
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.model.language_model import clear_generation_config, special_token_blanker
from mrmllm_ros.model.model_settings import VlmSettings
from mrmllm_ros.model.prompt import (
    PromptSettings,
    describe_objects,
    question_with_context,
    system_message,
)
from mrmllm_ros.weights.pretrained import load_weights, loading, resolve

# For a model that also gets the image, which may show objects that the list lacks.
INSTRUCTION = (
    "You are a robot, and the image is what your camera sees. A detector found the numbered "
    "objects in it, largest first. Behind each stand its side and two numbers of 0 to 99: its "
    "center across and its lower edge down. First lines may give their orders. "
    "A last line may name objects that are perhaps there. The list may lack objects or name them "
    "wrongly. Answer in one short sentence and put the number of each listed object you mention "
    "behind it, like [1]."
)


class VlmError(MrmllmError):
    """A vision-language model cannot be loaded."""


@dataclass(frozen=True, eq=False)
class VlmEncodedImage(EncodedImage):
    """Image and detections, which the model processes for each question.

    Attributes:
        image: (H, W, 3) uint8 in BGR order.
        perception: Detections in the image.
    """

    image: np.ndarray
    perception: Perception


class VlmAnswerer(Answerer[VlmEncodedImage]):
    """Answers with a vision-language model of `transformers`.

    Attributes:
        name: Name of the model.
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
        self._context = ""
        self._plain = special_token_blanker(processor.tokenizer)

    @classmethod
    def load(
        cls, settings: VlmSettings, prompt_settings: PromptSettings, compute: Compute
    ) -> VlmAnswerer:
        """Load the vision-language model that the settings name.

        Raises:
            VlmError: If no model is named, or it cannot be loaded, or has no chat template.
        """
        if not settings.model:
            raise VlmError(
                "vlm.model: the answerer hf_vlm needs a vision-language model; name a folder or a "
                "model of the Hugging Face hub"
            )
        named = ("vision-language model", settings.model, "vlm.model", VlmError)
        source = resolve(*named)
        options: dict[str, Any] = {
            "trust_remote_code": settings.trust_remote_code,
            "local_files_only": Path(source).is_dir(),
        }
        with loading(*named):
            model = load_weights(
                AutoModelForImageTextToText, source, dtype=compute.dtype, **options
            )
            processor = AutoProcessor.from_pretrained(source, **options)
        if processor.chat_template is None:
            raise VlmError(
                f"the vision-language model {settings.model!r} has no chat template; name one "
                "that is tuned to follow instructions with the parameter vlm.model"
            )
        clear_generation_config(model)
        return cls(model.to(compute.device), processor, prompt_settings)

    def encode(
        self,
        images: Sequence[np.ndarray],
        perceptions: Sequence[Perception],
        step: Step = at_once,
    ) -> list[VlmEncodedImage]:
        """Keep images and detections; the model runs for each question."""
        with step("colors"):
            return [
                VlmEncodedImage(
                    with_colors(EnrichedDetections.unchanged(perception), image),
                    image,
                    perception,
                )
                for image, perception in zip(images, perceptions, strict=True)
            ]

    def answer(
        self, encoded: VlmEncodedImage, question: Question, listener: TextListener
    ) -> Answer:
        """Answer a question about the image and the list of reported and doubtful objects.

        Raises:
            PromptTooLongError: If prompt and answer exceed the model's context length.
        """
        perception, settings = encoded.perception, self._settings
        objects = describe_objects(
            perception.detections,
            settings,
            self._count_tokens,
            doubtful=perception.doubtful(settings.perhaps_threshold),
        )
        # In one user message: some chat templates reject a system message beside an image.
        text = (
            f"{system_message(INSTRUCTION, self._context)}\nObjects:\n{objects.text}\n"
            f"{question_with_context(question.text, question.context)}"
        )
        inputs = self._prepare(encoded.image, self._plain(text))
        longest = inputs["input_ids"].shape[1] + question.decoding.max_new_tokens
        text_config = self._model.config.get_text_config()
        context_length = getattr(text_config, "max_position_embeddings", None)
        check_context_length(longest, context_length, self.name)
        return generate_answer(
            self._model,
            self._processor.tokenizer,
            inputs,
            question.decoding,
            listener,
            objects.citable,
        )

    def configure(self, settings: PromptSettings) -> None:
        """See `Answerer.configure`."""
        self._settings = settings

    def set_context(self, context: str) -> None:
        """See `Answerer.set_context`."""
        self._context = context

    def set_vocabulary(self, labels: Sequence[str]) -> None:
        """Reject labels, because this answerer does not assign any.

        Raises:
            FixedVocabularyError: Always.
        """
        raise FixedVocabularyError(
            f"{self.name} does not assign labels; set the parameter answerer to mrmllm and "
            "mrmllm.checkpoint to weights that do"
        )

    def _count_tokens(self, text: str) -> int:
        return len(self._processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _prepare(self, image: np.ndarray, text: str) -> BatchFeature:
        """Inputs of the model: a user message with image and text, up to the answer."""
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
