# SPDX-License-Identifier: Apache-2.0
"""What has become of images and questions, in numbers."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

import numpy as np

# Ten seconds of a camera at 30 Hz.
_WINDOW = 300


@dataclass(frozen=True)
class Latency:
    """The newest latencies of one kind, at most 300.

    Attributes:
        median_s: Their median in seconds.
        p95_s: Their 95th percentile in seconds.
    """

    median_s: float
    p95_s: float


@dataclass(frozen=True)
class CameraStatistics:
    """What has become of a camera's images since the start.

    Attributes:
        received: Images that came.
        dropped: Those that a newer one replaced before their turn.
        unusable: Those that could not be decoded.
        failed: Those that the detector failed on, or whoever got its detections.
        processed: Those whose detections were given out.
        enriched: Those that the answering model has read.
        latency: From taking up an image to its detections; None before the first.
        enriched_latency: From taking up an image to the end of its fusion pass, likewise.
        age_s: Age of the newest detections' image in seconds; None before the first.
        invalid: Objects that the detector gave with an unusable box, score or class.
        outside: Objects that it gave outside the image.
        last_error: Newest reason why an image gave no detections; empty where there was none.
        invalid_reason: Newest reasons why objects were invalid; empty where there were none.
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
    """What has become of questions since the start.

    Attributes:
        waiting: Those in the line now.
        answered: Those with an answer.
        rejected: Those that were not taken into the line.
        failed: Those that were, and ended with an error.
        cancelled: Those that were cancelled, by the asker or because the engine stopped.
        latency: From receiving a question to the complete answer; None before the first.
    """

    waiting: int
    answered: int
    rejected: int
    failed: int
    cancelled: int
    latency: Latency | None


@dataclass(frozen=True)
class EngineStatistics:
    """Everything at one moment.

    Attributes:
        cameras: By name of the camera.
        questions: All questions together.
        last_error: The newest failure of an image or a model; empty where there was none.
    """

    cameras: Mapping[str, CameraStatistics]
    questions: QuestionStatistics
    last_error: str


class Counter:
    """Counts outcomes by name and keeps their newest latencies; safe between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: collections.Counter[str] = collections.Counter()
        self._latencies_s: collections.defaultdict[str, collections.deque[float]] = (
            collections.defaultdict(lambda: collections.deque(maxlen=_WINDOW))
        )

    def add(self, outcome: str, latency_s: float | None = None, count: int = 1) -> None:
        """Count one more, or several.

        Args:
            outcome: What has happened.
            latency_s: How long it took in seconds, where that is of interest.
            count: How often it has happened.
        """
        with self._lock:
            self._counts[outcome] += count
            if latency_s is not None:
                self._latencies_s[outcome].append(latency_s)

    def count(self, outcome: str) -> int:
        """How often it has happened."""
        with self._lock:
            return self._counts[outcome]

    def latency(self, outcome: str) -> Latency | None:
        """How long it took lately; None where nobody has said."""
        with self._lock:
            latencies_s = list(self._latencies_s[outcome])
        if not latencies_s:
            return None
        return Latency(*(float(p) for p in np.percentile(latencies_s, [50, 95])))
