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
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml

from mrmllm_ros.errors import MrmllmError

T = TypeVar("T", bound="Validated")

# Node whose parameters choose the models.
_MAIN_NODE = "mrmllm_node"


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
            meant = [near for name in unknown if (near := nearest(name, known))]
            hint = f"; did you mean {', '.join(meant)}?" if meant else ""
            raise SettingsError(
                f"unknown setting {', '.join(unknown)}{hint}; known: {', '.join(sorted(known))}"
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
                if not isinstance(level, dict):
                    raise SettingsError(
                        f"{key} is a group of settings, and {level!r} is given for it"
                    )
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

    @classmethod
    def from_parameter_file(
        cls: type[T],
        path: Path | None,
        parameters: Mapping[str, Any] | None = None,
        warn: Callable[[str], object] = lambda message: None,
    ) -> T:
        """Read these settings of `mrmllm_node` from a ROS 2 parameter file.

        Args:
            path: Parameter file; None for the defaults.
            parameters: Values by dotted name that override the file.
            warn: Called with a message for each unknown parameter in the file.

        Raises:
            SettingsError: If the file cannot be read or a value is invalid.
        """
        values = read_parameter_file(path, _MAIN_NODE) if path else {}
        for message in unknown_parameters(values):
            warn(f"{path}: {message}")
        return cls.from_parameters({**values, **(parameters or {})})


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
    sections = sections_of(content)
    if not sections and dotted(content):
        raise SettingsError(f"{path} is not a ROS 2 parameter file: it has no ros__parameters")
    parameters: dict[str, Any] = {}
    for name, values in sections:
        if name.rsplit("/", 1)[-1] in (node, "*", "**"):
            parameters |= values
    return parameters


def sections_of(content: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Names of nodes, with their namespaces, and their parameters by dotted name.

    Args:
        content: A parameter file's content.

    Raises:
        SettingsError: If the parameters of a node are not a group.
    """
    return [(name, dotted(values)) for name, values in _sections(content)]


def profile_file(name: str) -> Path:
    """Parameter file of a profile, one of those in `config/`.

    Args:
        name: Such as `embedded`.

    Raises:
        SettingsError: If there is no such profile.
    """
    package = Path(__file__).parent
    # Beside the package in the source tree; below the prefix where it is installed.
    folders = [parent / "share" / package.name / "config" for parent in package.parents]
    if package.with_name("package.xml").is_file():
        folders.insert(0, package.with_name("config"))
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise SettingsError(f"there is no profile {name!r}; known: {known or 'none'}")
    return path


def parameter_names() -> dict[str, list[str]]:
    """Names of all parameters of every node of the package, by node; needs no ROS."""
    path = Path(__file__).with_name("parameter_names.yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def unknown_parameters(values: Iterable[str]) -> list[str]:
    """One line for each name that no node of the package has as a parameter.

    Args:
        values: Dotted names, such as those of `read_parameter_file`.
    """
    every_node = ("use_sim_time", "start_type_description_service")
    known = [name for names in parameter_names().values() for name in names]
    unknown = [
        name
        for name in values
        if name not in (*known, *every_node) and not name.startswith("qos_overrides.")
    ]
    hints = [(name, nearest(name, known)) for name in unknown]
    return [
        f"parameter {name} does not exist and has no effect"
        + (f"; did you mean {meant}?" if meant else "")
        for name, meant in hints
    ]


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that was most likely meant; empty if none is alike.

    Args:
        name: A dotted name.
        known: Dotted names; of those with the last part of `name` one is preferred.
    """
    known = list(known)
    last = name.rsplit(".", 1)[-1]
    same = [other for other in known if other.rsplit(".", 1)[-1] == last]
    found = get_close_matches(name, same, n=1, cutoff=0.0) or get_close_matches(name, known, n=1)
    if not found:
        # The group is missing or another one, and the last part is misspelled.
        parts = {other.rsplit(".", 1)[-1]: other for other in known}
        found = [parts[part] for part in get_close_matches(last, parts, n=1, cutoff=0.7)]
    return found[0] if found else ""


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


def _sections(content: Mapping[str, Any], namespace: str = "") -> Iterator[tuple[str, Any]]:
    """Node names, below their namespaces, and what stands below their `ros__parameters`."""
    for name, entry in content.items():
        full_name = f"{namespace}/{str(name).lstrip('/')}" if namespace else str(name)
        if isinstance(entry, Mapping) and "ros__parameters" in entry:
            yield full_name, entry["ros__parameters"]
        elif isinstance(entry, Mapping):
            yield from _sections(entry, full_name)


def dotted(values: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested groups of parameters; an empty group holds nothing.

    Args:
        values: Values and further groups by name.
        prefix: Begins every name.

    Returns:
        Values by dotted name, such as `detector.model`.

    Raises:
        SettingsError: If the values are not a group.
    """
    if not (values is None or isinstance(values, Mapping)):
        raise SettingsError(f"{values!r} is not a group of parameters")
    flat: dict[str, Any] = {}
    for name, value in (values or {}).items():
        if isinstance(value, Mapping) or value is None:
            flat |= dotted(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
