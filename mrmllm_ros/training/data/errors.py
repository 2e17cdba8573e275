# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a user's data."""

from __future__ import annotations

from pathlib import Path

from mrmllm_ros.errors import MrmllmError


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
