# SPDX-License-Identifier: Apache-2.0
"""What an engine counts as statuses for `/diagnostics` (REP 107), with levels that mean something.

A status is about a window of time, the last `diagnostics.window_s` seconds.

A camera is STALE where no image has come in the window. It is an ERROR that images have come and
none gave detections. It is a WARNING that some could not be used, that detection failed on
some, that the detector gave invalid objects, that more than the share `diagnostics.max_dropped`
was dropped, that the newest result is further from the node's clock than the window is long, or
that no fusion pass has come of the detections although more than one was due.

Questions are an ERROR where all that ended in the window failed, and a WARNING where some failed
or were refused. What was cancelled has not failed.

Models are a WARNING where the device's memory is almost full.

All else is OK, and so is a camera while the service `enable` has switched perception off.
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
    """How the node reports on itself."""

    period_s: float = setting(
        1.0, "Seconds from one report on /diagnostics to the next.", minimum=0.1, maximum=3600.0
    )
    window_s: float = setting(
        5.0,
        "A report is about the last so many seconds; a camera without an image in them is stale.",
        minimum=0.1,
        maximum=3600.0,
        live=True,
    )
    max_dropped: float = setting(
        0.5,
        "Share of a camera's images above which it is a warning that they are dropped.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )


@dataclass(frozen=True)
class Condition:
    """An engine and what it runs on, at one moment.

    Attributes:
        statistics: What it has counted since its start.
        at_s: The moment, on the monotonic clock.
        enabled: Whether it takes images and questions.
        enrich_rate_hz: Most fusion passes a second.
        models: Names of the models by what they do.
        device: Where they run.
        inputs: Where each camera's images should come from and what to check, by its name.
        waits_for_clock: Whether time is taken from `/clock` and none has come.
    """

    statistics: EngineStatistics
    at_s: float
    enabled: bool
    enrich_rate_hz: float
    models: Mapping[str, str]
    device: DeviceUse
    inputs: Mapping[str, str]
    waits_for_clock: bool


class Finding(NamedTuple):
    """Something that there is to say.

    Attributes:
        level: One of the levels of `DiagnosticStatus`.
        message: What is so, and what to do about it.
    """

    level: bytes
    message: str


def status(
    name: str, findings: Iterable[Finding], values: Mapping[str, str], *, hardware_id: str = ""
) -> DiagnosticStatus:
    """Make a status of the worst findings.

    Args:
        name: What it is about, without the node's name.
        findings: At least one, which may be OK.
        values: What else there is to know, by its name.
        hardware_id: The device or camera, if it is about one.
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
    """Makes statuses of an engine's conditions, and keeps those that the window asks for."""

    def __init__(self, start: Condition) -> None:
        """Begin the first window.

        Args:
            start: The engine as it is now.
        """
        self._conditions = deque([start])

    def statuses(
        self, condition: Condition, settings: DiagnosticsSettings
    ) -> list[DiagnosticStatus]:
        """One status for each camera, one for the questions and one for the models.

        Args:
            condition: The engine as it is now.
            settings: Window and limits.
        """
        start, full = self._window_start(condition, settings.window_s)
        seconds = condition.at_s - start.at_s
        before, now = start.statistics, condition.statistics
        cameras = [
            _camera_status(
                name, Window(before.cameras[name], camera, seconds, full), condition, settings
            )
            for name, camera in now.cameras.items()
        ]
        questions = _question_status(Window(before.questions, now.questions, seconds, full))
        return [*cameras, questions, _models_status(condition)]

    def _window_start(self, condition: Condition, window_s: float) -> tuple[Condition, bool]:
        """The newest condition that is at least a window old, else the oldest, and which it is."""
        self._conditions.append(condition)
        begin_s = condition.at_s - window_s
        while self._conditions[1].at_s <= begin_s:
            self._conditions.popleft()
        start = self._conditions[0]
        return start, start.at_s <= begin_s


@dataclass(frozen=True)
class Window(Generic[S]):
    """Statistics at its two ends.

    Attributes:
        before: At its beginning.
        now: At its end.
        seconds: How long it is.
        full: Whether it is as long as it is to be, which it is not soon after the start.
    """

    before: S
    now: S
    seconds: float
    full: bool

    def count(self, outcome: str) -> int:
        """How often it has happened within the window."""
        return getattr(self.now, outcome) - getattr(self.before, outcome)

    def rate_hz(self, outcome: str) -> float:
        """How often a second."""
        return self.count(outcome) / self.seconds

    def __str__(self) -> str:
        return f"in the last {rounded(self.seconds, 2)} s"


def _camera_status(
    name: str,
    window: Window[CameraStatistics],
    condition: Condition,
    settings: DiagnosticsSettings,
) -> DiagnosticStatus:
    received_hz, processed_hz = window.rate_hz("received"), window.rate_hz("processed")
    if not condition.enabled:
        findings = [Finding(_OK, "switched off; the service enable switches it on")]
    elif not window.count("received"):
        findings = [Finding(_STALE, _no_image(window, condition.inputs[name]))]
    else:
        findings = [
            Finding(
                _OK, f"{rounded(received_hz)} images and {rounded(processed_hz)} results a second"
            ),
            *_result_findings(window),
            *_speed_findings(window, condition, settings),
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
    return f"no image has come {window if window.now.received else 'yet'}; {source}"


def _result_findings(window: Window[CameraStatistics]) -> Iterator[Finding]:
    """Whether images give results at all."""
    last_error = window.now.last_error
    images, unusable, failed = map(window.count, ("received", "unusable", "failed"))
    level = _WARN if window.count("processed") else _ERROR
    if unusable:
        yield Finding(
            level,
            f"{unusable} of {images} images could not be used {window}; check the camera's "
            f"encoding and image_transport ({last_error})",
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
            f"dropped; export the detector again or take another (detector.model) "
            f"({window.now.invalid_reason})",
        )
    if level == _ERROR and window.full and not (unusable or failed):
        yield Finding(
            _ERROR,
            f"no result of {images} images {window}; the detector is too slow or stuck: take a "
            "smaller one (detector.model) or another device (compute.device)",
        )


def _speed_findings(
    window: Window[CameraStatistics], condition: Condition, settings: DiagnosticsSettings
) -> Iterator[Finding]:
    """Whether results come often and early enough."""
    images, dropped = window.count("received"), window.count("dropped")
    if dropped > settings.max_dropped * images:
        yield Finding(
            _WARN,
            f"{dropped} of {images} images were dropped {window}; lower the camera's rate, or "
            "take a smaller detector (detector.model) or another device (compute.device)",
        )
    if not window.count("processed"):
        return
    age_s = window.now.age_s
    if age_s is not None and age_s > settings.window_s:
        yield Finding(
            _WARN,
            "the node's clock stands at 0: use_sim_time is true and no time has come on /clock; "
            "play the bag with --clock, or set use_sim_time to false"
            if condition.waits_for_clock
            else f"the newest result's image is stamped {rounded(age_s)} s away from the node's "
            "clock; synchronize the clocks, or set use_sim_time where a bag is played",
        )
    due = condition.enrich_rate_hz * window.seconds / len(condition.statistics.cameras)
    if due > 1 and window.full and not window.count("enriched"):
        yield Finding(
            _WARN,
            f"no fusion pass {window}; take a smaller language model, another device, or see the "
            f"node's log ({condition.statistics.last_error or 'no error'})",
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
            f"questions that ended with an error {window}: {failed} of {failed + answered}; the "
            "responses and the node's log say why",
        )
    if rejected:
        yield Finding(
            _WARN,
            f"questions rejected {window}: {rejected}; the responses and the node's log say why "
            "(too many at once: ask less often, or raise question.max_waiting)",
        )


def _models_status(condition: Condition) -> DiagnosticStatus:
    device = condition.device
    values = {
        **condition.models,
        "device": device.name,
        "memory used (MiB)": _mebibytes(device.used_bytes),
        "memory total (MiB)": _mebibytes(device.total_bytes),
        "last error": condition.statistics.last_error,
    }
    return status("models", _device_findings(device), values, hardware_id=device.name)


def _device_findings(device: DeviceUse) -> Iterator[Finding]:
    yield Finding(_OK, f"running on {device.name}")
    if device.total_bytes and device.used_bytes > _ALMOST_FULL * device.total_bytes:
        yield Finding(
            _WARN,
            f"{_mebibytes(device.used_bytes)} of the {_mebibytes(device.total_bytes)} MiB of "
            f"memory of {device.name} are used; take smaller models or lower question.parallel",
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
