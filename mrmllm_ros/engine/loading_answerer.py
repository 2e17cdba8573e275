# SPDX-License-Identifier: Apache-2.0
"""Answerer that is loaded in a thread, while the detector works already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from threading import Lock, Thread
from typing import Any

import numpy as np

from mrmllm_ros.answering.answerer import Answer, Answerer, EncodedImage, Question, TextListener
from mrmllm_ros.compute import Step, at_once
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.model.prompt import PromptSettings


class LoadingAnswerer(Answerer[EncodedImage]):
    """Answerer whose methods wait until it is loaded, and raise the error if that fails."""

    def __init__(self, name: str, load: Callable[[], Answerer[EncodedImage]]) -> None:
        """Start loading.

        Args:
            name: Name of the model until it is loaded.
            load: Loads the answerer, in a thread.
        """
        self._name = name
        self._loading: Future[Answerer[EncodedImage]] = Future()
        self._configuring = Lock()
        # Newest argument of each method that must not wait.
        self._configured: dict[str, Any] = {}
        self._thread = Thread(target=self._load, args=(load,), name="loading", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """See `Answerer`."""
        return self._loading.result().name if self.loaded else self._name

    @property
    def state(self) -> str:
        """See `Answerer`; `loading` or `failed` without a model."""
        if self.loaded:
            return self._loading.result().state
        return "failed" if self._loading.done() else "loading"

    @property
    def labels(self) -> tuple[str, ...]:
        """See `Answerer`; empty without a model."""
        return self._loading.result().labels if self.loaded else ()

    @property
    def loaded(self) -> bool:
        """See `Answerer`."""
        return self._loading.done() and self._loading.exception() is None

    def wait_until_loaded(self, timeout_s: float) -> bool:
        """See `Answerer.wait_until_loaded`."""
        if not wait([self._loading], timeout_s).done:
            return False
        self._loading.result()
        return True

    def add_done_callback(self, on_done: Callable[[Exception | None], None]) -> None:
        """Call a function when loading has ended, in the loading thread or at once.

        Args:
            on_done: Called with the exception, or None.
        """
        self._loading.add_done_callback(lambda loading: on_done(loading.exception()))

    def join(self) -> None:
        """Wait until loading has ended, whatever the result."""
        self._thread.join()

    def encode(
        self,
        images: Sequence[np.ndarray],
        perceptions: Sequence[Perception],
        step: Step = at_once,
    ) -> list[EncodedImage]:
        """See `Answerer.encode`."""
        return self._loading.result().encode(images, perceptions, step)

    def answer(self, encoded: EncodedImage, question: Question, listener: TextListener) -> Answer:
        """See `Answerer.answer`."""
        return self._loading.result().answer(encoded, question, listener)

    def configure(self, settings: PromptSettings) -> None:
        """See `Answerer.configure`; never waits."""
        self._configure("configure", settings)

    def set_context(self, context: str) -> None:
        """See `Answerer.set_context`; never waits."""
        self._configure("set_context", context)

    def set_vocabulary(self, labels: Sequence[str]) -> None:
        """See `Answerer.set_vocabulary`."""
        self._loading.result().set_vocabulary(labels)

    def _configure(self, method: str, value: Any) -> None:
        """Call a method of the answerer now, or when it is loaded."""
        with self._configuring:
            self._configured[method] = value
            if self.loaded:
                getattr(self._loading.result(), method)(value)

    def _load(self, load: Callable[[], Answerer[EncodedImage]]) -> None:
        try:
            answerer = load()
        except Exception as error:
            self._loading.set_exception(error)
            return
        with self._configuring:
            for method, value in self._configured.items():
                getattr(answerer, method)(value)
            self._loading.set_result(answerer)
