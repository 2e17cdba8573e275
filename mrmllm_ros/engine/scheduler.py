# SPDX-License-Identifier: Apache-2.0
"""Cooperative scheduler of the workers that compute on one CPU.

The libraries of the models use all cores, and two of them at once take longer than one after the
other. So the workers take turns:

* Detection starts at once. While a question is pending, some images may be skipped.
* An answer waits after each token while detection is running.
* Enrichment is cut into steps. A step waits while detection is running, while the next image is
  due before the step would end, and while a question is pending.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from threading import Condition

from mrmllm_ros.settings import Validated, setting

# Intervals of images and durations of steps: the median of so many, against outliers.
_SAMPLES = 9
# Duration of a step that has not been measured yet.
_UNKNOWN_STEP_S = 0.02
# Time between the end of a step and the next image, for inexact predictions.
_MARGIN_S = 0.003
# Share of its period by which an image may be late and is still expected.
_LATENESS = 0.25
# Longest wait of a token for detection.
_MAX_TOKEN_WAIT_S = 1.0
# Images that may be processed at once after a pause of the camera.
_MAX_CREDIT = 2.0


@dataclass(frozen=True)
class EnrichmentSettings(Validated):
    """Share of the processor that enrichment gets."""

    min_share: float = setting(
        0.15,
        "Minimum share of the time that enrichment gets on a CPU although the detector is never "
        "idle. With an idle detector, enrichment gets as much as enrich_rate_hz allows. Not used "
        "on CUDA, where both run side by side.",
        minimum=0.01,
        maximum=1.0,
        live=True,
    )
    prefill: bool = setting(
        False,
        "Whether the language model prefills each enriched frame before a question, which saves a "
        "question about a quarter of a second on two CPU cores and costs as much for each frame.",
        live=True,
    )


@dataclass
class _Camera:
    """Arrivals of the images of one camera.

    Attributes:
        last_s: Time of the newest arrival, or None before the first.
        intervals_s: Newest intervals between arrivals.
        credit: Images that may be processed while a question is pending.
    """

    last_s: float | None = None
    intervals_s: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    credit: float = _MAX_CREDIT

    def arrive(self, now_s: float, max_rate_hz: float) -> None:
        if self.last_s is not None:
            self.intervals_s.append(now_s - self.last_s)
            self.credit += self.intervals_s[-1] * max_rate_hz
            self.credit = min(self.credit, _MAX_CREDIT)
        self.last_s = now_s

    def spend_credit(self) -> bool:
        """Whether there was credit for an image."""
        if self.credit < 1:
            return False
        self.credit -= 1
        return True

    def expected_s(self) -> tuple[float, float] | None:
        """Time of the next image, and the latest one; None before the second image."""
        if not self.intervals_s:
            return None
        period_s = median(self.intervals_s)
        due_s = self.last_s + period_s
        return due_s, due_s + _LATENESS * period_s


class Scheduler:
    """Decides when each worker computes; thread-safe.

    Attributes:
        min_share: See `EnrichmentSettings`; may change at any time.
        rate_under_questions_hz: Maximum rate of detection of each camera while a question is
            pending; 0 for no limit; may change at any time.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        *,
        enabled: bool,
        monotonic: Callable[[], float] = time.monotonic,
        changed: Condition | None = None,
    ) -> None:
        """Create a scheduler of idle workers.

        Args:
            cameras: Names of the cameras.
            enabled: Whether workers wait for each other. Otherwise only durations are measured.
            monotonic: Monotonic clock in seconds.
            changed: Condition whose timeouts are on that clock.
        """
        self.min_share = EnrichmentSettings.min_share
        self.rate_under_questions_hz = 0.0
        self._enabled = enabled
        self._now_s = monotonic
        self._changed = changed or Condition()
        self._cameras = {camera: _Camera() for camera in cameras}
        self._durations_s: dict[str, deque[float]] = {}
        self._enrichment_s = 0.0
        self._image_waits = False
        self._detecting = False
        self._detections = 0
        self._questions = 0
        self._urgent = 0

    @property
    def enrichment_s(self) -> float:
        """Seconds that enrichment has computed."""
        with self._changed:
            return self._enrichment_s

    def close(self) -> None:
        """End all waits, now and later."""
        with self._changed:
            self._enabled = False
            self._changed.notify_all()

    def admit(self, camera: str) -> bool:
        """Record the arrival of an image.

        Returns:
            Whether to process the image; false if it exceeds `rate_under_questions_hz`.
        """
        with self._changed:
            arrivals, rate_hz = self._cameras[camera], self.rate_under_questions_hz
            arrivals.arrive(self._now_s(), rate_hz)
            if self._enabled and self._questions and rate_hz and not arrivals.spend_credit():
                return False
            self._image_waits = True
            self._changed.notify_all()
            return True

    @contextmanager
    def detection(self) -> Iterator[None]:
        """Run detection of one batch; others yield to it."""
        with self._changed:
            self._detecting, self._image_waits = True, False
        try:
            yield
        finally:
            with self._changed:
                self._detecting = False
                self._detections += 1
                self._changed.notify_all()

    def begin_question(self) -> None:
        """Enrichment waits until `end_question`."""
        with self._changed:
            self._questions += 1

    def end_question(self) -> None:
        """See `begin_question`."""
        with self._changed:
            self._questions -= 1
            self._changed.notify_all()

    def yield_to_detection(self) -> None:
        """Wait for the end of a detection that is running or about to start."""
        with self._changed:
            before = self._detections
            self._changed.wait_for(
                lambda: not self._enabled or not self._busy() or self._detections != before,
                timeout=_MAX_TOKEN_WAIT_S,
            )

    @contextmanager
    def urgent_enrichment(self) -> Iterator[None]:
        """Let the steps of enrichment run without waiting, because a question needs them."""
        with self._changed:
            self._urgent += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._urgent -= 1

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Run a step of enrichment when the processor is idle; see `compute.Step`.

        Beside a detector that is never idle, a step waits so long that enrichment has its
        minimum share of the time.
        """
        with self._changed:
            self._wait_for_turn(self._duration_s(name))
        started_s = self._now_s()
        try:
            yield
        finally:
            self._record(name, self._now_s() - started_s)

    def _wait_for_turn(self, duration_s: float) -> None:
        patience_s = duration_s * (1 / self.min_share - 1)
        now_s = self._now_s()
        while self._enabled and not self._urgent:
            if self._questions:
                self._changed.wait()
                now_s = self._now_s()
                continue
            idle_from_s = self._idle_from_s(self._now_s(), duration_s)
            wait_s = min(idle_from_s, now_s + patience_s) - self._now_s()
            if wait_s <= 0:
                return
            self._changed.wait(wait_s)

    def _busy(self) -> bool:
        return self._detecting or self._image_waits

    def _idle_from_s(self, now_s: float, duration_s: float) -> float:
        """Time from which a step may start; infinite during detection."""
        if self._busy():
            return float("inf")
        expected = filter(None, (camera.expected_s() for camera in self._cameras.values()))
        end_s = now_s + duration_s + _MARGIN_S
        return max((latest_s for due_s, latest_s in expected if end_s > due_s), default=now_s)

    def _duration_s(self, name: str) -> float:
        durations_s = self._durations_s.get(name)
        return median(durations_s) if durations_s else _UNKNOWN_STEP_S

    def _record(self, name: str, seconds: float) -> None:
        with self._changed:
            self._durations_s.setdefault(name, deque(maxlen=_SAMPLES)).append(seconds)
            self._enrichment_s += seconds
