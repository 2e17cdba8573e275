# SPDX-License-Identifier: Apache-2.0
"""`mrmllm benchmark`: measurements that compare two things in one run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrmllm_ros.cli.arguments import positive_float, positive_int
from mrmllm_ros.cli.model_options import add_model_options, model_settings
from mrmllm_ros.cli.output import print_progress
from mrmllm_ros.cli.ros_checks import require_ros
from mrmllm_ros.ros.nodes.processes import interruptible

if TYPE_CHECKING:
    from mrmllm_ros.benchmarks.fusion_benchmark import Options as FusionOptions


def add_parser(subparsers: Any) -> None:
    """Register the benchmarks."""
    parser = subparsers.add_parser("benchmark", help="measure speed and tracking, on this machine")
    benchmarks = parser.add_subparsers(required=True, metavar="BENCHMARK")
    camera = benchmarks.add_parser(
        "camera",
        help="camera topic to detections, against the raw detector",
        description="Measures, on the same frames and in one run, the raw detector's predict and "
        "camera topic to detections received in another process; then the age of results, "
        "dropped images and memory with a camera faster than the detector; then the rate of "
        "detections without and with questions. Needs ROS 2.",
    )
    camera.add_argument("--params-file", type=Path, metavar="FILE", help="the node's parameters")
    camera.add_argument(
        "--video", type=Path, metavar="FILE", help="image, folder or video (default: a sample)"
    )
    camera.add_argument(
        "--frames", type=positive_int, default=200, help="frames for the latency (200)"
    )
    camera.add_argument(
        "--flood-s",
        type=positive_float,
        default=60.0,
        help="seconds of a camera that is too fast (60)",
    )
    camera.add_argument("--json", action="store_true", help="print JSON")
    camera.set_defaults(run=_camera)
    _add_ros_benchmarks(benchmarks)
    answer = benchmarks.add_parser(
        "answer",
        help="answers of the fusion model, against plain generation",
        description="Measures, in turns and in one run, plain generation by the untouched "
        "language model on the whole prompt, and the fusion model with the frame's pass done "
        "(warm) and to be done (cold): time to first token, tokens a second, latency, memory. "
        "With --checkpoint '' the fusion's weights are random, which changes words, not speed.",
    )
    _add_fusion_options(answer)
    answer.add_argument(
        "--objects", type=positive_int, default=10, help="objects in the prompt (10)"
    )
    answer.set_defaults(run=_answer)
    enrich = benchmarks.add_parser(
        "enrich",
        help="the fusion pass over a frame, by number of objects",
        description="Measures, in turns and in one run, the fusion pass over a frame with 0, 1, "
        "10 and 50 objects and a plain forward pass of the language model over as many tokens. "
        "It needs a perception head that reads what the language model has read; --checkpoint '' "
        "takes one with random weights, which changes words, not speed.",
    )
    _add_fusion_options(enrich)
    enrich.set_defaults(run=_enrich)
    tracking = benchmarks.add_parser(
        "tracking",
        help="how often people change their track id, against a reference",
        description="Counts, over 200 frames of the sample video at 10 frames a second, how often "
        "a person gets another track id (identity switches as of CLEAR MOT), against a reference "
        "of who walks where that was made with a model's help.",
    )
    tracking.add_argument("--params-file", type=Path, metavar="FILE", help="the node's parameters")
    tracking.add_argument("--json", action="store_true", help="print JSON")
    tracking.set_defaults(run=_tracking)


def _add_ros_benchmarks(benchmarks: Any) -> None:
    cameras = benchmarks.add_parser(
        "cameras",
        help="whether one node is fair to several cameras",
        description="Plays the sample video as several cameras of the same rate, a little apart, "
        "and counts by camera the images whose detections came back, and their age. Needs ROS 2.",
    )
    cameras.add_argument("--params-file", type=Path, metavar="FILE", help="the node's parameters")
    cameras.add_argument("--cameras", type=positive_int, default=2, help="number of cameras (2)")
    cameras.add_argument("--rate-hz", type=positive_float, default=15.0, help="rate of each (15)")
    cameras.add_argument("--seconds", type=positive_float, default=30.0, help="how long (30)")
    cameras.add_argument("--json", action="store_true", help="print JSON")
    cameras.set_defaults(run=_cameras)
    lifecycle = benchmarks.add_parser(
        "lifecycle",
        help="memory and threads over cycles of configuring and cleaning up",
        description="Configures, activates, deactivates and cleans up the node over and over, and "
        "compares what it holds in the end with what it held after the tenth cycle. Needs ROS 2.",
    )
    lifecycle.add_argument(
        "--params-file", type=Path, metavar="FILE", help="the node's parameters"
    )
    lifecycle.add_argument("--cycles", type=positive_int, default=100, help="how many (100)")
    lifecycle.add_argument("--json", action="store_true", help="print JSON")
    lifecycle.set_defaults(run=_lifecycle)


def _add_fusion_options(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    parser.add_argument(
        "--image", type=Path, metavar="FILE", help="image (default: a frame of a sample)"
    )
    parser.add_argument("--rounds", type=positive_int, default=7, help="how often to measure (7)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _camera(options: argparse.Namespace) -> int:
    require_ros()
    from mrmllm_ros.benchmarks import camera_benchmark as camera

    with interruptible():
        figures = camera.run(
            camera.Options(
                params_file=options.params_file,
                video=options.video,
                frames=options.frames,
                flood_s=options.flood_s,
                progress=print_progress,
            )
        )
    return _show(figures, options)


def _cameras(options: argparse.Namespace) -> int:
    require_ros()
    from mrmllm_ros.benchmarks import cameras_benchmark as cameras

    with interruptible():
        figures = cameras.run(
            cameras.Options(
                params_file=options.params_file,
                cameras=options.cameras,
                rate_hz=options.rate_hz,
                seconds=options.seconds,
                progress=print_progress,
            )
        )
    return _show(figures, options)


def _lifecycle(options: argparse.Namespace) -> int:
    require_ros()
    from mrmllm_ros.benchmarks import lifecycle_benchmark as lifecycle

    with interruptible():
        figures = lifecycle.run(
            lifecycle.Options(options.params_file, options.cycles, print_progress)
        )
    return _show(figures, options)


def _answer(options: argparse.Namespace) -> int:
    from mrmllm_ros.benchmarks import answer_benchmark as answer

    return _show(answer.run(_fusion_options(options), options.objects), options)


def _enrich(options: argparse.Namespace) -> int:
    from mrmllm_ros.benchmarks import enrich_benchmark as enrich

    return _show(enrich.run(_fusion_options(options)), options)


def _tracking(options: argparse.Namespace) -> int:
    from mrmllm_ros.benchmarks import tracking_benchmark as tracking

    return _show(tracking.run(options.params_file, print_progress), options)


def _fusion_options(options: argparse.Namespace) -> FusionOptions:
    from mrmllm_ros.benchmarks.fusion_benchmark import Options

    return Options(model_settings(options), options.image, options.rounds, print_progress)


def _show(figures: dict[str, Any], options: argparse.Namespace) -> int:
    if options.json:
        print(json.dumps(figures))
    else:
        _print(figures)
    return 0


def _print(figures: dict[str, Any], indent: str = "") -> None:
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{indent}{name}:")
            _print(value, indent + "  ")
        else:
            print(f"{indent}{name}: {value}")
