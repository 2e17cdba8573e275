# SPDX-License-Identifier: Apache-2.0
"""Interface of models that answer questions about images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from mrmllm_ros.compute import Step, at_once
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.model.prompt import PromptSettings


class TextListener(Protocol):
    """Follows a text while it is generated, in the thread that generates it."""

    def on_text(self, text: str) -> None:
        """Receive the next piece of text."""

    def should_stop(self) -> bool:
        """Whether generation should end at this token."""


class SilentListener:
    """Ignores the text and lets it end by itself."""

    def on_text(self, text: str) -> None:
        """Ignore a piece of text."""

    def should_stop(self) -> bool:
        """Never end generation."""
        return False


@dataclass(frozen=True)
class Decoding:
    """Decoding settings.

    Attributes:
        max_new_tokens: Maximum number of generated tokens.
        temperature: 0 for greedy decoding; above 0, tokens are sampled at this temperature.
    """

    max_new_tokens: int
    temperature: float = 0.0


@dataclass(frozen=True)
class Answer:
    """A generated answer.

    Attributes:
        text: The answer; objects are cited as `[id]`.
        confidence: Mean probability of its tokens, 0 to 1; 0 without tokens.
        cited: Ids of the cited objects, in the order of first citation; the object at index i of
            the candidates has id i + 1.
        token_ids: Generated tokens, with the end token.
        truncated: Whether the text ended at `Decoding.max_new_tokens`.
    """

    text: str
    confidence: float
    cited: tuple[int, ...]
    token_ids: tuple[int, ...]
    truncated: bool

    @property
    def tokens(self) -> int:
        """Number of generated tokens."""
        return len(self.token_ids)


class PromptTooLongError(MrmllmError):
    """Prompt and answer exceed the model's context length."""


def check_context_length(tokens: int, context_length: int | None, model: str) -> None:
    """Check that prompt and answer fit into a model's context.

    Args:
        tokens: Number of tokens of the prompt plus the maximum number of generated tokens.
        context_length: Maximum number of tokens of the model, or None if unknown.
        model: Name of the model.

    Raises:
        PromptTooLongError: If they do not fit.
    """
    if context_length is not None and tokens > context_length:
        raise PromptTooLongError(
            f"prompt and answer may take {tokens} tokens, but the context of {model} holds "
            f"{context_length}; ask for fewer tokens, or lower prompt.token_budget"
        )


@dataclass(frozen=True)
class Question:
    """Input of a model for one answer.

    Attributes:
        text: The question; empty asks for a description of the scene.
        decoding: How the answer's tokens are chosen.
        context: What the asker knows about the scene; may be empty.
    """

    text: str
    decoding: Decoding
    context: str = ""


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """State of a model for one image, from which every question about the image continues.

    Attributes:
        enriched: Objects after fusion.
    """

    enriched: EnrichedDetections

    def prefill(self, step: Step = at_once) -> None:
        """Compute now what the first question about the image would compute.

        Args:
            step: Context of each step; it may wait before the step.
        """


E = TypeVar("E", bound=EncodedImage)


class Answerer(ABC, Generic[E]):
    """Encodes images with their detections, and answers questions about them.

    Attributes:
        name: Name of the model, for messages and logs.
        state: State of the model for the log, such as `untrained`.
        labels: Labels that the model may assign to objects.
        loaded: Whether the model is loaded; false while a thread loads it or if that failed.
    """

    name: str
    state: str
    labels: tuple[str, ...] = ()
    loaded: bool = True

    def wait_until_loaded(self, timeout_s: float) -> bool:
        """Wait until the model is loaded.

        Args:
            timeout_s: Maximum time to wait, in seconds.

        Returns:
            Whether the model is loaded.

        Raises:
            Exception: The error of loading, if it failed.
        """
        return True

    @abstractmethod
    def encode(
        self,
        images: Sequence[np.ndarray],
        perceptions: Sequence[Perception],
        step: Step = at_once,
    ) -> list[E]:
        """Encode a batch of images: the work that all questions about an image share.

        Args:
            images: (H, W, 3) uint8 arrays in BGR order.
            perceptions: Detections in each image.
            step: Context of each step.
        """

    @abstractmethod
    def answer(self, encoded: E, question: Question, listener: TextListener) -> Answer:
        """Answer a question about an image; safe to call from several threads at once.

        Args:
            encoded: Encoded image; not modified.
            question: The question.
            listener: Receives the answer piece by piece and may end it.

        Raises:
            PromptTooLongError: If prompt and answer exceed the model's context length.
        """

    @abstractmethod
    def configure(self, settings: PromptSettings) -> None:
        """Change the limits of the prompt."""

    @abstractmethod
    def set_context(self, context: str) -> None:
        """Set the place where the robot is; returns at once and may take effect later.

        Args:
            context: A place such as `a hospital corridor`; empty if unknown.
        """

    @abstractmethod
    def set_vocabulary(self, labels: Sequence[str]) -> None:
        """Set the labels that the model may assign to objects.

        Args:
            labels: At least one label.

        Raises:
            FixedVocabularyError: If the model does not assign labels.
            VocabularyError: If there are no labels, or a label is blank.
        """
