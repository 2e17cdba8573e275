# SPDX-License-Identifier: Apache-2.0
"""Process that runs a detector at the rate of a camera, as load for other measurements."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from subprocess import PIPE, Popen

from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.weights import locate

_READY = "ready"


@contextmanager
def background_detector(rate_hz: float, threads: int) -> Iterator[None]:
    """Detect objects in another process while the `with` block runs.

    Args:
        rate_hz: Rate of the images.
        threads: Number of CPU threads; 0 for the defaults.

    Raises:
        BenchmarkError: If the process ends before its first image.
    """
    command = [sys.executable, "-m", __name__, str(rate_hz), str(threads)]
    with Popen(command, stdout=PIPE, text=True) as process:
        try:
            if process.stdout.readline().strip() != _READY:
                raise BenchmarkError("the process with the detector ended; see its output above")
            yield
        finally:
            process.kill()


def main(rate_hz: float, threads: int) -> None:
    """Detect objects in the sample video until the process is killed."""
    from mrmllm_ros.compute import Compute, ComputeSettings
    from mrmllm_ros.detection.detector import DetectorSettings, load_detector
    from mrmllm_ros.detection.playback import frames

    compute = Compute.from_settings(ComputeSettings(threads=threads))
    detector = load_detector(DetectorSettings(), compute)
    images = list(islice(frames(Path(locate("vtest")) / "vtest.avi"), 50))
    detector.detect(images[:1])
    print(_READY, flush=True)
    due_s = time.monotonic()
    for image in cycle(images):
        detector.detect([image])
        due_s = max(due_s + 1 / rate_hz, time.monotonic() - 1 / rate_hz)
        time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
