# SPDX-License-Identifier: Apache-2.0
"""From a question about an image to an answer that cites detections."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.prompt import PromptSettings, chat, cited_ids, describe_objects, listed
from mrmllm_ros.perception.detector import Perception


@dataclass(frozen=True)
class Answer:
    """What the language model said.

    Attributes:
        text: The answer; objects are cited as `[id]`.
        confidence: Mean probability of its tokens, 0 to 1.
        cited: Ids of the cited objects, in the order of their first citation; the object at
            index i of the detections has id i + 1.
        tokens: Number of generated tokens.
    """

    text: str
    confidence: float
    cited: tuple[int, ...]
    tokens: int


@dataclass(frozen=True)
class Question:
    """A question as the language model gets it.

    Attributes:
        text: The question; empty asks for a description of the scene.
        max_new_tokens: Longest answer.
    """

    text: str
    max_new_tokens: int


class Answerer(ABC):
    """Answers questions about an image and what was perceived in it.

    Attributes:
        name: The model's name for messages and logs.
    """

    name: str

    @abstractmethod
    def answer(
        self,
        image: np.ndarray,
        perception: Perception,
        question: Question,
        on_text: Callable[[str], None],
        should_stop: Callable[[], bool],
    ) -> Answer:
        """Answer a question.

        Args:
            image: (H, W, 3) uint8 in BGR order.
            perception: What the detector found in it.
            question: The question.
            on_text: Called with each piece of text as it is generated.
            should_stop: Asked after every token; true ends the answer there.
        """

    @abstractmethod
    def configure(self, settings: PromptSettings) -> None:
        """Take over the limits of the prompt; the model stays as it is."""


class PromptAnswerer(Answerer):
    """The language model reads the perception-embedded prompt and sees nothing of the image."""

    def __init__(self, language_model: LanguageModel, settings: PromptSettings) -> None:
        self._language_model = language_model
        self._settings = settings
        self.name = language_model.name

    def configure(self, settings: PromptSettings) -> None:
        """See `Answerer.configure`."""
        self._settings = settings

    def answer(
        self,
        image: np.ndarray,
        perception: Perception,
        question: Question,
        on_text: Callable[[str], None],
        should_stop: Callable[[], bool],
    ) -> Answer:
        """See `Answerer.answer`."""
        detections = perception.detections
        objects = describe_objects(detections, self._settings, self._language_model.count_tokens)
        generation = self._language_model.generate(
            chat(objects, question.text), question.max_new_tokens, on_text, should_stop
        )
        return Answer(
            text=generation.text,
            confidence=generation.confidence,
            # Only what the model has read can be cited.
            cited=cited_ids(generation.text, listed(objects)),
            tokens=generation.tokens,
        )
