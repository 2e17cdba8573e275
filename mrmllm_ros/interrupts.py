# SPDX-License-Identifier: Apache-2.0
"""Handling of Ctrl-C during imports."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Exit status of a program that SIGINT ended.
INTERRUPTED = 130


def end_while_importing() -> None:
    """Install a handler that exits with status 130 if SIGINT arrives during an import.

    KeyboardInterrupt is unreliable during imports: callbacks of the import system swallow it, and
    extension modules convert it to ImportError. Outside of imports the handler raises it as usual.
    A handler other than Python's default is kept.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_interrupt)


@contextmanager
def ending_while_importing() -> Iterator[None]:
    """Apply `end_while_importing` during the body."""
    before = signal.getsignal(signal.SIGINT)
    end_while_importing()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt
