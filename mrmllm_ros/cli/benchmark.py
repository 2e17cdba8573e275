# SPDX-License-Identifier: Apache-2.0
"""`mrmllm benchmark`: measurements that compare two things in one run."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mrmllm_ros.cli.ros import require_ros
from mrmllm_ros.nodes.processes import interruptible


def add_parser(subparsers: Any) -> None:
    """Register the benchmarks."""
    parser = subparsers.add_parser("benchmark", help="measure speed, on this machine")
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
    camera.add_argument("--frames", type=int, default=200, help="frames for the latency (200)")
    camera.add_argument(
        "--flood-s", type=float, default=60.0, help="seconds of a camera that is too fast (60)"
    )
    camera.add_argument("--json", action="store_true", help="print JSON")
    camera.set_defaults(run=_camera)


def _camera(options: argparse.Namespace) -> int:
    require_ros()
    from mrmllm_ros.benchmarks import camera

    with interruptible():
        figures = camera.run(
            camera.Options(
                params_file=options.params_file,
                video=options.video,
                frames=options.frames,
                flood_s=options.flood_s,
                progress=lambda line: print(line, file=sys.stderr, flush=True),
            )
        )
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
