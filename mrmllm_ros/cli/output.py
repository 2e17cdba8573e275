# SPDX-License-Identifier: Apache-2.0
"""Output of the commands: results on standard output, everything else on standard error."""

from __future__ import annotations

import io
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from mrmllm_ros.errors import MrmllmError

PARTIAL = 1
"""Exit status if part of the input gave no result."""
FAILED = 2
"""Exit status if there is no result, for a reason that the user can fix."""

UNFINISHED = 75
"""Exit status if the same command continues the work: EX_TEMPFAIL of sysexits.h."""

_CLEAR_LINE = "\r\x1b[K"


class OutputError(MrmllmError):
    """An output folder cannot be created or written to."""


def escape_unencodable() -> None:
    """Print characters that an output's encoding lacks as escape sequences.

    Otherwise names of files that are not UTF-8, or all names in ASCII, raise an exception.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Flush standard output; if that fails, discard its buffer.

    Raises:
        OSError: If standard output is not writable. Without the discard, the interpreter would
            fail again at exit, with a traceback.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        raise


def print_progress(line: str) -> None:
    """Print a line of progress on standard error."""
    print(line, file=sys.stderr, flush=True)


def print_warning(warning: object) -> None:
    """Print a warning as one line on standard error."""
    print_progress(f"mrmllm: warning: {warning}")


def print_error(error: object) -> None:
    """Print an error as one line on standard error."""
    print_progress(f"mrmllm: error: {error}")


def make_folder(path: Path) -> None:
    """Create an output folder and its parents.

    Raises:
        OutputError: If the folder cannot be created or is not writable.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"the output {path} is a file; name a folder") from error
    except OSError as error:
        raise OutputError(f"cannot create the folder {path}: {error.strerror}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {path} is not writable; name another folder")


class ProgressLine(AbstractContextManager["ProgressLine"]):
    """Counter on standard error that is rewritten in place; only in terminals."""

    def __init__(self, total: int, noun: str) -> None:
        """Create the counter; it is not shown yet.

        Args:
            total: Final count.
            noun: Plural of what is counted.
        """
        self._total = total
        self._noun = noun
        self._shown = total > 1 and sys.stderr is not None and sys.stderr.isatty()

    def show(self, done: int) -> None:
        """Show a count."""
        self._write(f"{_CLEAR_LINE}{done} of {self._total} {self._noun}")

    def clear(self) -> None:
        """Clear the line before other output."""
        self._write(_CLEAR_LINE)

    def __exit__(self, *exception: object) -> None:
        """Clear the line."""
        self.clear()

    def _write(self, text: str) -> None:
        if self._shown:
            print(text, end="", file=sys.stderr, flush=True)
