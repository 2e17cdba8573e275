# SPDX-License-Identifier: Apache-2.0
"""Compare processes that detect objects in the images of a camera of steady rate.

The processes run at the same time, but only one receives images: they take turns in blocks of
the same images. So all see the same state of the machine, and an idle process shows the processor
time that it takes without images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Protocol

import numpy as np

from mrmllm_ros.benchmarks.process_usage import ProcessUsage

# Share of one processor of a process without images, for timers and messages.
_IDLE_SHARE = 0.1
_MAX_SETTLE_PERIODS = 40


@dataclass
class Received:
    """Images offered to a subject, and results received from it.

    Attributes:
        offered: Number of images.
        latencies_s: Time from image to detections of each result, in seconds.
        objects: Number of objects in all results.
        enriched: Number of enriched results.
    """

    offered: int = 0
    latencies_s: list[float] = field(default_factory=list)
    objects: int = 0
    enriched: int = 0

    def add(self, other: Received) -> None:
        """Add the images and results of a further block."""
        self.offered += other.offered
        self.latencies_s += other.latencies_s
        self.objects += other.objects
        self.enriched += other.enriched


class Subject(Protocol):
    """Process that detects objects in images.

    Attributes:
        name: Name in the figures.
        pid: Id of the process.
        log: Log of the process; None without one.
    """

    name: str
    pid: int
    log: Path | None

    def offer(self, image: np.ndarray) -> None:
        """Send an (H, W, 3) uint8 BGR image; returns immediately."""

    def receive(self, timeout_s: float) -> None:
        """Receive at most one result within a time."""

    def take(self) -> Received:
        """Return images and results since the last call."""


@dataclass(frozen=True)
class Schedule:
    """Rate and blocks of the images.

    Attributes:
        rate_hz: Rate of the camera.
        frames: Number of measured images of each subject, rounded up to whole blocks.
        block: Number of measured images of a block.
        warm_up: Number of images before them, whose results do not count.
        settle_s: Seconds without noticeable processor time of a subject, before the next one
            receives images.
    """

    rate_hz: float = 10.0
    frames: int = 200
    block: int = 20
    warm_up: int = 5
    settle_s: float = 0.25

    @property
    def rounds(self) -> int:
        """Number of blocks of each subject."""
        return -(-self.frames // self.block)


@dataclass
class Measurement:
    """Sums over the blocks of a subject.

    Attributes:
        received: Images and results.
        busy_s: Duration of the measured images in seconds.
        cpu_s: Processor time of the subject meanwhile, in seconds.
        idle_s: Duration of the other subjects' blocks in seconds.
        idle_cpu_s: Processor time of the subject during the other subjects' blocks, in seconds.
        usage: Resources after the last block.
    """

    received: Received = field(default_factory=Received)
    busy_s: float = 0.0
    cpu_s: float = 0.0
    idle_s: float = 0.0
    idle_cpu_s: float = 0.0
    usage: ProcessUsage | None = None

    @property
    def cpu_ms_per_frame(self) -> float:
        """Processor time for each result, in milliseconds."""
        return 1e3 * self.cpu_s / len(self.received.latencies_s)

    @property
    def idle_cpu_percent(self) -> float:
        """Processor time without images, in percent of one processor."""
        return 100 * self.idle_cpu_s / self.idle_s if self.idle_s else 0.0


class Comparison:
    """Measurements of subjects that take turns in blocks."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        schedule: Schedule,
        *,
        usage_of: Callable[[int], ProcessUsage] = ProcessUsage.of,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare the measurement.

        Args:
            subjects: Subjects with different names.
            schedule: Rate and blocks.
            usage_of: Measures a process by its id.
            clock: Seconds; advances while a subject receives.
        """
        self.measurements = {subject.name: Measurement() for subject in subjects}
        self._subjects = subjects
        self._schedule = schedule
        self._usage_of = usage_of
        self._clock = clock
        # Time and processor time at the end of the last block of each subject.
        self._ended: dict[str, tuple[float, float]] = {}

    def run(self, images: Sequence[np.ndarray]) -> None:
        """Measure all blocks.

        Args:
            images: (H, W, 3) uint8 BGR images, repeated as often as needed.
        """
        source, schedule = cycle(images), self._schedule
        for number in range(schedule.rounds):
            block = list(islice(source, schedule.warm_up + schedule.block))
            # No subject always follows the same other one.
            first = number % len(self._subjects)
            for subject in (*self._subjects[first:], *self._subjects[:first]):
                self._measure(subject, block)

    def _measure(self, subject: Subject, block: Sequence[np.ndarray]) -> None:
        measurement, warm_up = self.measurements[subject.name], self._schedule.warm_up
        self._add_idle(subject)
        self._play(subject, block[:warm_up])
        # From here to the end of the images the subject is in a steady state: work that an image
        # leaves behind at the end corresponds to that of the warm-up at the beginning.
        subject.take()
        started_s, before = self._clock(), self._usage_of(subject.pid)
        self._play(subject, block[warm_up:])
        measurement.received.add(subject.take())
        measurement.busy_s += self._clock() - started_s
        measurement.usage = self._usage_of(subject.pid)
        measurement.cpu_s += measurement.usage.cpu_s - before.cpu_s
        self._settle(subject)
        self._ended[subject.name] = (self._clock(), self._usage_of(subject.pid).cpu_s)

    def _add_idle(self, subject: Subject) -> None:
        if subject.name in self._ended:
            ended_s, cpu_s = self._ended[subject.name]
            measurement = self.measurements[subject.name]
            measurement.idle_s += self._clock() - ended_s
            measurement.idle_cpu_s += self._usage_of(subject.pid).cpu_s - cpu_s

    def _play(self, subject: Subject, images: Sequence[np.ndarray]) -> None:
        """Offer images at the rate, and receive until another one is due."""
        clock, period_s = self._clock, 1 / self._schedule.rate_hz
        due_s = clock()
        for image in images:
            subject.offer(image)
            # Do not catch up on a late image with a burst.
            due_s = max(due_s + period_s, clock())
            _receive_until(subject, due_s, clock)

    def _settle(self, subject: Subject) -> None:
        """Receive until a subject takes no more processor time, or for a limited time."""
        period_s = self._schedule.settle_s
        for _ in range(_MAX_SETTLE_PERIODS):
            before_s = self._usage_of(subject.pid).cpu_s
            _receive_until(subject, self._clock() + period_s, self._clock)
            if self._usage_of(subject.pid).cpu_s - before_s <= _IDLE_SHARE * period_s:
                return


def _receive_until(subject: Subject, until_s: float, clock: Callable[[], float]) -> None:
    while (left_s := until_s - clock()) > 0:
        subject.receive(left_s)


def comparison_tables(
    measurements: dict[str, Measurement], baseline: str
) -> dict[str, dict[str, dict[str, float]]]:
    """Figures by table, subject and column.

    Args:
        measurements: By subject; each has results.
        baseline: Subject that the others are divided by.

    Returns:
        Three tables: `results` with times in milliseconds, memory in MiB and rates in Hz;
        `counts` with numbers of images and objects; `ratio_to_BASELINE`.
    """
    results = {name: _results(measurement) for name, measurement in measurements.items()}
    base = results[baseline]
    ratios = {
        name: {
            column: round(row[column] / base[column], 3) for column in row if column in _COMPARED
        }
        for name, row in results.items()
    }
    counts = {name: _counts(measurement) for name, measurement in measurements.items()}
    return {"results": results, f"ratio_to_{baseline}": ratios, "counts": counts}


_COMPARED = ("median_ms", "p95_ms", "cpu_ms_per_frame", "resident_mib", "anonymous_mib")


def _results(measurement: Measurement) -> dict[str, float]:
    median_s, p95_s = np.percentile(measurement.received.latencies_s, [50, 95])
    return {
        "median_ms": round(1e3 * float(median_s), 2),
        "p95_ms": round(1e3 * float(p95_s), 2),
        "cpu_ms_per_frame": round(measurement.cpu_ms_per_frame, 2),
        "idle_cpu_percent": round(measurement.idle_cpu_percent, 2),
        "resident_mib": measurement.usage.resident_mib,
        "anonymous_mib": measurement.usage.anonymous_mib,
        "enriched_hz": round(measurement.received.enriched / measurement.busy_s, 2),
    }


def _counts(measurement: Measurement) -> dict[str, float]:
    received = measurement.received
    processed = len(received.latencies_s)
    return {
        "offered": received.offered,
        "processed": processed,
        "dropped": received.offered - processed,
        "objects_per_frame": round(received.objects / processed, 2),
    }
