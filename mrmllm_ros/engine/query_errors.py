# SPDX-License-Identifier: Apache-2.0
"""Errors of question requests."""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """Error codes of srv/Query; a test compares them."""

    NONE = 0
    NO_IMAGE = 1
    STALE_IMAGE = 2
    UNKNOWN_CAMERA = 3
    CAMERA_REQUIRED = 4
    INVALID_REQUEST = 5
    BUSY = 6
    DEADLINE_EXCEEDED = 7
    CANCELLED = 8
    NOT_ACTIVE = 9
    INTERNAL = 10
    UNSUPPORTED = 11


class QueryError(Exception):
    """A request gets no answer.

    Attributes:
        code: Kind of error.
        message: What failed and how to fix it.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
