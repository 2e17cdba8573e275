# SPDX-License-Identifier: Apache-2.0
"""Settings as dataclasses with a description, a range and choices for each field.

One declaration of a field defines the ROS parameter with its descriptor, validation, the value on
the command line and the documentation.

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
    """A setting is unknown, of the wrong type or out of range."""


@dataclasses.dataclass(frozen=True)
class Constraint:
    """Description and allowed values of a setting.

    Attributes:
        description: One or two sentences for the user.
        minimum: Smallest allowed number.
        maximum: Largest allowed number.
        choices: Allowed strings; empty allows all.
        live: Whether the setting can change while the node is active.
    """

    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise `SettingsError` if `value` is not allowed."""
        if self.choices and value not in self.choices:
            raise SettingsError(f"{name}: {value!r} is not one of {', '.join(self.choices)}")
        # `not value >= minimum` also rejects NaN.
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
    """Base of settings dataclasses; validates every field on construction."""

    def __post_init__(self) -> None:
        """Validate types and constraints.

        Raises:
            SettingsError: If a value has the wrong type or is not allowed.
        """
        for field in dataclasses.fields(self):
            constraint = field.metadata.get("constraint")
            if constraint is None:
                continue
            value = getattr(self, field.name)
            expected = type(field.default)
            if expected is float and type(value) is int:
                object.__setattr__(self, field.name, float(value))
            elif expected is tuple and _is_string_list(value):
                object.__setattr__(self, field.name, tuple(value))
            elif expected is tuple:
                raise SettingsError(f"{field.name}: {value!r} is not a list of strings")
            elif type(value) is not expected:
                raise SettingsError(f"{field.name}: {value!r} is not of type {expected.__name__}")
            constraint.check(field.name, value)

    @classmethod
    def declared(cls, prefix: str = "") -> Iterator[tuple[str, Any, Constraint]]:
        """Yield dotted name, default and constraint of every setting, including groups."""
        for field in dataclasses.fields(cls):
            if inner := field.metadata.get("group"):
                yield from inner.declared(f"{prefix}{field.name}.")
            else:
                yield f"{prefix}{field.name}", field.default, field.metadata["constraint"]

    @classmethod
    def from_mapping(cls: type[T], values: Mapping[str, Any]) -> T:
        """Create settings from nested mappings; missing settings have their defaults.

        Raises:
            SettingsError: If a key is unknown or a value is not allowed.
        """
        if not isinstance(values, Mapping):
            raise SettingsError(f"{values!r} is not a group of settings")
        known = {field.name: field for field in dataclasses.fields(cls)}
        if unknown := sorted(str(name) for name in values if name not in known):
            hints = [hint for name in unknown if (hint := nearest(name, known))]
            hint = f"; did you mean {', '.join(hints)}?" if hints else ""
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
        """Create settings from a flat mapping with dotted names, such as ROS parameters."""
        nested: dict[str, Any] = {}
        for name, value in values.items():
            *groups, leaf = name.split(".")
            level = nested
            for key in groups:
                level = level.setdefault(key, {})
                if not isinstance(level, dict):
                    raise SettingsError(f"{key}: {level!r} is not a group of settings")
            level[leaf] = value
        return cls.from_mapping(nested)

    @classmethod
    def from_parameters(cls: type[T], parameters: Mapping[str, Any]) -> T:
        """Create settings from the parameters of a node.

        Args:
            parameters: Values by dotted name; parameters of other settings, whose first part is
                unknown here, are ignored.
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
    """Read the parameters of a node, including those of every node (`/**`), from a ROS 2 file.

    Args:
        path: YAML file.
        node: Name of the node, without namespace.

    Returns:
        Values by dotted name, such as `detector.model`; later sections override earlier ones.

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
    """Full names of the nodes in a parameter file, and their parameters by dotted name.

    Args:
        content: Content of the file.

    Raises:
        SettingsError: If the parameters of a node are not a mapping.
    """
    return [(name, dotted(values)) for name, values in _sections(content)]


def profile_file(name: str) -> Path:
    """Path of the parameter file of a profile, in `config/`.

    Args:
        name: Name of the profile, such as `embedded`.

    Raises:
        SettingsError: If the profile does not exist.
    """
    package = Path(__file__).parent
    # Beside the package in the source tree, or under the prefix of an installation.
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
    """Names of the parameters of each node of the package; needs no ROS."""
    path = Path(__file__).with_name("parameter_names.yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def unknown_parameters(values: Iterable[str]) -> list[str]:
    """Warnings about names that are no parameter of any node of the package, one line each.

    Args:
        values: Dotted names, such as the keys of `read_parameter_file`.
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
        + (f"; did you mean {hint}?" if hint else "")
        for name, hint in hints
    ]


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most similar to a name; empty if none is similar.

    Args:
        name: Dotted name.
        known: Dotted names; names with the same last part as `name` are preferred.
    """
    known = list(known)
    last = name.rsplit(".", 1)[-1]
    same = [other for other in known if other.rsplit(".", 1)[-1] == last]
    matches = get_close_matches(name, same, n=1, cutoff=0.0) or get_close_matches(name, known, n=1)
    if not matches:
        # The group is missing or wrong, and the last part is misspelled.
        parts = {other.rsplit(".", 1)[-1]: other for other in known}
        matches = [parts[part] for part in get_close_matches(last, parts, n=1, cutoff=0.7)]
    return matches[0] if matches else ""


def read_yaml(path: Path) -> Any:
    """Read a YAML file in UTF-8, independent of the locale.

    Raises:
        SettingsError: If the file is missing or not YAML; the message is one line with the path
            and the line of the error.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except RecursionError as error:
        raise SettingsError(f"{path}: values are nested too deeply") from error
    except yaml.MarkedYAMLError as error:
        place = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise SettingsError(f"{path}{place}: {error.problem}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {' '.join(str(error).split())}") from error


def _is_string_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(type(item) is str for item in value)


def _sections(content: Mapping[str, Any], namespace: str = "") -> Iterator[tuple[str, Any]]:
    """Full names of nodes and the content of their `ros__parameters`."""
    for name, entry in content.items():
        full_name = f"{namespace}/{str(name).lstrip('/')}" if namespace else str(name)
        if isinstance(entry, Mapping) and "ros__parameters" in entry:
            yield full_name, entry["ros__parameters"]
        elif isinstance(entry, Mapping):
            yield from _sections(entry, full_name)


def dotted(values: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested groups of parameters.

    Args:
        values: Values and groups by name; None is an empty group.
        prefix: Prefix of every name.

    Returns:
        Values by dotted name, such as `detector.model`.

    Raises:
        SettingsError: If `values` is not a group.
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
