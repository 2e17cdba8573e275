# SPDX-License-Identifier: Apache-2.0
"""Checks of the parameters on the command line of a node."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import yaml
from rclpy.node import Node

from mrmllm_ros.settings import SettingsError, nearest, parameter_names, sections_of

# Minimum similarity of a section's name and the node's to report a misspelling.
_MIN_SIMILARITY = 0.85

_FIXES = {
    "No value": 'write "" for an empty text, or remove the key',
    "should be of same type": "all items of a list must have the same type; write texts in quotes",
    "before ros__parameters": "write parameters below `NODE: ros__parameters:`",
    "values and not keys": "write parameters below `NODE: ros__parameters:`",
    "aliasing": "ROS 2 does not support anchors and aliases; repeat the value",
    "opening YAML file": "check its permissions",
}


def log_parameter_mistakes(node: Node, command_line: Sequence[str]) -> None:
    """Log a warning for each unknown parameter and for sections that match no node.

    Parameters of other nodes of the package are accepted below `/**` and in `-p`.

    Args:
        node: Node that has declared its parameters.
        command_line: Arguments of the process.

    Raises:
        SettingsError: If a file is not a parameter file.
    """
    full_name = node.get_fully_qualified_name()
    # Names of the parameters that are meant for this node alone.
    own: set[str] = set()
    files = []
    for flag, value in _ros_flags(command_line):
        if flag == "--params-file":
            files.append(Path(value))
        elif flag in ("-p", "--param") and value.startswith(f"{node.get_name()}:"):
            own.add(value.split(":=")[0].partition(":")[2])
    for file in files:
        sections = _sections(file)
        applying = {name: keys for name, keys in sections.items() if _applies(name, full_name)}
        own |= {key for name, keys in applying.items() if not _is_wildcard(name) for key in keys}
        if misplaced := _misplaced(sections, applying, node.get_name()):
            node.get_logger().warning(f"{file}: {misplaced} {full_name}:")
    for message in _unknown(node, own):
        node.get_logger().warning(message)


def explain_arguments_error(error: Exception) -> str:
    """Return one line with the reason and the fix for arguments that rclpy rejects."""
    text = re.sub(r", at [^\s,]+:\d+", "", str(error)).removeprefix("failed to initialize rcl: ")
    text = " ".join(text.split())
    match = re.search(r"'--params-file (?P<file>.+?)'\. Error: (?P<reason>.+)", text)
    if match is None:
        return f"invalid command line: {text}"
    file, reason = Path(match["file"]), match["reason"]
    if not file.is_file():
        return f"the parameter file {file} does not exist; check --params-file"
    number = re.search(r"line(?:_num)? (\d+)", reason)
    lines = file.read_text(errors="replace").splitlines()
    at = int(number[1]) if number else 0
    quoted = f" ({lines[at - 1].strip()})" if 0 < at <= len(lines) else ""
    fixes = [fix for part, fix in _FIXES.items() if part in reason]
    fix = fixes[0] if fixes else "check indentation, brackets and quotes"
    return f"cannot read the parameter file {file}: {reason}{quoted}; {fix}"


def _ros_flags(command_line: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each argument between `--ros-args` and `--` with the next argument."""
    is_ros = False
    for argument, following in zip(command_line, [*command_line[1:], ""], strict=True):
        if argument in ("--ros-args", "--"):
            is_ros = argument == "--ros-args"
        elif is_ros:
            yield argument, following


def _sections(file: Path) -> dict[str, set[str]]:
    """Parameter names by section; empty if only rcl can parse the file."""
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
    """Return a warning about a section that is meant for the node but does not match it."""
    if any(not _is_wildcard(section) for section in applying):
        return ""
    known = parameter_names()
    for section in sections.keys() - applying.keys():
        last = section.rsplit("/", 1)[-1]
        if section.lstrip("/") == name:
            return f"the section {section} lacks the namespace of the node; write /**/{name}: or"
        if last not in known and get_close_matches(last, [name], cutoff=_MIN_SIMILARITY):
            return f"the section {section} matches no node; did you mean"
    is_for_others = any(section.rsplit("/", 1)[-1] in known for section in sections)
    if sections and not applying and not is_for_others:
        return f"it has only sections for {', '.join(sorted(sections))}; add one for"
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
