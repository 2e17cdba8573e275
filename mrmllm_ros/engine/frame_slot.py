# SPDX-License-Identifier: Apache-2.0
"""A place for the newest frame between a camera and a slower consumer."""

from __future__ import annotations

from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class FrameSlot(Generic[T]):
    """Holds one frame; a newer one replaces it and the older is counted as dropped.

    Safe for one producer and one consumer thread.
    """

    def __init__(self) -> None:
        self._condition = Condition()
        self._frame: T | None = None
        self._closed = False
        self.dropped = 0

    def put(self, frame: T) -> None:
        """Offer a frame; returns at once. A closed slot takes nothing."""
        with self._condition:
            if self._closed:
                return
            if self._frame is not None:
                self.dropped += 1
            self._frame = frame
            self._condition.notify()

    def take(self) -> T | None:
        """Wait for a frame and take it out; None once the slot is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._frame is not None)
            frame, self._frame = self._frame, None
            return frame

    def close(self) -> None:
        """Drop what is held and wake the consumer."""
        with self._condition:
            self._closed = True
            self._frame = None
            self._condition.notify()
