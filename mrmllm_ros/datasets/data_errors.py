# SPDX-License-Identifier: Apache-2.0
"""Errors in a user's data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrmllm_ros.errors import MrmllmError

# No image reaches as far; infinities and what is not a number are not below it either.
_FAR = 1e6  # pixels


class DataError(MrmllmError):
    """Data cannot be used; the message names the file, the entry and the fix."""


@dataclass
class Skipped:
    """Entries of a data set that cannot be used: each is named at once, all are counted.

    Attributes:
        noun: Name of the entries, in the plural.
        progress: Called with a line for each, and with one for all; None for no lines.
        count: Number of skipped entries.
        total: Number of all entries, once it is known.
    """

    noun: str
    progress: Callable[[str], None] | None = None
    count: int = field(default=0, init=False)
    total: int = field(default=0, init=False)
    _first: object = field(default=None, init=False)

    def add(self, reason: object, count: int = 1) -> None:
        """Skip an entry, or several for one reason."""
        self._first = self._first or reason
        self.count += count
        self._print(f"skipped: {reason}")

    def close(self, total: int) -> None:
        """Report how many of all entries were skipped, if any were.

        Raises:
            DataError: If it is more than half: then a path or a format is wrong, not an entry.
        """
        self.require_most(total)
        if self.count:
            self._print(f"{self} and are skipped")

    def require_most(self, total: int) -> None:
        """Check that at least half of all entries can be used so far.

        Raises:
            DataError: See `close`.
        """
        self.total = total
        if 2 * self.count > total:
            raise DataError(f"{self}, more than half; the first: {self._first}")

    def __str__(self) -> str:
        return f"{self.count} of {self.total} {self.noun} cannot be used"

    def _print(self, line: str) -> None:
        if self.progress is not None:
            self.progress(line)


def parse_json(text: str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: If it is not JSON; the message names line and column.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error


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


def is_unicode(text: str) -> bool:
    """Whether a text can be encoded; JSON can spell halves of characters, which no file holds."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def are_pixels(value: Any, count: int) -> bool:
    """Whether a value is a list of so many numbers that can be pixels of an image."""
    if not isinstance(value, list) or len(value) != count:
        return False
    return all(type(number) in (int, float) and abs(number) < _FAR for number in value)
