# SPDX-License-Identifier: Apache-2.0
"""The node compared with its detector and with a bare node, and its behavior under load.

Three measurements on the same frames:

* comparison: raw detector, bare node and variants of mrmllm_node under a camera of steady rate;
* flood: age of results, dropped images and memory with a camera faster than the detector;
* questions: rate of detections without and with questions, and times of the answers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mrmllm_ros.benchmarks import camera_load
from mrmllm_ros.benchmarks.block_comparison import (
    Comparison,
    Schedule,
    Subject,
    comparison_tables,
)
from mrmllm_ros.benchmarks.camera_client import load_images, ros_context
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.benchmarks.node_subjects import (
    BARE_NODE,
    NODE,
    Nodes,
    NodeSubject,
    first_detection_s,
    read_variants,
    start_subjects,
)
from mrmllm_ros.benchmarks.plain_detector import PlainDetector
from mrmllm_ros.engine.engine_settings import Settings


@dataclass(frozen=True)
class Options:
    """Extent of the measurements.

    Attributes:
        params_file: Parameter file of the node.
        video: Image, folder or video; None for the sample video.
        size: Width and height to resize the frames to, in pixels; None to keep theirs.
        rate: Rate of the camera in Hz.
        frames: Number of frames of each subject of the comparison.
        seconds: Duration of the flood, and of the parts without and with questions, in seconds;
            0 leaves flood and questions out.
        flood_rate_hz: Rate of the fast camera.
        progress: Called with a line of text at each step.
    """

    params_file: Path | None = None
    video: Path | None = None
    size: tuple[int, int] | None = None
    rate: float = 10.0
    frames: int = 200
    seconds: float = 30.0
    flood_rate_hz: float = 60.0
    progress: Callable[[str], None] = field(default=print)


def run(options: Options) -> dict[str, object]:
    """Run detector and nodes, and measure.

    Returns:
        Figures: times in milliseconds, ages in seconds, memory in MiB.

    Raises:
        MrmllmError: If the models or the video are missing, a node ends early, or one gets no
            detections.
    """
    images = load_images(options.video, options.size, options.progress)
    detector = PlainDetector.from_settings(Settings.from_parameter_file(options.params_file))
    figures: dict[str, object] = {
        "size": list(images[0].shape[1::-1]),
        "camera_hz": options.rate,
    }
    with ros_context() as logs:
        nodes = Nodes(logs, options.params_file, detector)
        with ExitStack() as stack:
            figures |= _compare(stack, nodes, images, options)
        if options.seconds:
            with nodes.variant(NODE, {}) as subject:
                first_detection_s(subject, images[0], options.rate)
                figures |= _load(subject, images, options)
    return figures


def _compare(
    stack: ExitStack, nodes: Nodes, images: list[np.ndarray], options: Options
) -> dict[str, object]:
    first_s: dict[str, float] = {}

    def wait(subject: Subject) -> None:
        first_s[subject.name] = round(first_detection_s(subject, images[0], options.rate), 2)

    subjects = start_subjects(stack, nodes, read_variants(), wait, options.progress)
    schedule = Schedule(rate_hz=options.rate, frames=options.frames)
    options.progress(
        f"comparison: {schedule.rounds} blocks of {schedule.block} frames of each of "
        f"{', '.join(subject.name for subject in subjects)}"
    )
    comparison = Comparison(subjects, schedule)
    comparison.run(images)
    measurements = comparison.measurements
    if silent := [name for name, m in measurements.items() if not m.received.latencies_s]:
        raise BenchmarkError(f"no detections of {', '.join(silent)}")
    return {"first_detection_s": first_s, **comparison_tables(measurements, BARE_NODE)}


def _load(subject: NodeSubject, images: list[np.ndarray], options: Options) -> dict[str, object]:
    client, progress, seconds = subject.client, options.progress, options.seconds
    return {
        "flood": camera_load.flood(
            client,
            images,
            subject.pid,
            rate_hz=options.flood_rate_hz,
            seconds=seconds,
            progress=progress,
        ),
        "questions": camera_load.questions(
            client, images[0], rate_hz=options.rate, seconds=seconds, progress=progress
        ),
    }
