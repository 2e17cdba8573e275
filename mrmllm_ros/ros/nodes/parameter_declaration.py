# SPDX-License-Identifier: Apache-2.0
"""Settings as ROS parameters with descriptors and validation."""

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
    """Declare every setting as a parameter of the node; integers are accepted for doubles.

    Raises:
        SettingsError: If an override has the wrong type or is out of range.
    """
    for name, default, constraint in settings.declared():
        value = initial_value(node, name, default)
        constraint.check(f"parameter {name}", value)
        value = list(value) if isinstance(value, tuple) else value
        node.declare_parameter(name, value, _descriptor(default, constraint), ignore_override=True)
    doubles = {name for name, default, _ in settings.declared() if type(default) is float}
    # Humble lacks this callback; there, an integer cannot be set later.
    if hasattr(node, "add_pre_set_parameters_callback"):
        node.add_pre_set_parameters_callback(lambda changes: _with_doubles(changes, doubles))


def initial_value(node: Node, name: str, default: Any) -> Any:
    """Return the override of a parameter, or its default.

    Raises:
        SettingsError: If the override does not have the type of the default.
    """
    overrides = node._parameter_overrides
    if name not in overrides:
        return default
    value, expected = overrides[name].value, type(default)
    if expected is float and type(value) is int:
        return float(value)
    # rcl reads null as a text.
    is_null = expected is str and value in ("null", "~")
    is_valid = type(value) is expected and not is_null
    if expected is tuple:
        is_valid = isinstance(value, list) and all(type(item) is str for item in value)
    if not is_valid:
        actual = "empty" if value is None else f"{value!r}, which is not {_TYPES[expected]}"
        example = f"[{', '.join(default)}]" if expected is tuple else str(default).lower()
        example = f", such as {example}" if default != "" and expected is not bool else ""
        raise SettingsError(f"parameter {name} is {actual}; {_FIXES[expected]}{example}")
    return tuple(value) if expected is tuple else value


def read_settings(node: Node, settings: type[T], changes: Iterable[Parameter] = ()) -> T:
    """Read settings from the parameters of a node.

    Args:
        node: Node that declared them.
        settings: Class of the settings.
        changes: Parameters that are being set; they replace current values.

    Raises:
        SettingsError: If a value is invalid.
    """
    names = [name for name, _, _ in settings.declared()]
    values = {parameter.name: parameter.value for parameter in node.get_parameters(names)}
    values |= {change.name: change.value for change in changes if change.name in values}
    return settings.from_dotted(values)


def fixed_parameters(
    node: Node, settings: type[Validated], changes: Iterable[Parameter]
) -> list[str]:
    """Return the names of changed parameters that are not live.

    Args:
        node: Node that declared them.
        settings: Class of the settings.
        changes: Parameters that are being set; unchanged values are ignored.
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
