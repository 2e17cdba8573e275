# SPDX-License-Identifier: Apache-2.0
"""One node with a growing number of cameras of the same rate.

Measures rates, ages and dropped images of the cameras, and how evenly the node serves them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import cycle, groupby
from pathlib import Path

import numpy as np
from rclpy.executors import SingleThreadedExecutor

from mrmllm_ros.benchmarks.camera_client import (
    Client,
    load_images,
    running_node,
    wait_until_active,
)
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.benchmarks.process_usage import ProcessUsage

# Images of each camera before the measurement.
_WARM_UP = 10


def run(
    params_file: Path | None = None,
    *,
    cameras: Sequence[int] = (1, 2, 4, 8),
    rate: float = 10.0,
    seconds: float = 20.0,
    size: tuple[int, int] | None = None,
    progress: Callable[[str], None] = print,
) -> dict[str, object]:
    """Run the node with each number of cameras and measure.

    Args:
        params_file: Parameter file of the node.
        cameras: Numbers of cameras.
        rate: Rate of each camera in Hz.
        seconds: Duration with each number of cameras, in seconds.
        size: Width and height to resize the frames to, in pixels; None to keep theirs.
        progress: Called with a line of text at each step.

    Returns:
        By number of cameras, see `camera_figures`.

    Raises:
        MrmllmError: If the models or the video are missing, the node ends early, or a camera gets
            no detections.
    """
    images = load_images(None, size, progress)
    rows = {}
    for number in cameras:
        progress(f"cameras: {number} at {rate:g} Hz for {seconds:g} s")
        rows[str(number)] = _measure(params_file, number, images, rate, seconds)
    return {"size": list(images[0].shape[1::-1]), "camera_hz": rate, "cameras": rows}


def _measure(
    params_file: Path | None,
    cameras: int,
    images: list[np.ndarray],
    rate_hz: float,
    seconds: float,
) -> dict[str, float]:
    names = [f"camera_{i}" for i in range(1, cameras + 1)]
    # One camera has no namespace.
    topics = names if cameras > 1 else [""]
    with ExitStack() as stack:
        parameter = f"[{', '.join(names)}]"
        process, log = stack.enter_context(running_node(params_file, cameras=parameter))
        executor = SingleThreadedExecutor()
        stack.callback(executor.shutdown)
        clients = []
        for topic in topics:
            clients.append(Client(topic, executor=executor))
            stack.callback(clients[-1].destroy_node)
        for client in clients:
            wait_until_active(client, process, log)
        _stream(clients, images, rate_hz, _WARM_UP)
        for client in clients:
            client.results.clear()
            client.published = 0
        before_s = ProcessUsage.of(process.pid).cpu_s
        started_s = time.monotonic()
        _stream(clients, images, rate_hz, round(seconds * rate_hz))
        elapsed_s = time.monotonic() - started_s
        by_name = dict(zip(names, clients, strict=True))
        return camera_figures(by_name, elapsed_s) | _usage(process.pid, before_s, clients)


def _stream(
    clients: Sequence[Client], images: list[np.ndarray], rate_hz: float, frames: int
) -> None:
    """Publish an image of each camera in turn while receiving detections.

    Args:
        clients: Clients of the cameras, with one executor.
        images: (H, W, 3) uint8 BGR images, repeated as often as needed.
        rate_hz: Rate of each camera.
        frames: Number of images of each camera.
    """
    source, period_s = cycle(images), 1 / rate_hz / len(clients)
    due_s = time.monotonic()
    for _ in range(frames):
        for client in clients:
            client.publish(next(source))
            # Do not catch up on a late image with a burst.
            due_s = max(due_s + period_s, time.monotonic())
            while (left_s := due_s - time.monotonic()) > 0:
                client.receive(left_s)


def camera_figures(clients: dict[str, Client], seconds: float) -> dict[str, float]:
    """Figures of all cameras.

    Args:
        clients: Clients by name of the camera.
        seconds: Duration of the measurement.

    Returns:
        Rates in Hz: mean of the cameras, and sum. Ages of all results in milliseconds. Number of
        dropped images. Ratio of minimum to maximum of the cameras' processed images, and longest
        run of one camera's results.

    Raises:
        BenchmarkError: If a camera has no detections.
    """
    if starved := [name for name, client in clients.items() if not client.results]:
        raise BenchmarkError(f"no detections of {', '.join(starved)}")
    processed = [len(client.results) for client in clients.values()]
    ages_s = [result.age_s for client in clients.values() for result in client.results]
    median_s, p95_s = np.percentile(ages_s, [50, 95])
    arrived = sorted(
        (result.received_ns, name) for name, client in clients.items() for result in client.results
    )
    runs = [len(list(run)) for _, run in groupby(name for _, name in arrived)]
    return {
        "hz_per_camera": round(sum(processed) / len(processed) / seconds, 2),
        "total_hz": round(sum(processed) / seconds, 2),
        "age_median_ms": round(1e3 * float(median_s), 1),
        "age_p95_ms": round(1e3 * float(p95_s), 1),
        "dropped": sum(client.published for client in clients.values()) - sum(processed),
        "fairness": round(min(processed) / max(processed), 3),
        "longest_run": max(runs),
    }


def _usage(pid: int, before_s: float, clients: Sequence[Client]) -> dict[str, float]:
    usage = ProcessUsage.of(pid)
    processed = sum(len(client.results) for client in clients)
    return {
        "cpu_ms_per_frame": round(1e3 * (usage.cpu_s - before_s) / processed, 1),
        "resident_mib": usage.resident_mib,
    }
