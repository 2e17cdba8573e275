# SPDX-License-Identifier: Apache-2.0
"""Settings as ROS parameters: declared with descriptors, checked when set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from mrmllm_ros.settings import Constraint, SettingsError, Validated

T = TypeVar("T", bound=Validated)


def declare_settings(node: Node, settings: type[Validated]) -> None:
    """Declare every setting as a parameter of the node.

    Raises:
        SettingsError: If an override is of the wrong type or out of range.
    """
    for name, default, constraint in settings.declared():
        value = list(default) if isinstance(default, tuple) else default
        try:
            node.declare_parameter(name, value, _descriptor(default, constraint))
        except Exception as error:
            # rclpy has an exception for each way that an override can be wrong.
            hint = "; write whole numbers with a decimal point" if type(default) is float else ""
            raise SettingsError(f"parameter {name}: {error}{hint}") from error


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
