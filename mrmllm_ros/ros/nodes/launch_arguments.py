# SPDX-License-Identifier: Apache-2.0
"""Checks of the launch files' arguments, before anything is started."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launch.events.process import ProcessExited
from rclpy.exceptions import InvalidNamespaceException, InvalidTopicNameException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_namespace import validate_namespace

from launch import LaunchContext
from mrmllm_ros.environment import expand
from mrmllm_ros.ros.nodes.image_input import check_camera_names
from mrmllm_ros.ros.nodes.lifecycle import REFUSED
from mrmllm_ros.settings import SettingsError, read_parameter_file

# Forms that `compute.device` takes.
_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")


def existing_file(argument: str, value: str) -> Path:
    """Read an argument that names a file.

    Raises:
        SettingsError: If there is no such file.
    """
    path = expand(value)
    if not path.is_file():
        raise SettingsError(f"{argument}: there is no file {path}")
    return path


def existing_path(argument: str, value: str) -> Path:
    """Read an argument that names a file, folder or device.

    Raises:
        SettingsError: If it is empty or does not exist.
    """
    path = expand(value)
    if not value or not path.exists():
        raise SettingsError(f"{argument}: there is no {value or 'path'}")
    return path


def camera_names(argument: str, params_file: Path) -> list[str]:
    """Names of the cameras: those of the argument, or of the parameter file where it is empty.

    Args:
        argument: Names with commas between them, or nothing.
        params_file: Parameter file of the nodes.

    Raises:
        SettingsError: If a name cannot stand in a topic's name or is given twice, or the file
            cannot be read.
    """
    parameters = read_parameter_file(params_file, "mrmllm_node")
    names: Any = parameters.get("cameras", ["camera"])
    if argument:
        names = [name.strip() for name in argument.split(",")]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SettingsError(f"{params_file}: cameras: {names!r} is not a list of texts")
    check_camera_names(names)
    return names


def check_image(value: str, cameras: Sequence[str]) -> None:
    """Check the image topic, which with several cameras nodes of several namespaces take.

    Args:
        value: The topic, in which `{camera}` stands for the camera's name.
        cameras: Names of the cameras.

    Raises:
        SettingsError: If the topics of several cameras do not differ, or depend on the namespace.
    """
    if len(cameras) == 1:
        return
    if "{camera}" not in value:
        raise SettingsError(
            f"image: {value!r} is one topic for several cameras; write {{camera}} where the "
            "topics of several cameras differ, such as /{camera}/image_raw"
        )
    if not value.startswith("/"):
        raise SettingsError(
            f"image: {value!r} depends on the namespace, which is another one for each camera; "
            "begin it with /, such as /{camera}/image_raw"
        )


def check_topic(argument: str, topic: str) -> None:
    """Raise `SettingsError` if an argument is not the name of a topic."""
    try:
        validate_full_topic_name(expand_topic_name(topic, "node", "/"))
    except (InvalidTopicNameException, ValueError) as error:
        raise SettingsError(f"{argument}: {topic!r} is not a topic: {_reason(error)}") from error


def check_namespace(value: str) -> None:
    """Raise `SettingsError` if an argument is not a namespace; an empty one is."""
    try:
        validate_namespace(f"/{value.removeprefix('/')}")
    except InvalidNamespaceException as error:
        raise SettingsError(f"namespace: {value!r} is not one: {_reason(error)}") from error


def check_device(value: str) -> None:
    """Raise `SettingsError` if an argument is not the name of a device; an empty one is."""
    if value and not _DEVICE.fullmatch(value):
        raise SettingsError(f"device: {value!r} is not one of auto, cpu, cuda, cuda:N")


def positive_number(argument: str, value: str) -> float:
    """Read an argument that is a number above 0.

    Raises:
        SettingsError: If it is not.
    """
    try:
        number = float(value)
    except ValueError as error:
        raise SettingsError(f"{argument}: {value!r} is not a number") from error
    if not 0 < number < math.inf:
        raise SettingsError(f"{argument}: {value} is not a number above 0")
    return number


def end_if_refused(event: ProcessExited, context: LaunchContext) -> None:
    """End the launch where a node has refused its parameters: `on_exit` of a node.

    Raises:
        SettingsError: If the exit status says so; launch ends with it.
    """
    if event.returncode == REFUSED:
        raise SettingsError(
            f"{event.process_name} refused its parameters; its own error stands above"
        )


def _reason(error: Exception) -> str:
    """The part of a message of rcl that says what is wrong with a name."""
    first_line = str(error).split("\n")[0].split(", at /")[0].rstrip(":")
    return re.sub(r"^.*?[Ii]nvalid[^:]*: ", "", first_line)
