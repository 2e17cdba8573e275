# SPDX-License-Identifier: Apache-2.0
"""`mrmllm train`: trains the fusion model; needs no ROS."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from mrmllm_ros.cli.output import make_folder, print_progress
from mrmllm_ros.environment import expand


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "train",
        help="train the fusion model",
        description="Trains the fusion model as a YAML file says, or goes on where a run was cut. "
        "On several GPUs or machines: "
        "accelerate launch -m mrmllm_ros.cli.main train --config FILE",
    )
    parser.add_argument(
        "--config",
        required=True,
        type=Path,
        metavar="FILE",
        help="YAML file (config/train/*.yaml; docs/training.md explains it)",
    )
    parser.add_argument("--output", metavar="FOLDER", help="overrides the file's output")
    parser.add_argument(
        "--time-limit-minutes",
        type=float,
        metavar="N",
        help="overrides the file's time_limit_minutes",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train."""
    from mrmllm_ros.training.training_settings import TrainingSettings

    settings = TrainingSettings.read(options.config)
    given = {"output": options.output, "time_limit_minutes": options.time_limit_minutes}
    settings = replace(settings, **{k: v for k, v in given.items() if v is not None})
    # Before hours of training, and not at the first checkpoint.
    make_folder(expand(settings.output))
    from mrmllm_ros.training.run import train
    from mrmllm_ros.training.trainer import start

    accelerator = start(settings)

    def report(line: str) -> None:
        if accelerator.is_main_process:
            print_progress(line)

    checkpoint = train(settings, accelerator, report)
    if accelerator.is_main_process:
        print(checkpoint)
    return 0
