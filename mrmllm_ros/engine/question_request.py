# SPDX-License-Identifier: Apache-2.0
"""The request for an answer, and the kinds of answer that it may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from mrmllm_ros.engine.query_errors import ErrorCode, QueryError


class AnswerType(IntEnum):
    """The kinds of answer in msg/Answer; a test keeps the two equal."""

    TEXT = 0
    YES_NO = 1
    COUNT = 2
    CHOICE = 3
    JSON = 4


class About(IntEnum):
    """The subjects of a question in msg/Answer; a test keeps the two equal."""

    NOW = 0
    MEMORY = 1


@dataclass(frozen=True)
class QuestionRequest:
    """A question as a user asks it.

    Attributes:
        text: The question; empty asks for a description of the scene.
        camera: Name of the camera; empty where there is only one.
        max_age_s: Greatest age of the image in seconds; 0 for the default.
        max_new_tokens: Longest answer; 0 for the default.
        answer_type: Value of an `AnswerType`.
        choices: The allowed answers, with CHOICE only.
        json_schema: JSON Schema of the answer, with JSON only.
        context: Knowledge about the scene that an image does not show.
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


def check_answer_type(request: QuestionRequest) -> None:
    """Reject a request for a kind of answer that does not exist or is not supported yet.

    Args:
        request: The request.

    Raises:
        QueryError: INVALID_REQUEST for an unknown value or a field of another kind of answer,
            UNSUPPORTED for a kind of answer, a subject or a context that is not supported yet.
    """
    answer_type = _member(AnswerType, "answer_type", request.answer_type)
    about = _member(About, "about", request.about)
    _check_use("choices", request.choices, AnswerType.CHOICE, answer_type)
    _check_use("json_schema", request.json_schema, AnswerType.JSON, answer_type)
    _check_support("answer_type", answer_type, AnswerType.TEXT)
    _check_support("about", about, About.NOW)
    if request.context:
        raise QueryError(
            ErrorCode.UNSUPPORTED,
            "context is not supported yet; leave it empty, or write it into the question",
        )


def _member(kind: type[IntEnum], field: str, value: int) -> IntEnum:
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(map(_described, kind))
        raise QueryError(
            ErrorCode.INVALID_REQUEST, f"{field} is {value}; it must be one of {allowed}"
        ) from None


def _check_use(
    field: str, value: str | tuple[str, ...], wanted: AnswerType, answer_type: IntEnum
) -> None:
    if value and answer_type is not wanted:
        raise QueryError(
            ErrorCode.INVALID_REQUEST,
            f"{field} is set and answer_type is {_described(answer_type)}; leave {field} empty, "
            f"or set answer_type to {_described(wanted)}",
        )


def _check_support(field: str, value: IntEnum, supported: IntEnum) -> None:
    if value is not supported:
        raise QueryError(
            ErrorCode.UNSUPPORTED,
            f"{field} {_described(value)} is not supported yet; only {_described(supported)} is",
        )


def _described(member: IntEnum) -> str:
    return f"{member.name} ({member.value})"
