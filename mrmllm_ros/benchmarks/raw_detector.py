# SPDX-License-Identifier: Apache-2.0
"""The raw detector in a process of its own, so that its processor time and memory count alone."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import numpy as np

from mrmllm_ros.benchmarks.block_comparison import Received
from mrmllm_ros.benchmarks.plain_detector import PlainDetector

_END_TIMEOUT_S = 10.0


class RawDetector:
    """Subject of `compare`: `predict` of ultralytics, without ROS.

    Attributes:
        name: Name of the subject.
        pid: Process of the detector.
        log: None; it has no log.
    """

    name = "raw_detector"
    log = None

    def __init__(self, pid: int, connection: Connection) -> None:
        """Use a running process.

        Args:
            pid: Its id.
            connection: Its end of images and results.
        """
        self.pid = pid
        self._connection = connection
        self._received = Received()
        self._is_busy = False

    def offer(self, image: np.ndarray) -> None:
        """Send an image, unless the detector is busy with another one."""
        self._received.offered += 1
        if not self._is_busy:
            self._connection.send(image)
            self._is_busy = True

    def receive(self, timeout_s: float) -> None:
        """Wait for a result."""
        if not self._is_busy:
            time.sleep(timeout_s)
        elif self._connection.poll(timeout_s):
            latency_s, objects = self._connection.recv()
            self._received.latencies_s.append(latency_s)
            self._received.objects += objects
            self._is_busy = False

    def take(self) -> Received:
        """Return the results since the last call."""
        received, self._received = self._received, Received()
        return received


@contextmanager
def raw_detector(detector: PlainDetector) -> Iterator[RawDetector]:
    """Run the detector in a process within a `with` block."""
    # A fork would inherit the threads of ROS and the memory of this process.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(detector, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield RawDetector(process.pid, ours)
    finally:
        # The process ends when it can receive nothing more.
        ours.close()
        process.join(_END_TIMEOUT_S)
        process.kill()
        process.join()


def _serve(detector: PlainDetector, connection: Connection) -> None:
    """Reply to each image with seconds and number of objects, until the connection is closed."""
    predict = detector.load()
    while True:
        try:
            image = connection.recv()
        except EOFError:
            return
        started_s = time.perf_counter()
        objects = len(predict(image))
        connection.send((time.perf_counter() - started_s, objects))
