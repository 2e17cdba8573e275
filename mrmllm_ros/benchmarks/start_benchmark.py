# SPDX-License-Identifier: Apache-2.0
"""Time from the start of the node's process to its first detections and its first answer.

A camera publishes and a question is asked from the start on. The node with its parameters
alternates with the node without an answerer.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from subprocess import Popen

import numpy as np
import rclpy

from mrmllm_ros.benchmarks.camera_client import NAMESPACE, Client
from mrmllm_ros.benchmarks.process_usage import ProcessUsage
from mrmllm_ros.detection.playback import frames
from mrmllm_ros.engine.engine_settings import Settings
from mrmllm_ros.ros.nodes.processes import (
    ProcessError,
    check_running,
    node_command,
    ros_arguments,
    running,
)
from mrmllm_ros.srv import Query
from mrmllm_ros.weights import locate

_CAMERA_HZ = 10.0
_TIMEOUT_S = 180.0
_IMAGES = 20
# Its answer is short.
_QUESTION = Query.Request(question="How many people are there?", max_age=60.0)


@dataclass(frozen=True)
class Start:
    """One start of a node.

    Attributes:
        first_detections_s: Seconds from the start of the process to the first detections.
        first_answer_s: Seconds to the first answer; None without an answerer.
        resident_mib: Memory of the process at the end.
    """

    first_detections_s: float
    first_answer_s: float | None
    resident_mib: float


def run(
    params_file: Path | None = None,
    *,
    rounds: int = 5,
    progress: Callable[[str], None] = print,
) -> dict[str, object]:
    """Start the nodes in turn and measure.

    Args:
        params_file: Parameter file of the node.
        rounds: Number of starts of each node.
        progress: Called with a line of text after each start.

    Returns:
        Medians of seconds and MiB, by node.

    Raises:
        MrmllmError: If the models or the video are missing, or a node ends early or gives no
            result.
    """
    answerer = Settings.from_parameter_file(params_file).answerer
    images = list(islice(frames(locate("vtest") / "vtest.avi"), _IMAGES))
    starts: dict[str, list[Start]] = {name: [] for name in dict.fromkeys((answerer, "none"))}
    rclpy.init()
    try:
        for number in range(1, rounds + 1):
            for name, measured in starts.items():
                measured.append(_start(params_file, name, images))
                progress(f"round {number} of {rounds}, answerer {name}: {measured[-1]}")
    finally:
        rclpy.try_shutdown()
    return {
        "rounds": rounds,
        **{f"answerer {name}": _medians(measured) for name, measured in starts.items()},
    }


def _start(params_file: Path | None, answerer: str, images: list[np.ndarray]) -> Start:
    arguments = ros_arguments(params_file=params_file, namespace=NAMESPACE, answerer=answerer)
    client = Client()
    try:
        with tempfile.TemporaryDirectory() as folder:
            log, started_s = Path(folder) / "mrmllm_node.log", time.monotonic()
            with running(node_command("mrmllm_node", arguments), log) as process:
                camera = _Camera(client, images, process, log)
                camera.publish_until(lambda: bool(client.results), "detections")
                detected_s, answered_s = time.monotonic() - started_s, None
                if answerer != "none":
                    camera.publish_until(_Question(client).is_answered, "answer")
                    answered_s = round(time.monotonic() - started_s, 2)
                memory_mib = round(ProcessUsage.of(process.pid).resident_mib, 1)
                return Start(round(detected_s, 2), answered_s, memory_mib)
    finally:
        client.destroy_node()


class _Camera:
    """Publishes images while something is awaited."""

    def __init__(
        self, client: Client, images: list[np.ndarray], process: Popen[bytes], log: Path
    ) -> None:
        self._client = client
        self._images = cycle(images)
        self._process = process
        self._log = log

    def publish_until(self, condition: Callable[[], bool], awaited: str) -> None:
        """Publish until a condition is true.

        Raises:
            ProcessError: If it is not true in time, or the node has ended.
        """
        until_s = time.monotonic() + _TIMEOUT_S
        while not self._client.spin_until(condition, 1 / _CAMERA_HZ):
            check_running(self._process, self._log)
            if time.monotonic() > until_s:
                raise ProcessError(
                    f"no {awaited} after {_TIMEOUT_S:.0f} s; the node's log:\n"
                    f"{self._log.read_text()}"
                )
            self._client.publish(next(self._images))


class _Question:
    """Asks until a question is answered."""

    def __init__(self, client: Client) -> None:
        self._query = client.create_client(Query, "query")
        self._future = None

    def is_answered(self) -> bool:
        """Whether there is an answer; asks again after an error."""
        if self._future is not None and self._future.done():
            if self._future.result().success:
                return True
            self._future = None
        if self._future is None and self._query.service_is_ready():
            self._future = self._query.call_async(_QUESTION)
        return False


def _medians(starts: list[Start]) -> dict[str, float]:
    rows = [{k: v for k, v in asdict(start).items() if v is not None} for start in starts]
    return {name: round(statistics.median(row[name] for row in rows), 2) for name in rows[0]}
