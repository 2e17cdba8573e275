# SPDX-License-Identifier: Apache-2.0
"""The fusion pass over scenes: at a rate of its own, or when a question asks for one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event, Lock, Thread

from mrmllm_ros.answering.answerer import Answerer
from mrmllm_ros.engine.frame_slots import FrameSlots
from mrmllm_ros.engine.scene import EnrichedScene, Scene, SceneMemory

# So that a rate that is changed takes effect soon.
_LOOKS_AT_RATE_S = 0.5


class Enricher:
    """Has the answering model read scenes, each one once, whoever asks."""

    def __init__(
        self,
        answerer: Answerer,
        memory: SceneMemory,
        on_enriched: Callable[[EnrichedScene], None],
    ) -> None:
        """Prepare the enricher.

        Args:
            answerer: Reads in whichever thread asks, one scene at a time.
            memory: Where enriched scenes are kept.
            on_enriched: Called with each of them.
        """
        self._answerer = answerer
        self._memory = memory
        self._on_enriched = on_enriched
        self._lock = Lock()

    def enrich(self, scene: Scene, max_age_s: float | None = None) -> EnrichedScene:
        """Read a scene.

        Args:
            scene: The scene.
            max_age_s: One whose image is at most so old will do as well: who asks while a pass
                is under way need not wait for another. None for no older one than the scene.

        Returns:
            The enriched scene, or another of the same camera that has been read meanwhile.
        """
        asked_s = time.monotonic()
        with self._lock:
            known = self._memory.enriched(scene.frame.camera)
            if known is not None and known.scene.perceived_s >= scene.perceived_s:
                return known
            if known is not None and max_age_s is not None:
                # What grew old while a pass was waited for was new enough when it was asked for.
                waited_s = time.monotonic() - asked_s
                if self._memory.age_s(known.scene) - waited_s <= max_age_s:
                    return known
            [encoded] = self._answerer.encode([scene.frame.image], [scene.perception])
            latency_s = scene.latency_s + time.monotonic() - scene.perceived_s
            enriched = EnrichedScene(scene, encoded, latency_s)
            self._memory.put_enriched(enriched)
        self._on_enriched(enriched)
        return enriched


class EnrichmentWorker:
    """The thread that has the newest scenes enriched, over and over, at a bounded rate.

    The cameras take turns.

    Attributes:
        slots: Take scenes.
        rate_hz: Most passes a second, those of all cameras together; may be changed at any time.
    """

    def __init__(
        self,
        enricher: Enricher,
        cameras: Sequence[str],
        rate_hz: float,
        on_error: Callable[[Exception], None],
    ) -> None:
        """Prepare the worker; `start` starts it.

        Args:
            enricher: Reads the scenes.
            cameras: Names of the cameras.
            rate_hz: Most passes a second; 0 for none.
            on_error: Called in the worker's thread with each failure.
        """
        self.slots: FrameSlots[Scene] = FrameSlots(cameras)
        self.rate_hz = rate_hz
        self._enricher = enricher
        self._on_error = on_error
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="enrichment", daemon=True)

    def start(self) -> None:
        """Start taking scenes."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more scenes and wait for the one under way."""
        self._stopping.set()
        self.slots.close()
        self._thread.join()

    def offer(self, scene: Scene) -> None:
        """Take a scene if it is its camera's newest when its turn comes; returns at once."""
        if self.rate_hz > 0:
            self.slots.put(scene.frame.camera, scene)

    def _run(self) -> None:
        while scenes := self.slots.take():
            [scene] = scenes.values()
            started_s = time.monotonic()
            try:
                self._enricher.enrich(scene)
            except Exception as error:
                self._on_error(error)
            self._rest(started_s)

    def _rest(self, since_s: float) -> None:
        while not self._stopping.is_set() and (rest_s := self._left(since_s)) > 0:
            self._stopping.wait(min(rest_s, _LOOKS_AT_RATE_S))

    def _left(self, since_s: float) -> float:
        # Read once: it may become 0 at any time.
        rate_hz = self.rate_hz
        return since_s + 1 / rate_hz - time.monotonic() if rate_hz > 0 else 0.0
