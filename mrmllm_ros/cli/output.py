# SPDX-License-Identifier: Apache-2.0
"""Output of the commands: results on standard output, all else on standard error."""

from __future__ import annotations

import io
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from mrmllm_ros.errors import MrmllmError

PARTLY = 1
"""Exit status where part of the input gave no result."""
FAILED = 2
"""Exit status where nothing could be done, for a reason that the user can fix."""

_CLEAR_LINE = "\r\x1b[K"


class OutputError(MrmllmError):
    """An output folder cannot be used; the message names it and the reason."""


def escape_unencodable() -> None:
    """Write characters that an output's encoding lacks as escape sequences.

    A file name that is not UTF-8, or any name where the encoding is ASCII, would raise otherwise.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Flush standard output; where that fails, discard what is left of it.

    Raises:
        OSError: If it cannot be written. The interpreter would fail again at its end, with a
            traceback, if the rest were kept.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise


def print_progress(line: str) -> None:
    """Print a line of progress on standard error."""
    print(line, file=sys.stderr, flush=True)


def print_error(error: object) -> None:
    """Print an error on standard error, as one line of the command's own."""
    print(f"mrmllm: error: {error}", file=sys.stderr, flush=True)


def make_folder(path: Path) -> None:
    """Make an output folder and those above it, where they are missing.

    Raises:
        OutputError: If it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"the output {path} is a file; name a folder") from error
    except OSError as error:
        raise OutputError(f"cannot make the folder {path}: {error.strerror}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {path} may not be written to; name another one")


class ProgressLine(AbstractContextManager["ProgressLine"]):
    """A count on standard error that is rewritten in place; shown on a terminal only."""

    def __init__(self, total: int, noun: str) -> None:
        """Prepare; nothing is shown yet.

        Args:
            total: How many there are.
            noun: Name of what is counted, in the plural.
        """
        self._total = total
        self._noun = noun
        self._shown = total > 1 and sys.stderr is not None and sys.stderr.isatty()

    def show(self, done: int) -> None:
        """Show how many are done."""
        self._write(f"{_CLEAR_LINE}{done} of {self._total} {self._noun}")

    def clear(self) -> None:
        """Take the line away, for other output to take its place."""
        self._write(_CLEAR_LINE)

    def __exit__(self, *exception: object) -> None:
        """Take the line away."""
        self.clear()

    def _write(self, text: str) -> None:
        if self._shown:
            print(text, end="", file=sys.stderr, flush=True)
