# SPDX-License-Identifier: Apache-2.0
"""Behavior of the node under load: a camera faster than the detector, and questions."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from rclpy.action import ActionClient
from rclpy.task import Future

from mrmllm_ros.action import Ask
from mrmllm_ros.benchmarks.camera_client import Client, quantiles
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.benchmarks.process_usage import ProcessUsage

_QUESTION = "Describe the scene."
_UNLOADED_QUESTIONS = 5
_TIMEOUT_S = 60.0


def flood(
    client: Client,
    images: list[np.ndarray],
    pid: int,
    *,
    rate_hz: float,
    seconds: float,
    progress: Callable[[str], None],
) -> dict[str, object]:
    """Publish images faster than the detector.

    Args:
        client: Client of the node.
        images: (H, W, 3) uint8 BGR images.
        pid: Process of the node.
        rate_hz: Rate of the camera.
        seconds: Duration in seconds.
        progress: Called with a line of text at each step.

    Returns:
        Numbers of images, ages of the results in seconds and memory in MiB.
    """
    progress(f"flood: {seconds:.0f} s at {rate_hz:.0f} Hz")
    client.results.clear()
    published_before = client.published
    memory = [ProcessUsage.of(pid).resident_mib]
    for part in range(1, 4):
        client.stream(images, rate_hz, seconds / 3)
        memory.append(ProcessUsage.of(pid).resident_mib)
        progress(f"flood: {part} of 3")
    published = client.published - published_before
    ages = np.array([result.age_s for result in client.results])
    first, *_, last = np.array_split(ages, 3)
    return {
        "published": published,
        "processed": len(ages),
        "dropped": published - len(ages),
        "age_s": quantiles(ages),
        "age_median_first_third_s": round(float(np.median(first)), 4),
        "age_median_last_third_s": round(float(np.median(last)), 4),
        "age_growth_ratio": round(float(np.median(last) / np.median(first)), 3),
        "resident_mib": memory,
    }


def questions(
    client: Client,
    image: np.ndarray,
    *,
    rate_hz: float,
    seconds: float,
    progress: Callable[[str], None],
) -> dict[str, object]:
    """Ask questions without a camera, and under one.

    All images are the same, so that the answers are alike. Without a camera, an image is published
    before each question.

    Args:
        client: Client of the node.
        image: (H, W, 3) uint8 BGR image.
        rate_hz: Rate of the camera.
        seconds: Duration in seconds, without and with questions each.
        progress: Called with a line of text at each step.

    Returns:
        Rates of detections; medians of the times to the first text and to the whole answer in
        seconds, and their ratios under the camera to those without.

    Raises:
        BenchmarkError: If no question is answered.
    """
    progress(f"questions: {_UNLOADED_QUESTIONS} without a camera, then under {rate_hz:g} Hz")
    asker = _Asker(client)
    try:
        _warm_up(client, asker, image)
        for _ in range(_UNLOADED_QUESTIONS):
            _ask_about(client, asker, image)
        unloaded = asker.take()
        without_hz = _detections_hz(client, image, rate_hz, seconds, lambda: None)
        with_hz = _detections_hz(client, image, rate_hz, seconds, asker.keep_asking)
        client.spin_until(asker.is_idle, _TIMEOUT_S)
        loaded = asker.take()
    finally:
        asker.destroy()
    return {
        "camera_hz": rate_hz,
        "detections_hz_without": round(without_hz, 2),
        "detections_hz_with": round(with_hz, 2),
        "ratio": round(with_hz / without_hz, 3),
        "answers": {"without_camera": unloaded, "with_camera": loaded},
        "ratio_to_without_camera": {
            name: round(loaded[name] / unloaded[name], 3) for name in ("first_text_s", "answer_s")
        },
        "errors": asker.errors,
    }


def _warm_up(client: Client, asker: _Asker, image: np.ndarray) -> None:
    """Ask until a question is answered, since the node may still be loading its answerer."""
    until_s = time.monotonic() + _TIMEOUT_S
    while not asker.answered and time.monotonic() < until_s:
        _ask_about(client, asker, image)
    # Raises if there is no answer.
    asker.take()
    asker.errors.clear()


def _ask_about(client: Client, asker: _Asker, image: np.ndarray) -> None:
    """Publish an image, ask about it and wait for the answer."""
    client.results.clear()
    client.publish(image)
    client.spin_until(lambda: client.results, _TIMEOUT_S)
    asker.keep_asking()
    client.spin_until(asker.is_idle, _TIMEOUT_S)


def _detections_hz(
    client: Client,
    image: np.ndarray,
    rate_hz: float,
    seconds: float,
    meanwhile: Callable[[], None],
) -> float:
    client.results.clear()
    client.stream([image], rate_hz, seconds, meanwhile)
    return len(client.results) / seconds


class _Asker:
    """Asks a question when the last one is answered.

    Attributes:
        errors: Messages of failed questions.
    """

    def __init__(self, client: Client) -> None:
        self.errors: list[str] = []
        self._action = ActionClient(client, Ask, "ask")
        # A goal for an unknown server would be lost.
        self._action.wait_for_server(_TIMEOUT_S)
        self._asked_s: float | None = None
        self._first_s: float | None = None
        # First text and whole answer of each question, in seconds.
        self._times_s: list[tuple[float, float]] = []
        self._characters = 0

    def destroy(self) -> None:
        """Destroy the action client."""
        self._action.destroy()

    @property
    def answered(self) -> int:
        """Number of answers since the last `take`."""
        return len(self._times_s)

    def is_idle(self) -> bool:
        """Whether no question is being answered."""
        return self._asked_s is None

    def keep_asking(self) -> None:
        """Ask, unless a question is being answered."""
        if self.is_idle():
            self._asked_s, self._first_s = time.monotonic(), None
            goal = Ask.Goal(question=_QUESTION)
            sent = self._action.send_goal_async(goal, feedback_callback=self._on_text)
            sent.add_done_callback(self._on_goal)

    def take(self) -> dict[str, float]:
        """Return the figures of the answers since the last call."""
        if not self._times_s:
            reasons = "; ".join(dict.fromkeys(self.errors)) or "no answer in time"
            raise BenchmarkError(f"no question was answered: {reasons}")
        first_s, whole_s = np.median(self._times_s, axis=0)
        figures = {
            "answered": len(self._times_s),
            "first_text_s": round(float(first_s), 3),
            "answer_s": round(float(whole_s), 3),
            "characters": round(self._characters / len(self._times_s)),
        }
        self._times_s, self._characters = [], 0
        return figures

    def _on_text(self, feedback: object) -> None:
        if self._first_s is None:
            self._first_s = time.monotonic()

    def _on_goal(self, sent: Future) -> None:
        goal = sent.result()
        if goal.accepted:
            goal.get_result_async().add_done_callback(self._on_result)
        else:
            self._fail("the goal was rejected")

    def _on_result(self, finished: Future) -> None:
        result, now_s = finished.result().result, time.monotonic()
        if not result.success:
            self._fail(result.error_message)
            return
        first_s = now_s if self._first_s is None else self._first_s
        self._times_s.append((first_s - self._asked_s, now_s - self._asked_s))
        self._characters += len(result.answer.text)
        self._asked_s = None

    def _fail(self, reason: str) -> None:
        self.errors.append(reason)
        self._asked_s = None
