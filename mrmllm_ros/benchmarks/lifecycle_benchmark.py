# SPDX-License-Identifier: Apache-2.0
"""Whether a node that is configured and cleaned up over and over gives back all that it takes.

Every cycle configures, activates, has detections made of one image, deactivates and cleans up;
then the node's memory, threads, topics and services are counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from subprocess import Popen

import numpy as np
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from mrmllm_ros.benchmarks.camera_benchmark import NAMESPACE, Client
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.benchmarks.memory import resident_mib
from mrmllm_ros.ros.nodes.processes import check_running, node_command, ros_arguments, running

# Until then the libraries fill caches of their own.
_SETTLED = 10
_TIMEOUT_S = 300.0
_IMAGES = 30
_NODE = "mrmllm_node"


@dataclass(frozen=True)
class Options:
    """How much to measure.

    Attributes:
        params_file: Parameter file of the node.
        cycles: Number of cycles.
        progress: Gets a line of text for each cycle.
    """

    params_file: Path | None = None
    cycles: int = 100
    progress: Callable[[str], None] = field(default=print)


@dataclass(frozen=True)
class Held:
    """What the node holds after a cycle."""

    resident_mib: float
    threads: int
    publishers: int
    subscriptions: int
    services: int


def run(options: Options) -> dict[str, object]:
    """Start the node, measure, end the node.

    Returns:
        What the node held after the tenth cycle (the first, if there are no more than ten) and
        at the end, and the ratio of its memory at the end to that.

    Raises:
        MrmllmError: If a transition fails, or the node ends early.
    """
    arguments = ros_arguments(
        params_file=options.params_file, namespace=NAMESPACE, autostart=False
    )
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "mrmllm_node.log"
        rclpy.init()
        client = Client()
        try:
            with running(node_command(_NODE, arguments), log) as process:
                node = _Node(client, process, log)
                cycles = [_cycle(node, n, options) for n in range(1, options.cycles + 1)]
        finally:
            client.destroy_node()
            rclpy.try_shutdown()
    early = cycles[_SETTLED - 1 if len(cycles) > _SETTLED else 0]
    return {
        "cycles": len(cycles),
        "early": asdict(early),
        "end": asdict(cycles[-1]),
        "memory_ratio": round(cycles[-1].resident_mib / early.resident_mib, 3),
    }


class _Node:
    """The node as its lifecycle manager sees it."""

    def __init__(self, client: Client, process: Popen[bytes], log: Path) -> None:
        self._client = client
        self._process = process
        self._log = log
        self._change_state = client.create_client(ChangeState, f"{_NODE}/change_state")

    def change(self, transition: int) -> None:
        """Have it go through a transition."""
        if not self._change_state.wait_for_service(_TIMEOUT_S):
            raise BenchmarkError(f"the node does not come up; its log:\n{self._log.read_text()}")
        request = ChangeState.Request(transition=Transition(id=transition))
        future = self._change_state.call_async(request)
        self._client.spin_until(future.done, _TIMEOUT_S)
        check_running(self._process, self._log)
        if not future.done() or not future.result().success:
            raise BenchmarkError(f"a transition failed; the log:\n{self._log.read_text()}")

    def detect(self) -> None:
        """Have it detect in one image, again if it was lost."""
        image = np.zeros((480, 640, 3), np.uint8)
        self._client.results.clear()
        for _ in range(_IMAGES):
            self._client.publish(image)
            if self._client.spin_until(lambda: self._client.results, 2.0):
                return
        raise BenchmarkError(f"no detections come; the log:\n{self._log.read_text()}")

    def held(self) -> Held:
        """What it holds now."""
        pid, name = self._process.pid, (_NODE, NAMESPACE)
        return Held(
            resident_mib=resident_mib(pid),
            threads=len(list(Path(f"/proc/{pid}/task").iterdir())),
            publishers=len(self._client.get_publisher_names_and_types_by_node(*name)),
            subscriptions=len(self._client.get_subscriber_names_and_types_by_node(*name)),
            services=len(self._client.get_service_names_and_types_by_node(*name)),
        )


def _cycle(node: _Node, number: int, options: Options) -> Held:
    node.change(Transition.TRANSITION_CONFIGURE)
    node.change(Transition.TRANSITION_ACTIVATE)
    node.detect()
    node.change(Transition.TRANSITION_DEACTIVATE)
    node.change(Transition.TRANSITION_CLEANUP)
    held = node.held()
    options.progress(
        f"cycle {number} of {options.cycles}: {held.resident_mib:.0f} MiB, {held.threads} threads"
    )
    return held
