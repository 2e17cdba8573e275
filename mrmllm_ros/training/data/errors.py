# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a user's data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mrmllm_ros.errors import MrmllmError

# No image reaches as far; infinities and what is not a number are not below it either.
_FAR = 1e6  # pixels


class DataError(MrmllmError):
    """Data cannot be used; the message names the file, the entry and the fix."""


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        DataError: If it is missing or is not a text in UTF-8.
    """
    try:
        # Some editors begin a file with a mark, which no parser takes.
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text in UTF-8: {error}; save it as such") from error


def are_pixels(value: Any, count: int) -> bool:
    """Whether a value is a list of so many numbers that can be pixels of an image."""
    if not isinstance(value, list) or len(value) != count:
        return False
    return all(type(number) in (int, float) and abs(number) < _FAR for number in value)
