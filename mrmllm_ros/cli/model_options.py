# SPDX-License-Identifier: Apache-2.0
"""Which models the commands without ROS load: a parameter file of the node, and what departs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrmllm_ros.settings import SettingsError, read_parameter_file, unknown_parameters

if TYPE_CHECKING:
    from mrmllm_ros.engine.models import Settings

_NODE = "mrmllm_node"


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add what `model_settings` reads."""
    parser.add_argument(
        "--params-file",
        type=Path,
        metavar="FILE",
        help=f"ROS 2 parameter file of {_NODE} that chooses the models (config/*.yaml)",
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
    """What the node would be told.

    Args:
        options: Those of `add_model_options`.
        parameters: Others that stand above the file, by name.

    Raises:
        SettingsError: If the file cannot be read, a value in it is wrong, or a checkpoint is
            given for an answerer that takes none.
    """
    from mrmllm_ros.engine.models import Settings

    values = read_parameter_file(options.params_file, _NODE) if options.params_file else {}
    for message in unknown_parameters(values):
        print(f"mrmllm: warning: {options.params_file}: {message}", file=sys.stderr)
    if options.device:
        values["compute.device"] = options.device
    if options.checkpoint is not None:
        values["mrmllm.checkpoint"] = options.checkpoint
    settings = Settings.from_parameters({**values, **(parameters or {})})
    if options.checkpoint is not None and settings.answerer != "mrmllm":
        raise SettingsError(
            f"--checkpoint is of the fusion model, and answerer is {settings.answerer!r}; set it "
            "to mrmllm"
        )
    return settings
