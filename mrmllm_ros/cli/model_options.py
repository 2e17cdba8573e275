# SPDX-License-Identifier: Apache-2.0
"""Options of the commands that choose models: a parameter file of the node, and exceptions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrmllm_ros.settings import SettingsError

if TYPE_CHECKING:
    from mrmllm_ros.engine.models import Settings


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add what `model_settings` reads."""
    parser.add_argument(
        "--params-file",
        type=Path,
        metavar="FILE",
        help="ROS 2 parameter file of mrmllm_node that chooses the models (config/*.yaml)",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="CHECKPOINT",
        help="trained weights of the fusion model: auto (the default), embedded, a folder, a "
        "repository of the hub, or '' for none",
    )
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")


def model_settings(
    options: argparse.Namespace, parameters: Mapping[str, Any] | None = None
) -> Settings:
    """Read the settings that the options choose.

    Args:
        options: Those of `add_model_options`.
        parameters: Further values by dotted name; they replace those of the file.

    Raises:
        SettingsError: If the file cannot be read, a value in it is wrong, or a checkpoint is
            given for an answerer that takes none.
    """
    from mrmllm_ros.engine.models import Settings

    values: dict[str, Any] = {}
    if options.device:
        values["compute.device"] = options.device
    if options.checkpoint is not None:
        values["mrmllm.checkpoint"] = options.checkpoint
    settings = Settings.from_parameter_file(
        options.params_file, {**values, **(parameters or {})}, _warn
    )
    if options.checkpoint is not None and settings.answerer != "mrmllm":
        raise SettingsError(
            f"--checkpoint is of the fusion model, and answerer is {settings.answerer!r}; set it "
            "to mrmllm"
        )
    return settings


def _warn(message: str) -> None:
    print(f"mrmllm: warning: {message}", file=sys.stderr)
