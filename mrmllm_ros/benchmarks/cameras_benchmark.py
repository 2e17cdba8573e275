# SPDX-License-Identifier: Apache-2.0
"""Whether one node is fair to several cameras at the same rate.

Each camera publishes its frames; counted are those that came back with detections, their age, and
how often one camera was served in a row.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle, groupby, islice
from pathlib import Path

import numpy as np
import rclpy

from mrmllm_ros.benchmarks.camera_benchmark import NAMESPACE, Client, quantiles, wait_until_active
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.detection.playback import frames
from mrmllm_ros.ros.nodes.processes import node_command, ros_arguments, running
from mrmllm_ros.weights import locate


@dataclass(frozen=True)
class Options:
    """How much to measure.

    Attributes:
        params_file: Parameter file of the node.
        cameras: Number of cameras.
        rate_hz: Rate of each camera.
        seconds: How long.
        progress: Gets a line of text for each step.
    """

    params_file: Path | None = None
    cameras: int = 2
    rate_hz: float = 15.0
    seconds: float = 30.0
    progress: Callable[[str], None] = field(default=print)


def run(options: Options) -> dict[str, object]:
    """Start the node, measure, end the node.

    Returns:
        By camera the images and the ages of their detections in seconds; the ratio of processed
        images between the cameras, least to most; the longest run of one camera's detections.

    Raises:
        MrmllmError: If the models or the video are missing, the node ends early, or a
            camera gets no detections.
    """
    names = [f"camera_{i}" for i in range(1, options.cameras + 1)]
    images = list(islice(frames(locate("vtest") / "vtest.avi"), 100))
    arguments = ros_arguments(
        params_file=options.params_file, namespace=NAMESPACE, cameras=f"[{', '.join(names)}]"
    )
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "mrmllm_node.log"
        rclpy.init()
        clients = {name: Client(name) for name in names}
        try:
            with running(node_command("mrmllm_node", arguments), log) as process:
                options.progress("starting the node")
                for client in clients.values():
                    wait_until_active(client, process, log)
                options.progress(f"{len(names)} cameras at {options.rate_hz:g} Hz")
                _stream(list(clients.values()), images, options)
                return _figures(clients)
        finally:
            for client in clients.values():
                client.destroy_node()
            rclpy.try_shutdown()


def _stream(clients: list[Client], images: list[np.ndarray], options: Options) -> None:
    """Publish an image of each camera in turn and receive what comes meanwhile."""
    source, period_s = cycle(images), 1 / options.rate_hz / len(clients)
    started_s = time.monotonic()
    for number in range(round(options.seconds * options.rate_hz)):
        for i, client in enumerate(clients):
            due_s = started_s + (number * len(clients) + i) * period_s
            client.publish(next(source))
            while time.monotonic() < due_s + period_s:
                for receiving in clients:
                    receiving.receive(0.002)


def _figures(clients: dict[str, Client]) -> dict[str, object]:
    if starved := [name for name, client in clients.items() if not client.results]:
        raise BenchmarkError(f"no detections came back for {', '.join(starved)}")
    processed = [len(client.results) for client in clients.values()]
    arrived = sorted(
        (result.received_ns, name) for name, client in clients.items() for result in client.results
    )
    runs = [len(list(run)) for _, run in groupby(name for _, name in arrived)]
    return {
        "cameras": {
            name: {
                "published": client.published,
                "processed": len(client.results),
                "age_s": quantiles(np.array([result.age_s for result in client.results])),
            }
            for name, client in clients.items()
        },
        "ratio": round(min(processed) / max(processed), 3),
        "longest_run": max(runs),
    }
