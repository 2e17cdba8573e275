# SPDX-License-Identifier: Apache-2.0
"""Places for the newest frame of each camera, before a consumer that may be slower than they."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class FrameSlots(Generic[T]):
    """Hold one frame of each camera; a newer one replaces it and the older is counted as dropped.

    The cameras take turns: the one that was served longest ago comes first. Safe for several
    producers and one consumer thread.

    Attributes:
        received: Number of frames that each camera has offered.
        dropped: How many of them were replaced before their turn.
    """

    def __init__(self, cameras: Sequence[str]) -> None:
        """Start empty.

        Args:
            cameras: Names of the cameras.
        """
        self.received = dict.fromkeys(cameras, 0)
        self.dropped = dict.fromkeys(cameras, 0)
        self._condition = Condition()
        self._frames: dict[str, T] = {}
        self._turns = list(cameras)
        self._closed = False

    def put(self, camera: str, frame: T) -> None:
        """Offer a frame; returns at once. Once closed, nothing is taken."""
        with self._condition:
            if self._closed:
                return
            self.received[camera] += 1
            self.dropped[camera] += camera in self._frames
            self._frames[camera] = frame
            self._condition.notify()

    def take(self, most: int = 1) -> dict[str, T]:
        """Wait for a frame and take it out, and with it those of other cameras that wait too.

        Args:
            most: How many to take at most.

        Returns:
            Frames by camera, the one that was served longest ago first; none once closed.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._frames)
            served = [camera for camera in self._turns if camera in self._frames][:most]
            self._turns = [camera for camera in self._turns if camera not in served] + served
            return {camera: self._frames.pop(camera) for camera in served}

    def close(self) -> None:
        """Drop what is held and wake the consumer."""
        with self._condition:
            self._closed = True
            self._frames.clear()
            self._condition.notify()
