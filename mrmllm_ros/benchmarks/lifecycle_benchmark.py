# SPDX-License-Identifier: Apache-2.0
"""Leaks of a node over cycles of configuring and cleaning up.

Each cycle configures and activates the node, detects objects in an image, deactivates and cleans
up; then the node's memory, threads, topics and services are measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import Popen

import numpy as np
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from mrmllm_ros.benchmarks.camera_client import NAMESPACE, Client, running_node
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.benchmarks.process_usage import ProcessUsage
from mrmllm_ros.ros.nodes.processes import check_running

# The libraries fill their caches during the first cycles.
_WARM_UP_CYCLES = 10
_TIMEOUT_S = 300.0
_IMAGES = 30
_NODE = "mrmllm_node"


@dataclass(frozen=True)
class ResourceUse:
    """Resources of the node after a cycle."""

    resident_mib: float
    threads: int
    publishers: int
    subscriptions: int
    services: int


def run(
    params_file: Path | None = None,
    *,
    cycles: int = 100,
    progress: Callable[[str], None] = print,
) -> dict[str, object]:
    """Run the node and measure.

    Args:
        params_file: Parameter file of the node.
        cycles: Number of cycles.
        progress: Called with a line of text after each cycle.

    Returns:
        Resources after the tenth cycle (after the first of ten or fewer) and at the end, and the
        ratio of memory at the end.

    Raises:
        MrmllmError: If a transition fails, or the node ends early.
    """
    uses: list[ResourceUse] = []
    with running_node(params_file, autostart=False) as (process, log):
        client = Client()
        try:
            node = _Node(client, process, log)
            for cycle in range(1, cycles + 1):
                uses.append(node.cycle())
                progress(
                    f"cycle {cycle} of {cycles}: {uses[-1].resident_mib:.0f} MiB, "
                    f"{uses[-1].threads} threads"
                )
        finally:
            client.destroy_node()
    early, end = uses[_WARM_UP_CYCLES - 1 if cycles > _WARM_UP_CYCLES else 0], uses[-1]
    return {
        "cycles": cycles,
        "early": asdict(early),
        "end": asdict(end),
        "memory_ratio": round(end.resident_mib / early.resident_mib, 3),
    }


class _Node:
    """The node, controlled through its lifecycle services."""

    def __init__(self, client: Client, process: Popen[bytes], log: Path) -> None:
        self._client = client
        self._process = process
        self._log = log
        self._change_state = client.create_client(ChangeState, f"{_NODE}/change_state")

    def cycle(self) -> ResourceUse:
        """Run one cycle and measure."""
        self._change(Transition.TRANSITION_CONFIGURE)
        self._change(Transition.TRANSITION_ACTIVATE)
        self._detect()
        self._change(Transition.TRANSITION_DEACTIVATE)
        self._change(Transition.TRANSITION_CLEANUP)
        pid, name = self._process.pid, (_NODE, NAMESPACE)
        return ResourceUse(
            resident_mib=ProcessUsage.of(pid).resident_mib,
            threads=len(list(Path(f"/proc/{pid}/task").iterdir())),
            publishers=len(self._client.get_publisher_names_and_types_by_node(*name)),
            subscriptions=len(self._client.get_subscriber_names_and_types_by_node(*name)),
            services=len(self._client.get_service_names_and_types_by_node(*name)),
        )

    def _change(self, transition: int) -> None:
        if not self._change_state.wait_for_service(_TIMEOUT_S):
            raise BenchmarkError(f"the node does not start; its log:\n{self._log.read_text()}")
        request = ChangeState.Request(transition=Transition(id=transition))
        future = self._change_state.call_async(request)
        self._client.spin_until(future.done, _TIMEOUT_S)
        check_running(self._process, self._log)
        if not future.done() or not future.result().success:
            raise BenchmarkError(
                f"transition {transition} failed; the node's log:\n{self._log.read_text()}"
            )

    def _detect(self) -> None:
        """Publish an image until its detections arrive; images may be lost."""
        image = np.zeros((480, 640, 3), np.uint8)
        self._client.results.clear()
        for _ in range(_IMAGES):
            self._client.publish(image)
            if self._client.spin_until(lambda: self._client.results, 2.0):
                return
        raise BenchmarkError(
            f"no detections of {_IMAGES} images; the node's log:\n{self._log.read_text()}"
        )
