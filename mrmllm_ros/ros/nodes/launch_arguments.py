# SPDX-License-Identifier: Apache-2.0
"""Declarations and checks of launch arguments."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from launch.actions import DeclareLaunchArgument
from launch.events.process import ProcessExited
from rclpy.exceptions import InvalidNamespaceException, InvalidTopicNameException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_namespace import validate_namespace

from launch import LaunchContext
from mrmllm_ros.environment import expand
from mrmllm_ros.ros.nodes.image_input import CameraSettings
from mrmllm_ros.ros.nodes.lifecycle import REJECTED
from mrmllm_ros.settings import SettingsError

# Values of `compute.device`.
_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")


def boolean_argument(name: str, default: str, description: str) -> DeclareLaunchArgument:
    """Declare an argument that is true or false."""
    return DeclareLaunchArgument(
        name, default_value=default, choices=["true", "false"], description=description
    )


def existing_file(argument: str, value: str) -> Path:
    """Convert an argument to the path of a file.

    Raises:
        SettingsError: If the file does not exist.
    """
    path = expand(value)
    if not path.is_file():
        raise SettingsError(f"{argument}: the file {path} does not exist")
    return path


def existing_path(argument: str, value: str) -> Path:
    """Convert an argument to the path of a file, folder or device.

    Raises:
        SettingsError: If the argument is empty or the path does not exist.
    """
    path = expand(value)
    if not value or not path.exists():
        raise SettingsError(f"{argument}: {value!r} does not exist")
    return path


def camera_names(argument: str, params_file: Path) -> list[str]:
    """Return the names of the cameras.

    Args:
        argument: Names separated by commas; empty for those of the parameter file.
        params_file: Parameter file of the nodes.

    Raises:
        SettingsError: If a name is duplicate or not a token of a topic name, or the file cannot be
            read.
    """
    override = {"cameras": [name.strip() for name in argument.split(",")]} if argument else {}
    return list(CameraSettings.from_parameter_file(params_file, override).cameras)


def check_image(value: str, cameras: Sequence[str]) -> None:
    """Check that the image topics of several cameras differ and are absolute.

    Args:
        value: Topic, in which `{camera}` stands for the name of the camera.
        cameras: Names of the cameras.

    Raises:
        SettingsError: If the topics of several cameras are equal or relative.
    """
    if len(cameras) == 1:
        return
    if "{camera}" not in value:
        raise SettingsError(
            f"image: {value!r} is the same topic for all cameras; write {{camera}} for the name, "
            "for example /{camera}/image_raw"
        )
    if not value.startswith("/"):
        raise SettingsError(
            f"image: {value!r} is relative, but each camera has a namespace; begin it with /, "
            "for example /{camera}/image_raw"
        )


def check_topic(argument: str, topic: str) -> None:
    """Raise `SettingsError` if an argument is not a topic name."""
    try:
        validate_full_topic_name(expand_topic_name(topic, "node", "/"))
    except (InvalidTopicNameException, ValueError) as error:
        raise SettingsError(f"{argument}: {topic!r} is not a topic: {_reason(error)}") from error


def check_namespace(value: str) -> None:
    """Raise `SettingsError` if the argument is not a namespace; it may be empty."""
    try:
        validate_namespace(f"/{value.removeprefix('/')}")
    except InvalidNamespaceException as error:
        raise SettingsError(f"namespace: {value!r} is invalid: {_reason(error)}") from error


def check_device(value: str) -> None:
    """Raise `SettingsError` if the argument is not a device; it may be empty."""
    if value and not _DEVICE.fullmatch(value):
        raise SettingsError(f"device: {value!r} is not one of auto, cpu, cuda, cuda:N")


def positive_number(argument: str, value: str) -> float:
    """Convert an argument to a positive number.

    Raises:
        SettingsError: If the argument is not a positive number.
    """
    try:
        number = float(value)
    except ValueError as error:
        raise SettingsError(f"{argument}: {value!r} is not a number") from error
    if not 0 < number < math.inf:
        raise SettingsError(f"{argument}: {value} is not above 0")
    return number


def end_if_rejected(event: ProcessExited, context: LaunchContext) -> None:
    """End the launch if a node has rejected its parameters; pass it as `on_exit` of a node.

    Raises:
        SettingsError: If the exit status is `REJECTED`; it ends the launch.
    """
    if event.returncode == REJECTED:
        raise SettingsError(f"{event.process_name} rejected its parameters; see its error above")


def _reason(error: Exception) -> str:
    """Extract the reason from an error message of rcl."""
    first_line = str(error).split("\n")[0].split(", at /")[0].rstrip(":")
    return re.sub(r"^.*?[Ii]nvalid[^:]*: ", "", first_line)
