# SPDX-License-Identifier: Apache-2.0
"""Counts and latencies of images and questions."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

import numpy as np

# 10 s of a camera at 30 Hz.
_WINDOW = 300


@dataclass(frozen=True)
class Latency:
    """Percentiles of the newest 300 latencies.

    Attributes:
        median_s: Median in seconds.
        p95_s: 95th percentile in seconds.
    """

    median_s: float
    p95_s: float


@dataclass(frozen=True)
class CameraStatistics:
    """Statistics of a camera since the start.

    Attributes:
        received: Received images.
        dropped: Images that were replaced by a newer one before they were processed.
        unusable: Images that could not be decoded.
        failed: Images with an exception in the detector, the tracker or the listener.
        processed: Images whose scene was passed to the listener.
        enriched: Images after the fusion pass.
        latency: From the start of decoding to the scene; None before the first.
        enriched_latency: From the start of decoding to the end of the fusion pass; None before
            the first.
        age_s: Age of the newest scene's image in seconds; None before the first.
        invalid: Objects of the detector with an invalid box, score or class.
        outside: Objects of the detector outside the image.
        last_error: Newest error of an image; empty if there was none.
        invalid_reason: Newest reasons of invalid objects; empty if there were none.
    """

    received: int
    dropped: int
    unusable: int
    failed: int
    processed: int
    enriched: int
    latency: Latency | None
    enriched_latency: Latency | None
    age_s: float | None
    invalid: int = 0
    outside: int = 0
    last_error: str = ""
    invalid_reason: str = ""


@dataclass(frozen=True)
class QuestionStatistics:
    """Statistics of questions since the start.

    Attributes:
        waiting: Questions in the queue now.
        running: Questions that are being answered now.
        answered: Questions with an answer.
        rejected: Questions that were not queued.
        failed: Queued questions that ended with an error.
        cancelled: Questions that were cancelled by the client, or because the engine stopped.
        latency: From the request to the complete answer; None before the first.
    """

    waiting: int
    answered: int
    rejected: int
    failed: int
    cancelled: int
    latency: Latency | None
    running: int = 0


@dataclass(frozen=True)
class EngineStatistics:
    """Statistics of the engine.

    Attributes:
        cameras: Statistics by name of the camera.
        questions: Statistics of all questions.
        last_error: Newest error of an image or a model; empty if there was none.
        enrichment_s: Seconds that fusion passes have computed.
    """

    cameras: Mapping[str, CameraStatistics]
    questions: QuestionStatistics
    last_error: str
    enrichment_s: float = 0.0


class Counter:
    """Counts outcomes by name, with their newest latencies; thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: collections.Counter[str] = collections.Counter()
        self._latencies_s: collections.defaultdict[str, collections.deque[float]] = (
            collections.defaultdict(lambda: collections.deque(maxlen=_WINDOW))
        )

    def add(self, outcome: str, latency_s: float | None = None, count: int = 1) -> None:
        """Count an outcome.

        Args:
            outcome: Name of the outcome.
            latency_s: Latency in seconds, if known.
            count: Number to add.
        """
        with self._lock:
            self._counts[outcome] += count
            if latency_s is not None:
                self._latencies_s[outcome].append(latency_s)

    def counts(self, *outcomes: str) -> dict[str, int]:
        """Counts by outcome."""
        with self._lock:
            return {outcome: self._counts[outcome] for outcome in outcomes}

    def latency(self, outcome: str) -> Latency | None:
        """Newest latencies of an outcome; None if there are none."""
        with self._lock:
            latencies_s = list(self._latencies_s[outcome])
        if not latencies_s:
            return None
        return Latency(*(float(p) for p in np.percentile(latencies_s, [50, 95])))
