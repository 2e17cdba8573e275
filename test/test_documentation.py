# SPDX-License-Identifier: Apache-2.0
"""The README's tables of parameters and error codes against the code."""

import re
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from mrmllm_ros.engine.errors import ErrorCode
from mrmllm_ros.nodes.camera_player_node import PlayerSettings
from mrmllm_ros.nodes.mrmllm_node import MrmllmSettings
from mrmllm_ros.nodes.visualizer_node import VisualizerSettings

README = (Path(__file__).parents[1] / "README.md").read_text()
TYPES = {bool: "bool", int: "int", float: "double", str: "string", tuple: "string[]"}
NODES = {
    "mrmllm_node": MrmllmSettings,
    "visualizer_node": VisualizerSettings,
    "camera_player_node": PlayerSettings,
}


def documented(node):
    """Cells of the rows of a node's parameter table, by name."""
    section = README.split(f"### {node}\n")[1].split("\n### ")[0]
    table = section.split("| parameter |")[1]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]]
    return {row[0].strip("`"): row[1:] for row in rows if row and row[0].startswith("`")}


def declared(settings):
    """The same cells as the code has them; without the description."""
    for name, default, constraint in settings.declared():
        value = f"`{default}`".lower() if isinstance(default, bool) else f"{default}"
        if isinstance(default, str):
            value = f"`{default}`" if default else ""
        if isinstance(default, tuple):
            value = f"`[{', '.join(default)}]`"
        bounds = (constraint.minimum, constraint.maximum)
        numbers = "" if None in bounds else f"{bounds[0]:.12g} to {bounds[1]:.12g}"
        live = "yes" if constraint.live else "no"
        yield name, [TYPES[type(default)], value, ", ".join(constraint.choices) or numbers, live]


@pytest.mark.parametrize("node", NODES)
def test_every_parameter_stands_in_the_table_as_it_is_in_the_code(node):
    table = documented(node)
    assert set(table) == {name for name, _ in declared(NODES[node])} | {"autostart"}
    for name, cells in declared(NODES[node]):
        assert table[name][:4] == cells, name


def test_every_error_code_is_explained():
    codes = dict(re.findall(r"^\| (\d+) \| `(\w+)` \|", README, re.MULTILINE))
    assert {(int(code), name) for code, name in codes.items()} == {
        (code.value, code.name) for code in ErrorCode if code is not ErrorCode.NONE
    }
