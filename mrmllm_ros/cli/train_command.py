# SPDX-License-Identifier: Apache-2.0
"""`mrmllm train`: train the fusion model; needs no ROS."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from mrmllm_ros.cli.output import UNFINISHED, make_folder, print_progress
from mrmllm_ros.environment import expand


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "train",
        help="train the fusion model",
        description="Train the fusion model with the settings of a YAML file, or resume an "
        "interrupted run. On several GPUs or machines: "
        "accelerate launch -m mrmllm_ros.cli.main train --config FILE",
    )
    parser.add_argument(
        "--config",
        required=True,
        type=Path,
        metavar="FILE",
        help="YAML file with the settings (config/train/*.yaml), see docs/training.md",
    )
    parser.add_argument("--output", metavar="FOLDER", help="overrides output of the file")
    parser.add_argument(
        "--time-limit-minutes",
        type=float,
        metavar="N",
        help="overrides time_limit_minutes of the file",
    )
    parser.add_argument(
        "--leg-minutes",
        type=float,
        metavar="N",
        help="overrides leg_minutes of the file: end after N minutes with exit status "
        f"{UNFINISHED} if the run is not finished; the same command continues it",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train."""
    from mrmllm_ros.training.leg import Leg, UnfinishedError
    from mrmllm_ros.training.training_settings import TrainingSettings

    settings = TrainingSettings.read(options.config)
    names = ("output", "time_limit_minutes", "leg_minutes")
    overrides = {name: getattr(options, name) for name in names}
    settings = replace(settings, **{k: v for k, v in overrides.items() if v is not None})
    leg = Leg(settings.leg_minutes)
    # Fails now, not at the first checkpoint.
    make_folder(expand(settings.output))
    from mrmllm_ros.training.run import train
    from mrmllm_ros.training.trainer import start

    accelerator = start(settings)

    def progress(line: str) -> None:
        if accelerator.is_main_process:
            print_progress(line)

    try:
        checkpoint = train(settings, accelerator, progress, leg)
    except UnfinishedError as reason:
        progress(f"{reason}; run the same command again to continue")
        return UNFINISHED
    if accelerator.is_main_process:
        print(checkpoint)
    return 0
