# SPDX-License-Identifier: Apache-2.0
"""Options that several commands have: choice of models, and types of numbers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mrmllm_ros.cli.output import print_warning
from mrmllm_ros.settings import SettingsError

if TYPE_CHECKING:
    from mrmllm_ros.engine.engine_settings import Settings


_Number = TypeVar("_Number", int, float)


def positive_int(text: str) -> int:
    """Parse an integer above 0; `type` of an argument."""
    value = _number(int, text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def non_negative_int(text: str) -> int:
    """Parse an integer of at least 0; `type` of an argument."""
    value = _number(int, text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def positive_float(text: str) -> float:
    """Parse a finite number above 0; `type` of an argument."""
    value = _number(float, text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def non_negative_float(text: str) -> float:
    """Parse a finite number of at least 0; `type` of an argument."""
    value = _number(float, text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number of at least 0")
    return value


def positive_ints(text: str) -> tuple[int, ...]:
    """Parse integers above 0 that are separated by commas; `type` of an argument."""
    return tuple(map(positive_int, text.split(",")))


def image_size(text: str) -> tuple[int, int]:
    """Parse width and height in pixels, such as 1920x1080; `type` of an argument."""
    width, separator, height = text.partition("x")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 1920x1080")
    return positive_int(width), positive_int(height)


def _number(kind: Callable[[str], _Number], text: str) -> _Number:
    try:
        return kind(text)
    except ValueError as error:
        expected = "a whole number" if kind is int else "a number"
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}") from error


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `model_settings` reads."""
    parser.add_argument(
        "--params-file",
        type=Path,
        metavar="FILE",
        help="ROS 2 parameter file of mrmllm_node that selects the models (config/*.yaml)",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="CHECKPOINT",
        help="trained weights of the fusion model: auto (default), embedded, a folder, a "
        "repository of the Hugging Face hub, or '' for none",
    )
    parser.add_argument(
        "--device", help="device of the models: auto (default), cpu, cuda or cuda:N"
    )


def model_settings(
    options: argparse.Namespace, parameters: Mapping[str, Any] | None = None
) -> Settings:
    """Read the settings that the options select.

    Args:
        options: Parsed options of `add_model_options`.
        parameters: Further values by dotted name, which override the parameter file.

    Raises:
        SettingsError: If the file cannot be read, a value is invalid, or a checkpoint is set for
            another answerer.
    """
    from mrmllm_ros.engine.engine_settings import Settings

    values: dict[str, Any] = {}
    if options.device:
        values["compute.device"] = options.device
    if options.checkpoint is not None:
        values["mrmllm.checkpoint"] = options.checkpoint
    settings = Settings.from_parameter_file(
        options.params_file, {**values, **(parameters or {})}, print_warning
    )
    if options.checkpoint is not None and settings.answerer != "mrmllm":
        raise SettingsError(
            f"--checkpoint needs the fusion model, but answerer is {settings.answerer!r}; set "
            "answerer to mrmllm"
        )
    return settings
