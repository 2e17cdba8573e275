# SPDX-License-Identifier: Apache-2.0
"""Settings as ROS parameters: declared with descriptors, checked when set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from mrmllm_ros.settings import Constraint, SettingsError, Validated

T = TypeVar("T", bound=Validated)


_FIXES = {
    bool: "write true or false",
    int: "write a whole number",
    float: "write a number",
    str: "write a text, in quotes",
    tuple: "write a list of texts in brackets",
}

_TYPES = {bool: "a bool", int: "an int", float: "a double", str: "a string", tuple: "a list"}


def declare_settings(node: Node, settings: type[Validated]) -> None:
    """Declare every setting as a parameter of the node.

    A double may be given as a whole number, here and when it is set later.

    Raises:
        SettingsError: If an override is of the wrong type or out of range.
    """
    for name, default, constraint in settings.declared():
        value = initial_value(node, name, default)
        constraint.check(f"parameter {name}", value)
        value = list(value) if isinstance(value, tuple) else value
        node.declare_parameter(name, value, _descriptor(default, constraint), ignore_override=True)
    doubles = {name for name, default, _ in settings.declared() if type(default) is float}
    # Before ROS 2 Iron there is no such callback, and doubles set later need their point.
    if hasattr(node, "add_pre_set_parameters_callback"):
        node.add_pre_set_parameters_callback(lambda changes: _with_doubles(changes, doubles))


def initial_value(node: Node, name: str, default: Any) -> Any:
    """What a parameter is at first: its override, or else the default.

    Raises:
        SettingsError: If the override is not of the type of the default.
    """
    overrides = node._parameter_overrides
    if name not in overrides:
        return default
    value, wanted = overrides[name].value, type(default)
    if wanted is float and type(value) is int:
        return float(value)
    # rcl reads a missing value of a text as a text.
    is_null = wanted is str and value in ("null", "~")
    is_right = type(value) is wanted and not is_null
    if wanted is tuple:
        is_right = isinstance(value, list) and all(type(item) is str for item in value)
    if not is_right:
        given = "empty" if value is None else f"{value!r}, which is not {_TYPES[wanted]}"
        example = f"[{', '.join(default)}]" if wanted is tuple else str(default).lower()
        example = f", such as {example}" if default != "" and wanted is not bool else ""
        raise SettingsError(f"parameter {name} is {given}; {_FIXES[wanted]}{example}")
    return tuple(value) if wanted is tuple else value


def read_settings(node: Node, settings: type[T], changes: Iterable[Parameter] = ()) -> T:
    """Make settings from the node's parameters.

    Args:
        node: Has declared them.
        settings: Their class.
        changes: Parameters that are about to be set.

    Raises:
        SettingsError: If a value is refused.
    """
    names = [name for name, _, _ in settings.declared()]
    values = {parameter.name: parameter.value for parameter in node.get_parameters(names)}
    values |= {change.name: change.value for change in changes if change.name in values}
    return settings.from_dotted(values)


def needing_restart(
    node: Node, settings: type[Validated], changes: Iterable[Parameter]
) -> list[str]:
    """Names of the parameters whose new value a configured node cannot take over.

    Args:
        node: Has declared them.
        settings: Their class.
        changes: Parameters that are about to be set; a whole file may set most to what they are.
    """
    live = {name: constraint.live for name, _, constraint in settings.declared()}
    return [
        change.name
        for change in changes
        if not live.get(change.name, True)
        and change.value != node.get_parameter(change.name).value
    ]


def _with_doubles(changes: list[Parameter], doubles: set[str]) -> list[Parameter]:
    return [
        Parameter(change.name, value=float(change.value))
        if change.name in doubles and type(change.value) is int
        else change
        for change in changes
    ]


def _descriptor(default: object, constraint: Constraint) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=constraint.description)
    if constraint.choices:
        descriptor.additional_constraints = f"One of: {', '.join(constraint.choices)}"
    bounds = (constraint.minimum, constraint.maximum)
    if None in bounds:
        return descriptor
    if isinstance(default, float):
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(bounds[0]), to_value=float(bounds[1]))
        ]
    else:
        descriptor.integer_range = [IntegerRange(from_value=bounds[0], to_value=bounds[1], step=1)]
    return descriptor
