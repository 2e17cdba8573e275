# SPDX-License-Identifier: Apache-2.0
"""The thread that turns frames into scenes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock, Thread
from typing import Generic, TypeVar

import numpy as np

from mrmllm_ros.detection.detector import Detector, Perception
from mrmllm_ros.engine.frame_slots import FrameSlots
from mrmllm_ros.engine.scene import Frame, Scene

T = TypeVar("T")


class PerceptionWorker(Generic[T]):
    """Takes the newest images, decodes them and runs detector and tracking, over and over.

    Images of several cameras that wait together go through the detector as one batch. An image
    that cannot be decoded, or that the detector fails on, is reported; the others go on.

    Attributes:
        slots: Take images.
    """

    def __init__(
        self,
        detector: Detector,
        cameras: Sequence[str],
        batch_size: int,
        *,
        decode: Callable[[T], Frame],
        track: Callable[[Frame, Perception], Perception],
        on_scene: Callable[[Scene], None],
        on_error: Callable[[str, Exception], None],
    ) -> None:
        """Prepare the worker; `start` starts it.

        Args:
            detector: Finds objects in the worker's thread only.
            cameras: Names of the cameras.
            batch_size: Most images that go through the detector together.
            decode: Decodes an image that was put into `slots`; raises `ImageError`.
            track: Assigns track ids to the objects of a frame.
            on_scene: Receives each scene.
            on_error: Receives the camera and the error of each image that fails.
        """
        self.slots: FrameSlots[T] = FrameSlots(cameras)
        self._detector = detector
        self._batch_size = batch_size
        self._decode_image = decode
        self._track = track
        self._on_scene = on_scene
        self._on_error = on_error
        self._detecting = Lock()
        self._thread = Thread(target=self._run, name="perception", daemon=True)

    def start(self) -> None:
        """Start taking images."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more images and wait for those under way."""
        self.slots.close()
        self._thread.join()

    def set_vocabulary(self, labels: Sequence[str]) -> None:
        """Look for objects of these labels from the next image on.

        Raises:
            VocabularyError: If the detector cannot.
        """
        with self._detecting:
            self._detector.set_vocabulary(labels)

    def _run(self) -> None:
        while images := self.slots.take(self._batch_size):
            taken_s = time.monotonic()
            if frames := self._decode(images):
                self._perceive(frames, taken_s)

    def _decode(self, images: Mapping[str, T]) -> dict[str, Frame]:
        """Frames of those images that are usable."""
        frames = {}
        for camera, image in images.items():
            try:
                frames[camera] = self._decode_image(image)
            except Exception as error:
                self._on_error(camera, error)
        return frames

    def _perceive(self, frames: Mapping[str, Frame], taken_s: float) -> None:
        try:
            perceptions = self._detect([frame.image for frame in frames.values()])
        except Exception as error:
            self._on_failed_batch(frames, taken_s, error)
            return
        for (camera, frame), perception in zip(frames.items(), perceptions, strict=True):
            try:
                tracked = self._track(frame, perception)
                perceived_s = time.monotonic()
                self._on_scene(Scene(frame, tracked, perceived_s - taken_s, perceived_s))
            except Exception as error:
                self._on_error(camera, error)

    def _detect(self, images: Sequence[np.ndarray]) -> list[Perception]:
        with self._detecting:
            return self._detector.detect(images)

    def _on_failed_batch(
        self, frames: Mapping[str, Frame], taken_s: float, error: Exception
    ) -> None:
        """Tell whose image it was: one camera's must not take the others' with it."""
        if len(frames) == 1:
            [camera] = frames
            self._on_error(camera, error)
            return
        for camera, frame in frames.items():
            self._perceive({camera: frame}, taken_s)
