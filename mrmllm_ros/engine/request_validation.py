# SPDX-License-Identifier: Apache-2.0
"""Validation of question requests and vocabularies."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from enum import IntEnum

from mrmllm_ros.engine.query_errors import ErrorCode, QueryError
from mrmllm_ros.engine.question_request import About, AnswerType, QuestionRequest
from mrmllm_ros.model.prompt import context_error

MAX_NEW_TOKENS = 4096
# Above the longest label and the number of labels of LVIS.
MAX_LABEL_LENGTH = 100
MAX_LABELS = 2000


def check_request(request: QuestionRequest, max_length: int) -> None:
    """Validate a request, except its camera.

    Args:
        request: The request; its question may contain newlines and tabs.
        max_length: Maximum number of characters of the question.

    Raises:
        QueryError: INVALID_REQUEST if a value is invalid or belongs to another answer type,
            UNSUPPORTED for an answer type or a subject that is not supported yet.
    """
    if len(request.text) > max_length:
        raise _invalid(
            f"the question has {len(request.text)} characters; the maximum is {max_length} "
            "(question.max_length)"
        )
    _check_characters("the question", request.text, allowed="\n\t")
    if not 0 <= request.max_age_s < float("inf"):
        raise _invalid(
            f"max_age is {request.max_age_s}; it must be a number of seconds, or 0 for the default"
        )
    if request.max_new_tokens > MAX_NEW_TOKENS:
        raise _invalid(
            f"max_new_tokens is {request.max_new_tokens}; the maximum is {MAX_NEW_TOKENS}"
        )
    answer_type = _member(AnswerType, "answer_type", request.answer_type)
    about = _member(About, "about", request.about)
    _check_answer_type("choices", request.choices, AnswerType.CHOICE, answer_type)
    _check_answer_type("json_schema", request.json_schema, AnswerType.JSON, answer_type)
    _check_support("answer_type", answer_type, AnswerType.TEXT)
    _check_support("about", about, About.NOW)
    if error := context_error(request.context):
        raise _invalid(error)


def check_labels(labels: Sequence[str]) -> None:
    """Validate the labels of a vocabulary.

    A label is part of a line of the prompt and must not start another line.

    Raises:
        QueryError: If there are too many labels, or a label is too long or contains control
            characters.
    """
    if len(labels) > MAX_LABELS:
        raise _invalid(f"there are {len(labels)} labels; the maximum is {MAX_LABELS}")
    for label in labels:
        if len(label) > MAX_LABEL_LENGTH:
            raise _invalid(
                f"the label {label[:20]!r}… has {len(label)} characters; the maximum is "
                f"{MAX_LABEL_LENGTH}"
            )
        _check_characters(f"the label {label!r}", label)


def _check_characters(name: str, text: str, allowed: str = "") -> None:
    """Reject characters of Unicode's category Cc, which includes terminal escapes."""
    for character in text:
        if unicodedata.category(character) == "Cc" and character not in allowed:
            raise _invalid(
                f"{name} contains the control character U+{ord(character):04X}; remove it"
            )


def _member(kind: type[IntEnum], field: str, value: int) -> IntEnum:
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(map(_described, kind))
        raise _invalid(f"{field} is {value}; it must be one of {allowed}") from None


def _check_answer_type(
    field: str, value: str | tuple[str, ...], required: AnswerType, actual: IntEnum
) -> None:
    if value and actual is not required:
        raise _invalid(
            f"{field} is set and answer_type is {_described(actual)}; leave {field} empty, or set "
            f"answer_type to {_described(required)}"
        )


def _check_support(field: str, value: IntEnum, supported: IntEnum) -> None:
    if value is not supported:
        raise QueryError(
            ErrorCode.UNSUPPORTED,
            f"{field} {_described(value)} is not supported yet; only {_described(supported)} is",
        )


def _described(member: IntEnum) -> str:
    return f"{member.name} ({member.value})"


def _invalid(message: str) -> QueryError:
    return QueryError(ErrorCode.INVALID_REQUEST, message)
