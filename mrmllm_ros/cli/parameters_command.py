# SPDX-License-Identifier: Apache-2.0
"""`mrmllm parameters`: every parameter of every node, as a page of tables."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import yaml

from mrmllm_ros.cli.ros_checks import require_ros
from mrmllm_ros.settings import Constraint, Validated

if TYPE_CHECKING:
    from mrmllm_ros.ros.nodes.lifecycle import ManagedNode

_TYPES = {bool: "bool", int: "int", float: "double", str: "string", tuple: "string array"}

_HEAD = """\
# Parameters

```bash
ros2 param describe /mrmllm/mrmllm_node detector.score_threshold
ros2 param set /mrmllm/mrmllm_node detector.score_threshold 0.5
scripts/run mrmllm parameters > docs/parameters.md    # generates this page; a test compares it
```

*Live* parameters can change at run time; the others only while the node is unconfigured. A double
may be written as a whole number. An invalid value ends the node with status 2 and the reason. A
name that no node has is logged as a warning with the nearest existing name.

## Every node

| parameter | type | default | range or choices | live | |
| --- | --- | --- | --- | --- | --- |
| `autostart` | bool | `true` | | read-only | Configure and activate without waiting for a \
lifecycle manager. |
| `use_sim_time` | bool | `false` | | yes | Take the time from `/clock`, as with a recorded bag. |

Beside these, publishers and subscriptions whose quality of service can be chosen have parameters
`qos_overrides.<topic>.…`, read when they are made.
"""


_NAMES_HEAD = """\
# Made by `mrmllm parameters --names`; a test compares it with the code.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `mrmllm parameters`.

    Args:
        subparsers: What `ArgumentParser.add_subparsers` of the main parser returned.
    """
    parser = subparsers.add_parser(
        "parameters",
        help="print every parameter of every node",
        description="Print every parameter of every node, with type, default, range and whether "
        "it can change at run time, as Markdown. Needs ROS 2.",
    )
    parser.add_argument(
        "--names", action="store_true", help="print the names alone, by node, as YAML"
    )
    parser.set_defaults(run=_run)


def page() -> str:
    """All tables as Markdown."""
    return "\n".join([_HEAD, *(_section(name, node.settings_class) for name, node in nodes())])


def names() -> str:
    """Names of all parameters by node, as YAML; what `settings.parameter_names` reads."""
    declared = {
        name: ["autostart", *(setting for setting, _, _ in node.settings_class.declared())]
        for name, node in nodes()
    }
    return f"{_NAMES_HEAD}{yaml.safe_dump(declared)}"


def nodes() -> Iterator[tuple[str, type[ManagedNode]]]:
    """Name and class of every node of the package, by name."""
    import mrmllm_ros.ros.nodes
    from mrmllm_ros.ros.nodes.lifecycle import ManagedNode

    modules = [module.name for module in pkgutil.iter_modules(mrmllm_ros.ros.nodes.__path__)]
    for name in sorted(name for name in modules if name.endswith("_node")):
        module = importlib.import_module(f"mrmllm_ros.ros.nodes.{name}")
        [node] = [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, ManagedNode)
            and value.__module__ == module.__name__
        ]
        yield name, node


def _run(options: argparse.Namespace) -> int:
    require_ros()
    print(names() if options.names else page(), end="")
    return 0


def _section(name: str, settings: type[Validated]) -> str:
    rows = [_row(*declared) for declared in settings.declared()]
    head = ["| parameter | type | default | range or choices | live | |", f"|{' --- |' * 6}"]
    return "\n".join([f"## {name}", "", *head, *rows, ""])


def _row(name: str, default: Any, constraint: Constraint) -> str:
    cells = [
        f"`{name}`",
        _TYPES[type(default)],
        _default(default),
        ", ".join(constraint.choices) or _range(constraint),
        "yes" if constraint.live else "no",
        constraint.description.replace("|", "\\|"),
    ]
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"


def _default(value: Any) -> str:
    """As in a parameter file; nothing for an empty text."""
    if isinstance(value, bool):
        return f"`{value}`".lower()
    if isinstance(value, tuple):
        return f"`[{', '.join(value)}]`"
    if isinstance(value, str):
        return f"`{value}`" if value else ""
    return f"{value}"


def _range(constraint: Constraint) -> str:
    """Both ends included; an end that is open is named."""
    least, most = constraint.minimum, constraint.maximum
    if most is None:
        return "" if least is None else f"from {least:.12g}"
    return f"up to {most:.12g}" if least is None else f"{least:.12g} to {most:.12g}"
