# SPDX-License-Identifier: Apache-2.0
"""Requests for answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class AnswerType(IntEnum):
    """Answer types of msg/Answer; a test compares them."""

    TEXT = 0
    YES_NO = 1
    COUNT = 2
    CHOICE = 3
    JSON = 4


class About(IntEnum):
    """Subjects of a question, as in msg/Answer; a test compares them."""

    NOW = 0
    MEMORY = 1


@dataclass(frozen=True)
class QuestionRequest:
    """A user's question about the image of a camera.

    Attributes:
        text: The question; empty asks for a description of the scene.
        camera: Name of the camera; may be empty if there is only one.
        max_age_s: Maximum age of the image in seconds; 0 for the default.
        max_new_tokens: Maximum number of generated tokens; 0 for the default.
        answer_type: Value of an `AnswerType`.
        choices: Allowed answers; only with CHOICE.
        json_schema: JSON Schema of the answer; only with JSON.
        context: Knowledge about the scene that the image does not show.
        about: Value of an `About`.
    """

    text: str
    camera: str = ""
    max_age_s: float = 0.0
    max_new_tokens: int = 0
    answer_type: int = AnswerType.TEXT
    choices: tuple[str, ...] = ()
    json_schema: str = ""
    context: str = ""
    about: int = About.NOW
