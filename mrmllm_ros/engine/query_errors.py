# SPDX-License-Identifier: Apache-2.0
"""Why a question got no answer."""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """The constants of srv/Query; a test keeps the two equal."""

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
    """A question cannot be answered.

    Attributes:
        code: The kind of error.
        message: What went wrong and what to do about it.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
