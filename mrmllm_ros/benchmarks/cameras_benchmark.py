# SPDX-License-Identifier: Apache-2.0
"""Fairness of one node to several cameras of the same rate.

Measures the number of images with detections of each camera, their age, and the longest run of one
camera.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import cycle, groupby, islice
from pathlib import Path

import numpy as np

from mrmllm_ros.benchmarks.camera_benchmark import (
    Client,
    quantiles,
    running_node,
    wait_until_active,
)
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.detection.playback import frames
from mrmllm_ros.weights import locate


def run(
    params_file: Path | None = None,
    *,
    cameras: int = 2,
    rate_hz: float = 15.0,
    seconds: float = 30.0,
    progress: Callable[[str], None] = print,
) -> dict[str, object]:
    """Run the node and measure.

    Args:
        params_file: Parameter file of the node.
        cameras: Number of cameras.
        rate_hz: Rate of each camera.
        seconds: Duration in seconds.
        progress: Called with a line of text at each step.

    Returns:
        By camera: images, and ages of their detections in seconds. In addition: ratio of minimum
        to maximum of the cameras' processed images, and longest run of one camera's detections.

    Raises:
        MrmllmError: If the models or the video are missing, the node ends early, or a camera gets
            no detections.
    """
    names = [f"camera_{i}" for i in range(1, cameras + 1)]
    images = list(islice(frames(locate("vtest") / "vtest.avi"), 100))
    with running_node(params_file, cameras=f"[{', '.join(names)}]") as (process, log):
        progress("starting the node")
        clients = {name: Client(name) for name in names}
        try:
            for client in clients.values():
                wait_until_active(client, process, log)
            progress(f"{cameras} cameras at {rate_hz:g} Hz")
            _stream(list(clients.values()), images, rate_hz, seconds)
            return _figures(clients)
        finally:
            for client in clients.values():
                client.destroy_node()


def _stream(
    clients: list[Client], images: list[np.ndarray], rate_hz: float, seconds: float
) -> None:
    """Publish an image of each camera in turn while receiving detections."""
    source, period_s = cycle(images), 1 / rate_hz / len(clients)
    started_s = time.monotonic()
    for number in range(round(seconds * rate_hz)):
        for i, client in enumerate(clients):
            due_s = started_s + (number * len(clients) + i) * period_s
            client.publish(next(source))
            while time.monotonic() < due_s + period_s:
                for receiving in clients:
                    receiving.receive(0.002)


def _figures(clients: dict[str, Client]) -> dict[str, object]:
    if starved := [name for name, client in clients.items() if not client.results]:
        raise BenchmarkError(f"no detections of {', '.join(starved)}")
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
