# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C while modules are loaded."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Exit status of a program that SIGINT has ended.
INTERRUPTED = 130


def end_while_importing() -> None:
    """Have SIGINT end the process at once, with status 130 and no traceback, during an import.

    Outside of imports SIGINT raises KeyboardInterrupt as before. During imports it cannot be
    relied on: callbacks of the import system swallow it, and extension modules turn it into
    ImportError. Nothing is done where SIGINT is ignored or somebody else handles it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_interrupt)


@contextmanager
def ending_while_importing() -> Iterator[None]:
    """Do as `end_while_importing` for the body."""
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
