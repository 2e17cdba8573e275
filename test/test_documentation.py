# SPDX-License-Identifier: Apache-2.0
"""Compare the documented parameters and error codes with the code."""

import re
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from rcl_interfaces.msg import ParameterType

from mrmllm_ros.cli import parameters_command as parameters
from mrmllm_ros.cli.main import main
from mrmllm_ros.engine.query_errors import ErrorCode

DOCS = Path(__file__).parents[1] / "docs"
NODES = dict(parameters.nodes())
# Parameters of every ROS 2 node.
NOT_OURS = {"start_type_description_service"}
TYPES = {
    ParameterType.PARAMETER_BOOL: "bool",
    ParameterType.PARAMETER_INTEGER: "int",
    ParameterType.PARAMETER_DOUBLE: "double",
    ParameterType.PARAMETER_STRING: "string",
    ParameterType.PARAMETER_STRING_ARRAY: "string array",
}


def documented(section):
    """Cells of the rows in a section of the page, by name."""
    page = (DOCS / "parameters.md").read_text()
    text = page.split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_readme_is_short():
    words = len((DOCS.parent / "README.md").read_text().split())
    assert words <= 1100, f"README.md has {words} words; move details to docs/"


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_a_page_begins_with_a_command(page):
    text = page.read_text()
    command = re.search(r"^```(bash|python)$", text, re.MULTILINE)
    assert command is not None
    before = text[: command.start()]
    assert "\n## " not in before
    assert len(before.split()) <= 60


def test_the_glossary_is_alphabetical():
    rows = re.findall(r"^\| (.+?) \| .+ \|$", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    words = [re.sub(r"[^\w ]", "", word).casefold() for word in rows[2:]]
    assert len(words) > 50
    assert words == sorted(set(words))


@pytest.fixture
def context():
    rclpy.init()
    yield
    rclpy.shutdown()


def test_the_page_of_parameters_is_what_the_code_says():
    assert (DOCS / "parameters.md").read_text() == parameters.page(), (
        "regenerate it: scripts/run mrmllm parameters > docs/parameters.md"
    )


def test_the_names_of_parameters_are_those_of_the_code(capsys):
    assert main(["parameters", "--names"]) == 0
    names = Path(parameters.__file__).parents[1] / "parameter_names.yaml"
    assert capsys.readouterr().out == names.read_text(), (
        "regenerate it: scripts/run mrmllm parameters --names > /tmp/names; "
        "cp /tmp/names mrmllm_ros/parameter_names.yaml"
    )


def test_the_command_prints_the_page(capsys):
    assert main(["parameters"]) == 0
    assert capsys.readouterr().out == parameters.page()


@pytest.mark.parametrize("name", NODES)
def test_all_parameters_of_a_real_node_are_documented(name, context):
    node = NODES[name]()
    try:
        declared = set(node.list_parameters([], 0).names) - NOT_OURS
        table = documented("Every node") | documented(name)
        assert set(table) == declared
        for descriptor in node.describe_parameters(sorted(declared)):
            kind, _, _, live, description = table[descriptor.name]
            assert kind == TYPES[descriptor.type]
            assert descriptor.read_only == (live == "read-only")
            assert description
    finally:
        node.destroy_node()


def test_every_error_code_is_explained():
    page = (DOCS / "nodes.md").read_text()
    codes = dict(re.findall(r"^\| (\d+) \| `(\w+)` \|", page, re.MULTILINE))
    assert {(int(code), name) for code, name in codes.items()} == {
        (code.value, code.name) for code in ErrorCode if code is not ErrorCode.NONE
    }
