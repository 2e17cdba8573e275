# SPDX-License-Identifier: Apache-2.0
"""Load the models that the settings select."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mrmllm_ros.answering.answerer import Answerer
from mrmllm_ros.compute import Compute, free_memory
from mrmllm_ros.detection.detector import Detector, load_detector
from mrmllm_ros.engine.engine_settings import Settings
from mrmllm_ros.engine.loading_answerer import LoadingAnswerer

# Receives a line of text for each loaded model.
Progress = Callable[[str], object]


def silent(_: str) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class Models:
    """Loaded detector and answerer.

    Attributes:
        detector: Detects objects.
        answerer: Enriches detections and answers questions; None for detection only.
    """

    detector: Detector
    answerer: Answerer | None

    @classmethod
    def load(
        cls, settings: Settings, progress: Progress = silent, *, in_background: bool = False
    ) -> Models:
        """Load the models onto the selected device.

        Args:
            settings: Choice of the models.
            progress: Called with a line of text for each loaded model.
            in_background: Whether to return when the detector is loaded, while a thread loads the
                answerer: a `LoadingAnswerer`.

        Raises:
            SettingsError: If the device does not exist.
            DetectorError: If the detector cannot be loaded.
            MrmllmError: If the answerer cannot be loaded, see `load_answerer`.
        """
        with timed(f"detector {settings.detector.model}", progress):
            compute = Compute.from_settings(settings.compute)
            detector = load_detector(settings.detector, compute)
        if settings.answerer == "none":
            return cls(detector, None)

        def load() -> Answerer:
            # Imports transformers, which a detector alone does not need.
            from mrmllm_ros.engine.answerer_loading import load_answerer

            answerer = load_answerer(settings, compute, detector, progress)
            # Loading leaves garbage.
            free_memory()
            return answerer

        if in_background:
            return cls(detector, LoadingAnswerer(settings.answering_model, load))
        return cls(detector, load())

    def wait(self) -> None:
        """Wait until nothing is loaded in the background any more, whatever the result."""
        if isinstance(self.answerer, LoadingAnswerer):
            self.answerer.join()


@contextmanager
def timed(name: str, progress: Progress) -> Iterator[None]:
    """Report the time that loading a model takes.

    Args:
        name: Kind and name of the model.
        progress: Called with a line of text after loading without an error.
    """
    started_s = time.monotonic()
    yield
    progress(f"loaded {name} in {time.monotonic() - started_s:.1f} s")
