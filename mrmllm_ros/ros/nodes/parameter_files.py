# SPDX-License-Identifier: Apache-2.0
"""Parameters on a node's command line: which of them reach the node, and which are mistaken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import yaml
from rclpy.node import Node

from mrmllm_ros.settings import SettingsError, nearest, parameter_names, sections_of

# Names of sections that are as alike as this to the node's are taken for misspelled.
_ALIKE = 0.85

_FIXES = {
    "No value": 'write "" for an empty text, or leave the key out',
    "should be of same type": "the items of a list are of one type; write texts in quotes",
    "before ros__parameters": "parameters stand below `NODE: ros__parameters:`",
    "values and not keys": "parameters stand below `NODE: ros__parameters:`",
    "aliasing": "ROS 2 supports no anchors and aliases; repeat the value",
    "opening YAML file": "check that it may be read",
}


@dataclass(frozen=True)
class Arguments:
    """What the command line says of parameters.

    Attributes:
        files: Parameter files.
        addressed: Names of parameters that are for one node, as (node, parameter).
    """

    files: tuple[Path, ...]
    addressed: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, command_line: Sequence[str]) -> Arguments:
        """Pick them out of the ROS arguments of a command line."""
        files, addressed = [], []
        for flag, value in _ros_flags(command_line):
            if flag == "--params-file":
                files.append(Path(value))
            elif flag in ("-p", "--param") and ":" in (rule := value.split(":=")[0]):
                node, name = rule.split(":", 1)
                addressed.append((node, name))
        return cls(tuple(files), tuple(addressed))


def warn_of_mistakes(node: Node, command_line: Sequence[str]) -> None:
    """Log keys that no node of the package has, and sections that are for no node.

    Keys of other nodes of the package are no mistake where they stand for several nodes, below
    `/**` or in `-p`.

    Args:
        node: Has declared its parameters.
        command_line: The arguments of its process.

    Raises:
        SettingsError: If a file holds something else than parameters.
    """
    arguments = Arguments.of(command_line)
    full_name = node.get_fully_qualified_name()
    own = {name for other, name in arguments.addressed if other == node.get_name()}
    for file in arguments.files:
        sections = _sections(file)
        applying = {name: keys for name, keys in sections.items() if _applies(name, full_name)}
        own |= {key for name, keys in applying.items() if not _is_wildcard(name) for key in keys}
        if misplaced := _misplaced(sections, applying, node.get_name()):
            node.get_logger().warning(f"{file}: {misplaced} {full_name}:")
    for message in _unknown(node, own):
        node.get_logger().warning(message)


def explain(error: Exception) -> str:
    """One line on arguments that rclpy rejects: what, where, and how to fix it."""
    text = re.sub(r", at [^\s,]+:\d+", "", str(error)).removeprefix("failed to initialize rcl: ")
    text = " ".join(text.split())
    found = re.search(r"'--params-file (?P<file>.+?)'\. Error: (?P<reason>.+)", text)
    if found is None:
        return f"cannot use the command line: {text}"
    file, reason = Path(found["file"]), found["reason"]
    if not file.is_file():
        return f"there is no parameter file {file}; check --params-file"
    number = re.search(r"line(?:_num)? (\d+)", reason)
    lines = file.read_text(errors="replace").splitlines()
    at = int(number[1]) if number else 0
    quoted = f" ({lines[at - 1].strip()})" if 0 < at <= len(lines) else ""
    fixes = [fix for part, fix in _FIXES.items() if part in reason]
    fix = fixes[0] if fixes else "check indentation, brackets and quotes"
    return f"cannot read the parameter file {file}: {reason}{quoted}; {fix}"


def _ros_flags(command_line: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each argument between `--ros-args` and `--` with the one behind it."""
    is_ros = False
    for argument, following in zip(command_line, [*command_line[1:], ""], strict=True):
        if argument in ("--ros-args", "--"):
            is_ros = argument == "--ros-args"
        elif is_ros:
            yield argument, following


def _sections(file: Path) -> dict[str, set[str]]:
    """Parameter names by section; nothing where only rcl understands the file."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        if content is not None and not isinstance(content, dict):
            raise SettingsError(
                f"{file} is not a ROS 2 parameter file; write parameters below "
                "`NODE: ros__parameters:`"
            )
        return {name: set(values) for name, values in sections_of(content or {})}
    except (ValueError, yaml.YAMLError):
        return {}


def _applies(section: str, full_name: str) -> bool:
    pattern = f"/{section.lstrip('/')}".replace("/**", "(/.+)?").replace("/*", r"/[^/]+")
    return re.fullmatch(pattern, full_name) is not None


def _is_wildcard(section: str) -> bool:
    return section.endswith("*")


def _misplaced(sections: dict[str, set[str]], applying: dict[str, set[str]], name: str) -> str:
    """What to say of a section that is meant for the node and does not reach it, if any."""
    if any(not _is_wildcard(section) for section in applying):
        return ""
    known = parameter_names()
    for section in sections.keys() - applying.keys():
        last = section.rsplit("/", 1)[-1]
        if section.lstrip("/") == name:
            return f"the section {section} is for a node without namespace; write /**/{name}: or"
        if last not in known and get_close_matches(last, [name], cutoff=_ALIKE):
            return f"the section {section} is for no node; did you mean"
    is_for_others = any(section.rsplit("/", 1)[-1] in known for section in sections)
    if sections and not applying and not is_for_others:
        return f"it has sections for {', '.join(sorted(sections))} alone; add one for"
    return ""


def _unknown(node: Node, own: set[str]) -> Iterator[str]:
    known = sorted({name for names in parameter_names().values() for name in names})
    declared = sorted(node.list_parameters([], 0).names)
    for name, override in node._parameter_overrides.items():
        is_empty_group = override.value is None and any(d.startswith(f"{name}.") for d in declared)
        if node.has_parameter(name) or name.startswith("qos_overrides.") or is_empty_group:
            continue
        if name in known and name not in own:
            continue
        meant = nearest(name, [*declared, *known])
        hint = f"did you mean {meant}?" if meant else "see docs/parameters.md"
        yield f"parameter {name} does not exist and has no effect; {hint}"
