# SPDX-License-Identifier: Apache-2.0
"""The thread that turns frames into scenes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Lock, Thread
from typing import Generic, TypeVar

from mrmllm_ros.engine.frame_slot import FrameSlot
from mrmllm_ros.engine.scene import Frame, Scene
from mrmllm_ros.perception.detector import Detector

T = TypeVar("T")


class PerceptionWorker(Generic[T]):
    """Takes the newest image, decodes it and runs the detector, over and over.

    An image that cannot be decoded, or that the detector fails on, is reported and the next one
    is taken.
    """

    def __init__(
        self,
        detector: Detector,
        decode: Callable[[T], Frame],
        on_scene: Callable[[Scene], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """Prepare the worker; `start` starts it.

        Args:
            detector: Finds objects in the worker's thread only.
            decode: Makes a frame of what `slot` was given; raises `ImageError`.
            on_scene: Called in the worker's thread with each scene.
            on_error: Called in the worker's thread with each failure.
        """
        self.slot: FrameSlot[T] = FrameSlot()
        self._detector = detector
        self._decode = decode
        self._on_scene = on_scene
        self._on_error = on_error
        self._detecting = Lock()
        self._thread = Thread(target=self._run, name="perception", daemon=True)

    def start(self) -> None:
        """Start taking images."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more images and wait for the one under way."""
        self.slot.close()
        self._thread.join()

    def set_vocabulary(self, labels: Sequence[str]) -> None:
        """Look for objects of these labels from the next image on.

        Raises:
            VocabularyError: If the detector cannot.
        """
        with self._detecting:
            self._detector.set_vocabulary(labels)

    def _run(self) -> None:
        while (item := self.slot.take()) is not None:
            try:
                self._on_scene(self._perceive(item))
            except Exception as error:
                self._on_error(error)

    def _perceive(self, item: T) -> Scene:
        started = time.monotonic()
        frame = self._decode(item)
        with self._detecting:
            [perception] = self._detector.detect([frame.image])
        perceived = time.monotonic()
        return Scene(frame, perception, latency_s=perceived - started, perceived_s=perceived)
