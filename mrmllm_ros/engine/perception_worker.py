# SPDX-License-Identifier: Apache-2.0
"""Thread that turns images into scenes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock, Thread
from typing import Generic, TypeVar

import numpy as np

from mrmllm_ros.detection.detector import Detector, Perception
from mrmllm_ros.engine.frame_slots import FrameSlots
from mrmllm_ros.engine.scene import Frame, Scene
from mrmllm_ros.engine.scheduler import Scheduler

T = TypeVar("T")


class PerceptionWorker(Generic[T]):
    """Thread that decodes the newest images and runs detection and tracking.

    Waiting images of several cameras form one batch. An image that cannot be decoded, or on which
    the detector fails, is reported and does not affect the others.

    Attributes:
        slots: Waiting images.
    """

    def __init__(
        self,
        detector: Detector,
        cameras: Sequence[str],
        batch_size: int,
        scheduler: Scheduler,
        *,
        decode: Callable[[T], Frame],
        track: Callable[[Frame, Perception], Perception],
        on_scene: Callable[[Scene], None],
        on_error: Callable[[str, Exception], None],
    ) -> None:
        """Create the worker; `start` starts its thread.

        Args:
            detector: Detects objects, in the worker's thread only.
            cameras: Names of the cameras.
            batch_size: Maximum number of images in a batch.
            scheduler: Lets other workers wait for the detector.
            decode: Decodes an image; raises `ImageError`.
            track: Assigns track ids to the objects of a frame.
            on_scene: Called with each scene.
            on_error: Called with camera and exception of each image that fails.
        """
        self.slots: FrameSlots[T] = FrameSlots(cameras)
        self._detector = detector
        self._batch_size = batch_size
        self._scheduler = scheduler
        self._decode = decode
        self._track = track
        self._on_scene = on_scene
        self._on_error = on_error
        self._detecting = Lock()
        self._thread = Thread(target=self._run, name="perception", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the current batch and join the thread."""
        self.slots.close()
        self._thread.join()

    def set_vocabulary(self, labels: Sequence[str]) -> None:
        """Set the labels that the detector detects, from the next batch on.

        Raises:
            VocabularyError: If the detector cannot detect them.
        """
        with self._detecting:
            self._detector.set_vocabulary(labels)

    def _run(self) -> None:
        while images := self.slots.take(self._batch_size):
            started_s = time.monotonic()
            with self._scheduler.detection():
                if frames := self._decode_all(images):
                    self._perceive(frames, started_s)

    def _decode_all(self, images: Mapping[str, T]) -> dict[str, Frame]:
        """Decode images; errors are reported."""
        frames = {}
        for camera, image in images.items():
            try:
                frames[camera] = self._decode(image)
            except Exception as error:
                self._on_error(camera, error)
        return frames

    def _perceive(self, frames: Mapping[str, Frame], started_s: float) -> None:
        try:
            perceptions = self._detect([frame.image for frame in frames.values()])
        except Exception as error:
            self._on_failed_batch(frames, started_s, error)
            return
        for (camera, frame), perception in zip(frames.items(), perceptions, strict=True):
            try:
                tracked = self._track(frame, perception)
                perceived_s = time.monotonic()
                self._on_scene(Scene(frame, tracked, perceived_s - started_s, perceived_s))
            except Exception as error:
                self._on_error(camera, error)

    def _detect(self, images: Sequence[np.ndarray]) -> list[Perception]:
        with self._detecting:
            return self._detector.detect(images)

    def _on_failed_batch(
        self, frames: Mapping[str, Frame], started_s: float, error: Exception
    ) -> None:
        """Report the camera of a failed image; retry the images of a batch one by one."""
        if len(frames) == 1:
            [camera] = frames
            self._on_error(camera, error)
            return
        for camera, frame in frames.items():
            self._perceive({camera: frame}, started_s)
