# SPDX-License-Identifier: Apache-2.0
"""What every model that answers questions about images offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from mrmllm_ros.answering.generation import Decoding, Listener
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.model.prompt import PromptSettings


class PromptTooLongError(MrmllmError):
    """Prompt and answer do not fit into the model's context; the message names the fix."""


def require_room(tokens: int, room: int | None, model: str) -> None:
    """Check that prompt and answer fit into a model's context.

    Args:
        tokens: Those of the prompt, and as many as the answer may have.
        room: Most tokens that the model can read and write, or None where it does not say.
        model: Its name.

    Raises:
        PromptTooLongError: If they do not.
    """
    if room is not None and tokens > room:
        raise PromptTooLongError(
            f"prompt and answer may take {tokens} tokens and {model} has room for {room}; ask for "
            "fewer tokens, or lower prompt.token_budget"
        )


@dataclass(frozen=True)
class Answer:
    """What the model said.

    Attributes:
        text: The answer; objects are cited as `[id]`.
        confidence: Mean probability of its tokens, 0 to 1.
        cited: Ids of the cited objects, in the order of their first citation; the object at
            index i of the candidates has id i + 1.
        tokens: Number of generated tokens.
        truncated: Whether the text ended at the longest length allowed and not by itself.
    """

    text: str
    confidence: float
    cited: tuple[int, ...]
    tokens: int
    truncated: bool


@dataclass(frozen=True)
class Question:
    """A question as the model gets it.

    Attributes:
        text: The question; empty asks for a description of the scene.
        decoding: How the answer's tokens are chosen.
    """

    text: str
    decoding: Decoding


@dataclass(frozen=True, eq=False)
class Reading:
    """What a model has made of one image: every question about the image starts from here.

    Attributes:
        enriched: The objects after fusion.
    """

    enriched: EnrichedDetections


R = TypeVar("R", bound=Reading)


class Answerer(ABC, Generic[R]):
    """Reads images and what was perceived in them, and answers questions about them.

    Attributes:
        name: The model's name for messages and logs.
        state: What a user should know of it, such as `untrained`; for the log.
        labels: What it may call an object instead of what the detector calls it.
    """

    name: str
    state: str
    labels: tuple[str, ...] = ()

    @abstractmethod
    def read(self, images: Sequence[np.ndarray], perceptions: Sequence[Perception]) -> list[R]:
        """Read a batch of images: the part of the work that all questions share.

        Args:
            images: (H, W, 3) uint8 arrays in BGR order.
            perceptions: What the detector found in each.

        Returns:
            One reading for each image.
        """

    @abstractmethod
    def answer(self, reading: R, question: Question, listener: Listener) -> Answer:
        """Answer a question about an image; safe to call from several threads at once.

        Args:
            reading: What `read` made of the image; it is left as it is.
            question: The question.
            listener: Follows the answer and may end it.

        Raises:
            PromptTooLongError: If prompt and answer do not fit into the model's context.
        """

    @abstractmethod
    def configure(self, settings: PromptSettings) -> None:
        """Take over the limits of the prompt; the model stays as it is."""

    @abstractmethod
    def set_vocabulary(self, labels: Sequence[str]) -> None:
        """Choose the objects' labels among these from now on.

        Args:
            labels: At least one text.

        Raises:
            FixedVocabularyError: If the model leaves labels as the detector gave them.
            VocabularyError: If there are no labels, or one is blank.
        """
