# SPDX-License-Identifier: Apache-2.0
"""Subjects of the comparison: raw detector, bare node, and mrmllm_node with other parameters."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import Popen

import numpy as np

from mrmllm_ros.benchmarks.block_comparison import Received, Subject
from mrmllm_ros.benchmarks.camera_client import NAMESPACE, Client
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.benchmarks.plain_detector import PlainDetector
from mrmllm_ros.benchmarks.raw_detector import raw_detector
from mrmllm_ros.ros.nodes.lifecycle import REJECTED
from mrmllm_ros.ros.nodes.processes import (
    ProcessError,
    check_running,
    node_command,
    ros_arguments,
    running,
)

VARIANTS = Path(__file__).parent / "node_variants.json"
NODE, BARE_NODE = "node", "bare_node"
_START_TIMEOUT_S = 180.0


def read_variants(path: Path = VARIANTS) -> dict[str, dict[str, object]]:
    """Read the parameters of each variant of mrmllm_node, which override its parameter file.

    Raises:
        BenchmarkError: If the file is not an object of objects, or has no variant `node`.
    """
    variants = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(variants, dict) or not all(isinstance(v, dict) for v in variants.values()):
        raise BenchmarkError(f"{path}: expected an object with the parameters of each variant")
    if NODE not in variants:
        raise BenchmarkError(f"{path}: there is no variant {NODE!r}")
    return variants


@dataclass
class NodeSubject:
    """A node in a process, with a client in this one; see `Subject`.

    Attributes:
        name: Name of the subject.
        client: Publishes images and receives detections.
        process: Process of the node.
        log: Log of the node.
    """

    name: str
    client: Client
    process: Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """See `Subject`."""
        return self.process.pid

    def offer(self, image: np.ndarray) -> None:
        """See `Subject.offer`."""
        self.client.publish(image)

    def receive(self, timeout_s: float) -> None:
        """See `Subject.receive`."""
        self.client.receive(timeout_s)

    def take(self) -> Received:
        """See `Subject.take`.

        Raises:
            ProcessError: If the node has ended.
        """
        check_running(self.process, self.log)
        client = self.client
        received = Received(
            offered=client.published,
            latencies_s=[result.age_s for result in client.results],
            objects=sum(result.objects for result in client.results),
            enriched=client.enriched,
        )
        client.results.clear()
        client.published = client.enriched = 0
        return received


@contextmanager
def node_subject(name: str, command: Sequence[str], logs: Path) -> Iterator[NodeSubject]:
    """Run a node with a client within a `with` block.

    Args:
        name: Name of the subject, which is also that of its namespace.
        command: Command that runs the node.
        logs: Folder for its log.
    """
    namespace = f"{NAMESPACE}/{name}"
    # Before the node, which then finds it immediately.
    client = Client(namespace=namespace)
    log = logs / f"{name}.log"
    try:
        with running([*command, "-r", f"__ns:={namespace}"], log) as process:
            yield NodeSubject(name, client, process, log)
    finally:
        client.destroy_node()


@dataclass(frozen=True)
class Nodes:
    """Settings that all nodes under comparison share.

    Attributes:
        logs: Folder for their logs.
        params_file: Parameter file of mrmllm_node.
        detector: Detector of the others.
    """

    logs: Path
    params_file: Path | None
    detector: PlainDetector

    def bare(self) -> AbstractContextManager[NodeSubject]:
        """Run the bare node within a `with` block."""
        module = "mrmllm_ros.benchmarks.bare_node"
        command = [sys.executable, "-m", module, self.detector.to_json(), *ros_arguments()]
        return node_subject(BARE_NODE, command, self.logs)

    def variant(
        self, name: str, parameters: Mapping[str, object]
    ) -> AbstractContextManager[NodeSubject]:
        """Run a variant of mrmllm_node within a `with` block."""
        arguments = ros_arguments(params_file=self.params_file, **parameters)
        return node_subject(name, node_command("mrmllm_node", arguments), self.logs)


def start_subjects(
    stack: ExitStack,
    nodes: Nodes,
    variants: Mapping[str, Mapping[str, object]],
    wait: Callable[[Subject], None],
    progress: Callable[[str], None],
) -> list[Subject]:
    """Start all subjects, one after the other.

    A variant that rejects its parameters is skipped, since older nodes lack some of them.

    Args:
        stack: Ends the subjects.
        nodes: Settings that the nodes share.
        variants: Parameters of each variant of mrmllm_node, by name.
        wait: Waits until a subject is ready.
        progress: Called with a line of text at each step.

    Raises:
        ProcessError: If a process ends early, or the variant `node` rejects a parameter.
    """
    subjects: list[Subject] = []
    starts: list[Callable[[], AbstractContextManager[Subject]]] = [
        partial(raw_detector, nodes.detector),
        nodes.bare,
        *(
            lambda n=name, p=parameters: nodes.variant(n, p)
            for name, parameters in variants.items()
        ),
    ]
    for start in starts:
        subject = stack.enter_context(start())
        progress(f"starting {subject.name}")
        try:
            wait(subject)
        except ProcessError as error:
            if subject.name == NODE or subject.process.returncode != REJECTED:
                raise
            progress(f"skipped {subject.name}: {str(error).splitlines()[-1]}")
        else:
            subjects.append(subject)
    return subjects


def first_detection_s(subject: Subject, image: np.ndarray, rate_hz: float) -> float:
    """Offer an image at a rate until a subject, just started, has detected its objects.

    Args:
        subject: The subject.
        image: (H, W, 3) uint8 BGR image.
        rate_hz: Rate of the image.

    Returns:
        Seconds from the call to the first result, in steps of the rate.

    Raises:
        BenchmarkError: If there are no detections in time.
        ProcessError: If the process has ended.
    """
    started_s = time.monotonic()
    while (now_s := time.monotonic()) < started_s + _START_TIMEOUT_S:
        subject.offer(image)
        while (left_s := now_s + 1 / rate_hz - time.monotonic()) > 0:
            subject.receive(left_s)
        if subject.take().latencies_s:
            return time.monotonic() - started_s
    log = "" if subject.log is None else f"; its log:\n{subject.log.read_text()}"
    raise BenchmarkError(f"{subject.name}: no detections within {_START_TIMEOUT_S:.0f} s{log}")
