# SPDX-License-Identifier: Apache-2.0
"""Enrichment of scenes by the fusion pass: at a bounded rate, and on demand for questions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event, Lock, Thread

from mrmllm_ros.answering.answerer import Answerer
from mrmllm_ros.compute import Step, at_once
from mrmllm_ros.engine.frame_slots import FrameSlots
from mrmllm_ros.engine.scene import EnrichedScene, Scene, SceneMemory
from mrmllm_ros.engine.scheduler import EnrichmentSettings, Scheduler

# A changed rate takes effect within this time.
_RATE_CHECK_PERIOD_S = 0.5


class Enricher:
    """Enriches each scene at most once, for the worker and for questions."""

    def __init__(
        self,
        answerer: Answerer,
        memory: SceneMemory,
        on_enriched: Callable[[EnrichedScene], None],
        step: Step = at_once,
    ) -> None:
        """Create the enricher.

        Args:
            answerer: Encodes one scene at a time, in the thread of the caller.
            memory: Stores the enriched scenes.
            on_enriched: Called with each enriched scene.
            step: Context of each step of a pass.
        """
        self._step = step
        self._answerer = answerer
        self._memory = memory
        self._on_enriched = on_enriched
        self._lock = Lock()

    def enrich(self, scene: Scene, max_age_s: float | None = None) -> EnrichedScene:
        """Enrich a scene.

        Args:
            scene: The scene.
            max_age_s: Maximum age of the image, if an older enriched scene is sufficient, so that
                a caller during a pass need not wait for another one. None accepts no older scene.

        Returns:
            The enriched scene, or one of the same camera that was enriched in the meantime.
        """
        started_s = time.monotonic()
        with self._lock:
            newest = self._memory.enriched(scene.frame.camera)
            if newest is not None and newest.scene.perceived_s >= scene.perceived_s:
                return newest
            if newest is not None and max_age_s is not None:
                # The age counts from the call, not from the end of another pass.
                waited_s = time.monotonic() - started_s
                if self._memory.age_s(newest.scene) - waited_s <= max_age_s:
                    return newest
            [encoded] = self._answerer.encode([scene.frame.image], [scene.perception], self._step)
            latency_s = scene.latency_s + time.monotonic() - scene.perceived_s
            enriched = EnrichedScene(scene, encoded, latency_s)
            self._memory.put_enriched(enriched)
        self._on_enriched(enriched)
        return enriched


class EnrichmentWorker:
    """Thread that enriches the newest scenes of the cameras in turn, at a bounded rate.

    Attributes:
        slots: Waiting scenes.
        rate_hz: Maximum rate of passes over all cameras; may change at any time.
        prefill: Whether to prefill enriched scenes; may change at any time.
    """

    def __init__(
        self,
        enricher: Enricher,
        cameras: Sequence[str],
        rate_hz: float,
        scheduler: Scheduler,
        on_error: Callable[[Exception], None],
    ) -> None:
        """Create the worker; `start` starts its thread.

        Args:
            enricher: Enriches the scenes.
            cameras: Names of the cameras.
            rate_hz: Maximum rate of passes; 0 for none.
            scheduler: Decides when the steps of a prefill run.
            on_error: Called with each exception, in the worker's thread.
        """
        self.slots: FrameSlots[Scene] = FrameSlots(cameras)
        self.rate_hz = rate_hz
        self.prefill = EnrichmentSettings.prefill
        self._scheduler = scheduler
        self._enricher = enricher
        self._on_error = on_error
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="enrichment", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the current pass and join the thread."""
        self._stopping.set()
        self.slots.close()
        self._thread.join()

    def offer(self, scene: Scene) -> None:
        """Put a scene into the slot of its camera, unless the rate is 0; returns immediately."""
        if self.rate_hz > 0:
            self.slots.put(scene.frame.camera, scene)

    def _run(self) -> None:
        while scenes := self.slots.take():
            [scene] = scenes.values()
            started_s = time.monotonic()
            try:
                self._prefill(self._enricher.enrich(scene))
            except Exception as error:
                self._on_error(error)
            self._wait_for_period(started_s)

    def _prefill(self, enriched: EnrichedScene) -> None:
        if self.prefill:
            enriched.encoded.prefill(self._scheduler.step)

    def _wait_for_period(self, started_s: float) -> None:
        while not self._stopping.is_set() and (left_s := self._time_left(started_s)) > 0:
            self._stopping.wait(min(left_s, _RATE_CHECK_PERIOD_S))

    def _time_left(self, started_s: float) -> float:
        # Read once, because another thread may set it to 0.
        rate_hz = self.rate_hz
        return started_s + 1 / rate_hz - time.monotonic() if rate_hz > 0 else 0.0
