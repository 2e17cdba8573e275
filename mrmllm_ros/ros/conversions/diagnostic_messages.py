# SPDX-License-Identifier: Apache-2.0
"""Statuses of an engine for `/diagnostics` (REP 107).

A status covers the last `diagnostics.window_s` seconds; docs/diagnostics.md lists the levels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from mrmllm_ros.compute import DeviceUse
from mrmllm_ros.engine.metrics import (
    CameraStatistics,
    EngineStatistics,
    Latency,
    QuestionStatistics,
)
from mrmllm_ros.errors import rounded
from mrmllm_ros.settings import Validated, setting

S = TypeVar("S", CameraStatistics, QuestionStatistics)

_OK, _WARN, _ERROR, _STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)
_ALMOST_FULL = 0.95
_MIB = 2**20


@dataclass(frozen=True)
class DiagnosticsSettings(Validated):
    """Settings of the diagnostics."""

    period_s: float = setting(
        1.0, "Period of /diagnostics in seconds.", minimum=0.1, maximum=3600.0
    )
    window_s: float = setting(
        5.0,
        "Window of the diagnostics in seconds; a camera without an image in it is stale.",
        minimum=0.1,
        maximum=3600.0,
        live=True,
    )
    max_dropped: float = setting(
        0.5,
        "Maximum share of dropped images of a camera; a larger share is a warning.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )


@dataclass(frozen=True)
class Snapshot:
    """State of an engine, its models and inputs at one time.

    Attributes:
        statistics: Statistics since the start of the engine.
        time_s: Time on the monotonic clock, in seconds.
        enabled: Whether the engine accepts images and questions.
        enrich_rate_hz: Maximum number of fusion passes per second.
        models: Names of the models, by role.
        loading: Name of the model that is being loaded; empty if none is.
        device: Device of the models.
        inputs: Explanation of missing images, by camera.
        waits_for_clock: Whether the node uses `/clock` and has received no time.
    """

    statistics: EngineStatistics
    time_s: float
    enabled: bool
    enrich_rate_hz: float
    models: Mapping[str, str]
    loading: str
    device: DeviceUse
    inputs: Mapping[str, str]
    waits_for_clock: bool


class Finding(NamedTuple):
    """Finding of a check.

    Attributes:
        level: Level of `DiagnosticStatus`.
        message: Problem and fix.
    """

    level: bytes
    message: str


def status(
    name: str, findings: Iterable[Finding], values: Mapping[str, str], *, hardware_id: str = ""
) -> DiagnosticStatus:
    """Make a status with the messages of the worst findings.

    Args:
        name: Name of the status, without the name of the node.
        findings: One or more findings.
        values: Further values by name.
        hardware_id: Device or camera; may be empty.
    """
    findings = list(findings)
    worst = max(level for level, _ in findings)
    return DiagnosticStatus(
        level=worst,
        name=name,
        message="; ".join(message for level, message in findings if level == worst),
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


class EngineDiagnostics:
    """Compares snapshots of an engine over a sliding window."""

    def __init__(self, start: Snapshot) -> None:
        """Start the first window.

        Args:
            start: Current snapshot.
        """
        self._snapshots = deque([start])

    def statuses(
        self, snapshot: Snapshot, settings: DiagnosticsSettings
    ) -> list[DiagnosticStatus]:
        """Return a status for each camera, for the questions and for the models.

        Args:
            snapshot: Current snapshot.
            settings: Window and limits.
        """
        start, full = self._window_start(snapshot, settings.window_s)
        seconds = snapshot.time_s - start.time_s
        before, now = start.statistics, snapshot.statistics
        cameras = [
            _camera_status(
                name, Window(before.cameras[name], camera, seconds, full), snapshot, settings
            )
            for name, camera in now.cameras.items()
        ]
        questions = _question_status(Window(before.questions, now.questions, seconds, full))
        share = (now.enrichment_s - before.enrichment_s) / seconds
        return [*cameras, questions, _models_status(snapshot, share)]

    def _window_start(self, snapshot: Snapshot, window_s: float) -> tuple[Snapshot, bool]:
        """Return the snapshot at the start of the window, and whether the window is full."""
        self._snapshots.append(snapshot)
        start_s = snapshot.time_s - window_s
        while self._snapshots[1].time_s <= start_s:
            self._snapshots.popleft()
        start = self._snapshots[0]
        return start, start.time_s <= start_s


@dataclass(frozen=True)
class Window(Generic[S]):
    """Window of statistics.

    Attributes:
        before: Statistics at the start.
        now: Statistics at the end.
        seconds: Length in seconds.
        full: Whether it has its full length; it is shorter after the start of the engine.
    """

    before: S
    now: S
    seconds: float
    full: bool

    def count(self, counter: str) -> int:
        """Return the increase of a counter."""
        return getattr(self.now, counter) - getattr(self.before, counter)

    def rate_hz(self, counter: str) -> float:
        """Return the increase of a counter per second."""
        return self.count(counter) / self.seconds

    def __str__(self) -> str:
        return f"in the last {rounded(self.seconds, 2)} s"


def _camera_status(
    name: str,
    window: Window[CameraStatistics],
    snapshot: Snapshot,
    settings: DiagnosticsSettings,
) -> DiagnosticStatus:
    received_hz, processed_hz = window.rate_hz("received"), window.rate_hz("processed")
    if not snapshot.enabled:
        findings = [Finding(_OK, "disabled; enable it with the service enable")]
    elif not window.count("received"):
        findings = [Finding(_STALE, _no_image(window, snapshot.inputs[name]))]
    else:
        findings = [
            Finding(_OK, f"{rounded(received_hz)} images/s, {rounded(processed_hz)} results/s"),
            *_result_findings(window),
            *_speed_findings(window, snapshot, settings),
        ]
    camera = window.now
    values = {
        "camera rate (Hz)": rounded(received_hz),
        "processed rate (Hz)": rounded(processed_hz),
        "fusion rate (Hz)": rounded(window.rate_hz("enriched")),
        "received": str(camera.received),
        "processed": str(camera.processed),
        "dropped": str(camera.dropped),
        "unusable": str(camera.unusable),
        "failed": str(camera.failed),
        "invalid objects": str(camera.invalid),
        "objects outside the image": str(camera.outside),
        **_latency_values("latency", camera.latency),
        **_latency_values("latency with fusion", camera.enriched_latency),
        "age of the newest result (s)": _seconds(camera.age_s),
    }
    return status(f"camera {name}", findings, values, hardware_id=name)


def _no_image(window: Window[CameraStatistics], source: str) -> str:
    return f"no image received {window if window.now.received else 'yet'}; {source}"


def _result_findings(window: Window[CameraStatistics]) -> Iterator[Finding]:
    """Check that images yield results."""
    last_error = window.now.last_error
    images, unusable, failed = map(window.count, ("received", "unusable", "failed"))
    level = _WARN if window.count("processed") else _ERROR
    if unusable:
        yield Finding(
            level,
            f"{unusable} of {images} images were unusable {window}; check the encoding of the "
            f"camera and image_transport ({last_error})",
        )
    if failed:
        yield Finding(
            level,
            f"detection failed on {failed} of {images} images {window}; see the node's log "
            f"({last_error})",
        )
    if invalid := window.count("invalid"):
        yield Finding(
            _WARN,
            f"{invalid} objects of {window.count('processed')} images were invalid {window} and "
            f"dropped; export the detector again or use another one (detector.model) "
            f"({window.now.invalid_reason})",
        )
    if level == _ERROR and window.full and not (unusable or failed):
        yield Finding(
            _ERROR,
            f"no result from {images} images {window}; the detector is too slow or hangs: use a "
            "smaller one (detector.model) or another device (compute.device)",
        )


def _speed_findings(
    window: Window[CameraStatistics], snapshot: Snapshot, settings: DiagnosticsSettings
) -> Iterator[Finding]:
    """Check rate and age of the results."""
    images, dropped = window.count("received"), window.count("dropped")
    if dropped > settings.max_dropped * images:
        yield Finding(
            _WARN,
            f"{dropped} of {images} images were dropped {window}; lower the camera's rate, or "
            "use a smaller detector (detector.model) or another device (compute.device)",
        )
    if not window.count("processed"):
        return
    age_s = window.now.age_s
    if age_s is not None and age_s > settings.window_s:
        yield Finding(
            _WARN,
            "the node's clock is 0: use_sim_time is true, but no time was received on /clock; "
            "play the bag with --clock, or set use_sim_time to false"
            if snapshot.waits_for_clock
            else f"newest result and node's clock differ by {rounded(age_s)} s; "
            "synchronize the clocks, or set use_sim_time to play a bag",
        )
    due = snapshot.enrich_rate_hz * window.seconds / len(snapshot.statistics.cameras)
    # On a CPU, enrichment waits for answers.
    answering = snapshot.statistics.questions.running
    if due > 1 and window.full and not window.count("enriched") and not answering:
        yield Finding(
            _WARN,
            f"no fusion pass {window}; use a smaller language model or another device, or see the "
            f"node's log ({snapshot.statistics.last_error or 'no error'})",
        )


def _question_status(window: Window[QuestionStatistics]) -> DiagnosticStatus:
    questions = window.now
    values = {
        "waiting": str(questions.waiting),
        "answered": str(questions.answered),
        "rejected": str(questions.rejected),
        "failed": str(questions.failed),
        "cancelled": str(questions.cancelled),
        **_latency_values("latency", questions.latency),
    }
    return status("questions", _question_findings(window), values)


def _question_findings(window: Window[QuestionStatistics]) -> Iterator[Finding]:
    answered, rejected, failed = map(window.count, ("answered", "rejected", "failed"))
    yield Finding(_OK, f"{answered} answered {window}, {window.now.waiting} waiting")
    if failed:
        yield Finding(
            _WARN if answered else _ERROR,
            f"{failed} of {failed + answered} questions failed {window}; see the responses and "
            "the node's log",
        )
    if rejected:
        yield Finding(
            _WARN,
            f"{rejected} questions rejected {window}; see the responses and the node's log (if "
            "too many wait: ask less often, or raise question.max_waiting)",
        )


def _models_status(snapshot: Snapshot, fusion_share: float) -> DiagnosticStatus:
    device = snapshot.device
    values = {
        **snapshot.models,
        "fusion share of time": rounded(fusion_share),
        "device": device.name,
        "memory used (MiB)": _mebibytes(device.used_bytes),
        "memory total (MiB)": _mebibytes(device.total_bytes),
        "last error": snapshot.statistics.last_error,
    }
    return status("models", _model_findings(snapshot), values, hardware_id=device.name)


def loading_status(model: str) -> DiagnosticStatus:
    """Status of a node that is loading a model and not active yet.

    Args:
        model: Name of the model.
    """
    return status("models", [Finding(_WARN, f"loading {model}")], {})


def _model_findings(snapshot: Snapshot) -> Iterator[Finding]:
    device = snapshot.device
    yield Finding(_OK, f"running on {device.name}")
    if snapshot.loading:
        yield Finding(_WARN, f"loading {snapshot.loading}; until then the node only detects")
    if device.total_bytes and device.used_bytes > _ALMOST_FULL * device.total_bytes:
        yield Finding(
            _WARN,
            f"{_mebibytes(device.used_bytes)} of the {_mebibytes(device.total_bytes)} MiB of "
            f"memory of {device.name} are used; use smaller models or lower question.parallel",
        )


def _latency_values(name: str, latency: Latency | None) -> dict[str, str]:
    return {
        f"{name}, median (s)": _seconds(latency and latency.median_s),
        f"{name}, 95th percentile (s)": _seconds(latency and latency.p95_s),
    }


def _seconds(value: float | None) -> str:
    return "" if value is None else rounded(value)


def _mebibytes(count: int | None) -> str:
    return "" if count is None else f"{count / _MIB:.0f}"
