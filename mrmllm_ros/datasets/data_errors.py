# SPDX-License-Identifier: Apache-2.0
"""Errors in a user's data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrmllm_ros.errors import MrmllmError

# Larger than any image; infinities and NaN are not below it either.
_MAX_PIXELS = 1e6


class DataError(MrmllmError):
    """Data cannot be used; the message names the file, the entry and the fix."""


@dataclass
class Skipped:
    """Reports and counts entries of a data set that cannot be used.

    Attributes:
        noun: Name of the entries, in the plural.
        progress: Called with a line for each skipped entry and with the total; None for no lines.
        count: Number of skipped entries.
        total: Number of all entries, once it is known.
    """

    noun: str
    progress: Callable[[str], None] | None = None
    count: int = field(default=0, init=False)
    total: int = field(default=0, init=False)
    _first: object = field(default=None, init=False)

    def add(self, reason: object, count: int = 1) -> None:
        """Skip one or several entries for one reason."""
        self._first = self._first or reason
        self.count += count
        self._print(f"skipped: {reason}")

    def close(self, total: int) -> None:
        """Report the number of skipped entries, if any.

        Raises:
            DataError: If more than half are skipped: probably a path or a format is wrong.
        """
        self.check_majority(total)
        if self.count:
            self._print(f"{self} and are skipped")

    def check_majority(self, total: int) -> None:
        """Check that at least half of all entries can be used.

        Raises:
            DataError: If more than half are skipped.
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
        ValueError: If the text is not JSON; the message names line and column.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        DataError: If the file is missing or is not text in UTF-8.
    """
    try:
        # Some editors write a byte order mark, which no parser accepts.
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}; save it as UTF-8") from error


def is_unicode(text: str) -> bool:
    """Whether a text can be encoded in UTF-8; JSON can contain lone surrogates, which cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_pixel_list(value: Any, count: int) -> bool:
    """Whether a value is a list of `count` numbers in the range of pixel coordinates."""
    if not isinstance(value, list) or len(value) != count:
        return False
    return all(type(number) in (int, float) and abs(number) < _MAX_PIXELS for number in value)
