# SPDX-License-Identifier: Apache-2.0
"""Slots for the newest frame of each camera, for a consumer slower than the cameras."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class FrameSlots(Generic[T]):
    """One slot for each camera; a newer frame replaces a waiting one, which counts as dropped.

    The least recently served camera comes first. Safe for several producer threads and one
    consumer thread.

    Attributes:
        received: Number of received frames by camera.
        dropped: Number of dropped frames by camera.
    """

    def __init__(self, cameras: Sequence[str]) -> None:
        """Create empty slots.

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
        """Put a frame into the slot of its camera; ignored after `close`."""
        with self._condition:
            if self._closed:
                return
            self.received[camera] += 1
            self.dropped[camera] += camera in self._frames
            self._frames[camera] = frame
            self._condition.notify()

    def skip(self, camera: str) -> None:
        """Count a frame as received and dropped."""
        with self._condition:
            self.received[camera] += 1
            self.dropped[camera] += 1

    def take(self, max_frames: int = 1) -> dict[str, T]:
        """Wait for a frame and take it, with the waiting frames of other cameras.

        Args:
            max_frames: Maximum number of frames.

        Returns:
            Frames by camera, the least recently served camera first; empty after `close`.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._frames)
            served = [camera for camera in self._turns if camera in self._frames][:max_frames]
            self._turns = [camera for camera in self._turns if camera not in served] + served
            return {camera: self._frames.pop(camera) for camera in served}

    def close(self) -> None:
        """Discard all frames and wake the consumer."""
        with self._condition:
            self._closed = True
            self._frames.clear()
            self._condition.notify()
