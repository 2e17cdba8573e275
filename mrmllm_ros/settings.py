# SPDX-License-Identifier: Apache-2.0
"""Settings as dataclasses whose fields carry description, range and choices.

The same declaration serves the command line, the nodes' parameter descriptors and the check of
every value, so that a parameter is described in one place.

Example:
    >>> @dataclass(frozen=True)
    ... class Settings(Validated):
    ...     rate_hz: float = setting(10.0, "Frames per second.", minimum=0.1, maximum=120.0)
    >>> Settings(rate_hz=0.0)
    Traceback (most recent call last):
    SettingsError: rate_hz: 0.0 is below the minimum of 0.1
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from mrmllm_ros.errors import MrmllmError

T = TypeVar("T", bound="Validated")


class SettingsError(MrmllmError):
    """A setting is unknown, of the wrong type or out of range; the message says which."""


@dataclasses.dataclass(frozen=True)
class Constraint:
    """What a setting may be.

    Attributes:
        description: One or two sentences for the user.
        minimum: Least value of a number, inclusive.
        maximum: Greatest value of a number, inclusive.
        choices: The values that a text may have; empty for any.
        live: Whether it can be changed while the node is active.
    """

    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise `SettingsError` if `value` breaks the constraint."""
        if self.choices and value not in self.choices:
            raise SettingsError(f"{name}: {value!r} is not one of {', '.join(self.choices)}")
        # Written so that NaN, which is neither above nor below, is refused.
        if self.minimum is not None and not value >= self.minimum:
            raise SettingsError(f"{name}: {value} is below the minimum of {self.minimum}")
        if self.maximum is not None and not value <= self.maximum:
            raise SettingsError(f"{name}: {value} is above the maximum of {self.maximum}")


def setting(default: Any, description: str, **constraint: Any) -> Any:
    """Declare a dataclass field with a default and a `Constraint`."""
    metadata = {"constraint": Constraint(description, **constraint)}
    return dataclasses.field(default=default, metadata=metadata)


def group(cls: type[T]) -> Any:
    """Declare a dataclass field that holds further settings."""
    return dataclasses.field(default_factory=cls, metadata={"group": cls})


class Validated:
    """Base of settings dataclasses: checks every field on construction."""

    def __post_init__(self) -> None:
        """Check types and constraints.

        Raises:
            SettingsError: If a value is of the wrong type or breaks its constraint.
        """
        for field in dataclasses.fields(self):
            constraint = field.metadata.get("constraint")
            if constraint is None:
                continue
            value = getattr(self, field.name)
            wanted = type(field.default)
            if wanted is float and type(value) is int:
                object.__setattr__(self, field.name, float(value))
            elif wanted is tuple and _are_texts(value):
                object.__setattr__(self, field.name, tuple(value))
            elif wanted is tuple:
                raise SettingsError(f"{field.name}: {value!r} is not a list of texts")
            elif type(value) is not wanted:
                raise SettingsError(f"{field.name}: {value!r} is not of type {wanted.__name__}")
            constraint.check(field.name, value)

    @classmethod
    def declared(cls, prefix: str = "") -> Iterator[tuple[str, Any, Constraint]]:
        """Yield (dotted name, default, constraint) of every setting, groups included."""
        for field in dataclasses.fields(cls):
            if inner := field.metadata.get("group"):
                yield from inner.declared(f"{prefix}{field.name}.")
            else:
                yield f"{prefix}{field.name}", field.default, field.metadata["constraint"]

    @classmethod
    def from_mapping(cls: type[T], values: Mapping[str, Any]) -> T:
        """Make settings from nested mappings; what is not named keeps its default.

        Raises:
            SettingsError: If a key is unknown or a value is refused.
        """
        if not isinstance(values, Mapping):
            raise SettingsError(f"{values!r} is not a group of settings")
        known = {field.name: field for field in dataclasses.fields(cls)}
        if unknown := sorted(str(name) for name in values if name not in known):
            raise SettingsError(
                f"unknown setting {', '.join(unknown)}; known: {', '.join(sorted(known))}"
            )
        arguments = {}
        for name, value in values.items():
            inner = known[name].metadata.get("group")
            arguments[name] = _inner_settings(inner, name, value) if inner else value
        return cls(**arguments)

    @classmethod
    def from_dotted(cls: type[T], values: Mapping[str, Any]) -> T:
        """Make settings from a flat mapping with dotted names, such as ROS parameters."""
        nested: dict[str, Any] = {}
        for name, value in values.items():
            *groups, leaf = name.split(".")
            level = nested
            for key in groups:
                level = level.setdefault(key, {})
            level[leaf] = value
        return cls.from_mapping(nested)

    @classmethod
    def from_parameters(cls: type[T], parameters: Mapping[str, Any]) -> T:
        """Pick these settings out of a node's parameters.

        Args:
            parameters: Values by dotted name; those of which these settings know not even the
                first part are passed over.
        """
        own = {field.name for field in dataclasses.fields(cls)}
        return cls.from_dotted({k: v for k, v in parameters.items() if k.split(".")[0] in own})


def _inner_settings(inner: type[T], name: str, values: Any) -> T:
    try:
        return inner.from_mapping(values)
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from error


def read_parameter_file(path: Path, node: str) -> dict[str, Any]:
    """Parameters of a node in a ROS 2 parameter file, those for every node (`/**`) included.

    Args:
        path: A YAML file.
        node: The node's name, without namespace.

    Returns:
        Values by dotted name, such as `detector.model`; later sections win.

    Raises:
        SettingsError: If the file is missing or is not a parameter file.
    """
    try:
        content = read_yaml(path)
    except SettingsError as error:
        raise SettingsError(f"cannot read the parameter file {error}") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path} is not a ROS 2 parameter file")
    sections = list(_sections(content))
    if not sections and _dotted(content):
        raise SettingsError(f"{path} is not a ROS 2 parameter file: it has no ros__parameters")
    parameters: dict[str, Any] = {}
    for name, values in sections:
        if name == "/**" or name.rsplit("/", 1)[-1] == node:
            parameters |= _dotted(values)
    return parameters


def read_yaml(path: Path) -> Any:
    """Read a YAML file in UTF-8, whatever the locale.

    Raises:
        SettingsError: If it is missing or not YAML; the message is one line that begins with the
            path and names the line of a fault.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except RecursionError as error:
        raise SettingsError(f"{path}: its values are nested too deeply") from error
    except yaml.MarkedYAMLError as error:
        place = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise SettingsError(f"{path}{place}: {error.problem}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {' '.join(str(error).split())}") from error


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(type(item) is str for item in value)


def _sections(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Node names and what stands below their `ros__parameters`, namespaces opened."""
    for name, entry in content.items():
        if isinstance(entry, Mapping) and "ros__parameters" in entry:
            yield str(name), entry["ros__parameters"]
        elif isinstance(entry, Mapping):
            yield from _sections(entry)


def _dotted(values: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested groups; an empty one holds nothing."""
    if not (values is None or isinstance(values, Mapping)):
        raise SettingsError(f"{values!r} is not a group of parameters")
    flat: dict[str, Any] = {}
    for name, value in (values or {}).items():
        if isinstance(value, Mapping) or value is None:
            flat |= _dotted(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
