# SPDX-License-Identifier: Apache-2.0
"""`mrmllm benchmark`: measure speed, memory, tracking and 3D positions."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrmllm_ros.cli.options import (
    add_model_options,
    image_size,
    model_settings,
    non_negative_float,
    positive_float,
    positive_int,
    positive_ints,
)
from mrmllm_ros.cli.output import print_progress
from mrmllm_ros.cli.ros_checks import require_ros
from mrmllm_ros.ros.nodes.processes import interruptible

if TYPE_CHECKING:
    from mrmllm_ros.benchmarks.fusion_benchmark import Options as FusionOptions

Figures = dict[str, Any]


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "benchmark", help="measure speed, memory, tracking and 3D positions"
    )
    benchmarks = parser.add_subparsers(required=True, metavar="BENCHMARK")
    _add_ros_benchmarks(benchmarks)
    answer = _add_benchmark(
        benchmarks,
        "answer",
        _answer,
        help="answers of the fusion model, compared with plain generation",
        description="Alternate between plain generation by the original language model with the "
        "whole prompt, and the fusion model in floating point and in int8 with the frame "
        "prefilled (warm) and not (cold), and measure time to first token, tokens per second, "
        "latency and memory; then again beside a process that detects objects at the rate of a "
        "camera. With --checkpoint '' the weights of the fusion are random, which does not change "
        "the speed.",
    )
    _add_fusion_options(answer)
    answer.add_argument(
        "--camera-hz",
        type=float,
        default=10.0,
        help="rate of the camera in another process; 0 measures without it (10)",
    )
    answer.add_argument(
        "--gguf",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="also measure llama.cpp with this model, which must have the same tokens; can be "
        "repeated (needs llama-cpp-python)",
    )
    answer.add_argument(
        "--objects", type=positive_int, default=10, help="number of objects in the prompt (10)"
    )
    quantization = _add_benchmark(
        benchmarks,
        "quantization",
        _quantization,
        help="ways to quantize the language model on a CPU",
        description="Alternate between the language model in float32, its int8 form, dynamic "
        "quantization of PyTorch and, where it is installed, torchao, and measure speed, memory, "
        "loading time and agreement with float32.",
    )
    _add_fusion_options(quantization)
    enrich = _add_benchmark(
        benchmarks,
        "enrich",
        _enrich,
        help="fusion pass, by number of objects",
        description="Alternate between the fusion pass over a frame with 0, 1, 10 and 50 objects "
        "and a plain forward pass of the language model over as many tokens. Needs a perception "
        "head that uses the language model; --checkpoint '' creates one with random weights, "
        "which does not change the speed.",
    )
    _add_fusion_options(enrich)
    tracking = _add_benchmark(
        benchmarks,
        "tracking",
        _tracking,
        help="identity switches of people, compared with a reference",
        description="Count identity switches (as in CLEAR MOT) of people in 200 frames of the "
        "sample video at 10 frames per second, compared with reference tracks that were labeled "
        "with the help of a model.",
    )
    _add_params_file(tracking)
    localizer = _add_benchmark(
        benchmarks,
        "localizer",
        _localizer,
        help="3D positions of objects in rendered scenes, compared with the truth",
        description="Localize every annotated object of a folder of rendered scenes from its box "
        "or mask, with exact and disturbed boxes and depth, and count centers within 2 % of the "
        "distance or 2 cm. With sequences of a moving camera, also measure the spread of the "
        "positions of an object in the room.",
    )
    localizer.add_argument(
        "--folder",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder of mrmllm scenes render",
    )


def _add_ros_benchmarks(benchmarks: Any) -> None:
    camera = _add_benchmark(
        benchmarks,
        "camera",
        _camera,
        help="camera to detections, compared with the raw detector and a bare ROS node",
        description="Run the raw detector, a bare ROS node with the same detector, and "
        "mrmllm_node with and without enrichment and answerer. Under a camera of steady rate they "
        "take turns in blocks of the same frames; latency, processor time and memory are "
        "compared. Then measure the node with a camera faster than the detector, and with "
        "questions. Needs ROS 2.",
    )
    _add_params_file(camera)
    camera.add_argument(
        "--video", type=Path, metavar="FILE", help="image, folder or video (default: a sample)"
    )
    camera.add_argument(
        "--rate", type=positive_float, default=10.0, help="rate of the camera in Hz (10)"
    )
    camera.add_argument(
        "--frames",
        type=positive_int,
        default=200,
        help="number of compared frames, in blocks of 20 (200)",
    )
    camera.add_argument(
        "--seconds",
        type=non_negative_float,
        default=30.0,
        help="duration of the fast camera, and without and with questions; 0 leaves them out (30)",
    )
    _add_size(camera)
    cameras = _add_benchmark(
        benchmarks,
        "cameras",
        _cameras,
        help="one node with a growing number of cameras",
        description="Play the sample video as several cameras of the same rate with a small "
        "offset, and measure rate, age, dropped images and fairness for each number of cameras. "
        "Needs ROS 2.",
    )
    _add_params_file(cameras)
    cameras.add_argument(
        "--cameras",
        type=positive_ints,
        default=(1, 2, 4, 8),
        metavar="N,N,...",
        help="numbers of cameras (1,2,4,8)",
    )
    cameras.add_argument(
        "--rate", type=positive_float, default=10.0, help="rate of each camera in Hz (10)"
    )
    cameras.add_argument(
        "--seconds",
        type=positive_float,
        default=20.0,
        help="duration with each number of cameras (20)",
    )
    _add_size(cameras)
    lifecycle = _add_benchmark(
        benchmarks,
        "lifecycle",
        _lifecycle,
        help="leaks over cycles of configuring and cleaning up",
        description="Configure, activate, deactivate and clean up the node repeatedly, and "
        "compare its memory and threads at the end and after the tenth cycle. Needs ROS 2.",
    )
    _add_params_file(lifecycle)
    lifecycle.add_argument(
        "--cycles", type=positive_int, default=100, help="number of cycles (100)"
    )
    start = _add_benchmark(
        benchmarks,
        "start",
        _start,
        help="time from the start of the process to the first detections and the first answer",
        description="Start the node, and the node without an answerer, in turn while a camera "
        "publishes, and measure the time from the start of the process to the first detections "
        "and to the first answer, and the memory then. Needs ROS 2.",
    )
    _add_params_file(start)
    start.add_argument(
        "--rounds", type=positive_int, default=5, help="number of starts of each node (5)"
    )


def _add_benchmark(
    benchmarks: Any, name: str, measure: Callable[[argparse.Namespace], Figures], **texts: str
) -> argparse.ArgumentParser:
    parser = benchmarks.add_parser(name, **texts)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run, measure=measure)
    return parser


def _add_params_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--params-file", type=Path, metavar="FILE", help="ROS 2 parameter file of mrmllm_node"
    )


def _add_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size",
        type=image_size,
        metavar="WIDTHxHEIGHT",
        help="size to resize the frames to, for example 1920x1080 (default: their own)",
    )


def _add_fusion_options(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    parser.add_argument(
        "--image", type=Path, metavar="FILE", help="image (default: a frame of a sample)"
    )
    parser.add_argument(
        "--rounds", type=positive_int, default=7, help="number of measurements (7)"
    )


def _run(options: argparse.Namespace) -> int:
    figures = options.measure(options)
    if options.json:
        print(json.dumps(figures))
    else:
        _print(figures)
    return 0


def _camera(options: argparse.Namespace) -> Figures:
    require_ros()
    from mrmllm_ros.benchmarks import camera_benchmark as camera

    names = ("params_file", "video", "size", "rate", "frames", "seconds")
    with interruptible():
        return camera.run(camera.Options(**_arguments(options, *names)))


def _cameras(options: argparse.Namespace) -> Figures:
    require_ros()
    from mrmllm_ros.benchmarks import cameras_benchmark as cameras

    with interruptible():
        names = ("params_file", "cameras", "rate", "seconds", "size")
        return cameras.run(**_arguments(options, *names))


def _lifecycle(options: argparse.Namespace) -> Figures:
    require_ros()
    from mrmllm_ros.benchmarks import lifecycle_benchmark as lifecycle

    with interruptible():
        return lifecycle.run(**_arguments(options, "params_file", "cycles"))


def _start(options: argparse.Namespace) -> Figures:
    require_ros()
    from mrmllm_ros.benchmarks import start_benchmark as start

    with interruptible():
        return start.run(**_arguments(options, "params_file", "rounds"))


def _answer(options: argparse.Namespace) -> Figures:
    from mrmllm_ros.benchmarks import answer_benchmark as answer

    return answer.run(
        _fusion_options(options),
        options.objects,
        camera_hz=options.camera_hz,
        gguf=options.gguf,
    )


def _quantization(options: argparse.Namespace) -> Figures:
    from mrmllm_ros.benchmarks import quantization_benchmark as quantization

    return quantization.run(_fusion_options(options))


def _enrich(options: argparse.Namespace) -> Figures:
    from mrmllm_ros.benchmarks import enrich_benchmark as enrich

    return enrich.run(_fusion_options(options))


def _tracking(options: argparse.Namespace) -> Figures:
    from mrmllm_ros.benchmarks import tracking_benchmark as tracking

    return tracking.run(**_arguments(options, "params_file"))


def _localizer(options: argparse.Namespace) -> Figures:
    from mrmllm_ros.benchmarks import localizer_benchmark as localizer

    return localizer.run(**_arguments(options, "folder"))


def _arguments(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Options by name, and the printer of progress."""
    return {**{name: getattr(options, name) for name in names}, "progress": print_progress}


def _fusion_options(options: argparse.Namespace) -> FusionOptions:
    from mrmllm_ros.benchmarks.fusion_benchmark import Options

    return Options(model_settings(options), **_arguments(options, "image", "rounds"))


def _print(figures: Figures, indent: str = "") -> None:
    for name, value in figures.items():
        if _is_table(value):
            _print_table(name, value)
        elif isinstance(value, dict):
            print(f"{indent}{name}:")
            _print(value, indent + "  ")
        else:
            print(f"{indent}{name}: {value}")


def _is_table(value: Any) -> bool:
    """Whether a value has rows of numbers by name, all with the same columns."""
    rows = list(value.values()) if isinstance(value, dict) else []
    if len(rows) < 2 or not all(isinstance(row, dict) for row in rows):
        return False
    numbers = (number for row in rows for number in row.values())
    return len({tuple(row) for row in rows}) == 1 and not any(isinstance(n, dict) for n in numbers)


def _print_table(title: str, rows: Figures) -> None:
    columns = list(next(iter(rows.values())))
    width = max(map(len, [title, *rows]))
    print("  ".join([title.ljust(width), *columns]))
    for name, row in rows.items():
        cells = [str(row[column]).rjust(len(column)) for column in columns]
        print("  ".join([name.ljust(width), *cells]))
