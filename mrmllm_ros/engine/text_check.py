# SPDX-License-Identifier: Apache-2.0
"""What a text that comes from outside may be."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from mrmllm_ros.engine.query_errors import ErrorCode, QueryError

# More than any label of LVIS has, and more labels than there are in it.
MAX_LABEL_LENGTH = 100
MAX_LABELS = 2000


def check_question(text: str, max_length: int) -> None:
    """Refuse a question that is too long or holds control characters.

    Args:
        text: The question; it may have several lines and tabs.
        max_length: Most characters.

    Raises:
        QueryError: If it is refused.
    """
    if len(text) > max_length:
        raise _invalid(
            f"the question has {len(text)} characters; at most {max_length} are allowed "
            "(question.max_length)"
        )
    _check_characters("the question", text, allowed="\n\t")


def check_labels(labels: Sequence[str]) -> None:
    """Refuse labels that are too many or too long, or that hold control characters.

    In the prompt a label is part of a line, so it may not begin another.

    Args:
        labels: The labels.

    Raises:
        QueryError: If they are refused.
    """
    if len(labels) > MAX_LABELS:
        raise _invalid(f"there are {len(labels)} labels; at most {MAX_LABELS} are allowed")
    for label in labels:
        if len(label) > MAX_LABEL_LENGTH:
            raise _invalid(
                f"the label {label[:20]!r}… has {len(label)} characters; at most "
                f"{MAX_LABEL_LENGTH} are allowed"
            )
        _check_characters(f"the label {label!r}", label)


def _check_characters(what: str, text: str, allowed: str = "") -> None:
    """Unicode's category Cc, escape sequences of terminals among them."""
    for character in text:
        if unicodedata.category(character) == "Cc" and character not in allowed:
            raise _invalid(
                f"{what} holds the control character U+{ord(character):04X}; leave it out"
            )


def _invalid(message: str) -> QueryError:
    return QueryError(ErrorCode.INVALID_REQUEST, message)
