# SPDX-License-Identifier: Apache-2.0
"""Imports between the parts of the package, in the sources and at run time."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mrmllm_ros

REPOSITORY = Path(__file__).parents[1]
SOURCES = REPOSITORY / "mrmllm_ros"

BASE = {"atomic_files", "errors", "environment", "settings", "compute", "weights"}
# Imports point one way, as in the table of docs/architecture.md.
MAY_USE = {
    # The package itself.
    "": {"environment", "pipeline"},
    "atomic_files": set(),
    "errors": set(),
    "environment": {"errors"},
    "interrupts": set(),
    "settings": {"errors"},
    "compute": {"errors", "settings"},
    "weights": BASE,
    "detection": BASE,
    "localization": BASE | {"detection"},
    "model": BASE | {"detection", "localization"},
    "answering": BASE | {"detection", "localization", "model"},
    "engine": BASE | {"detection", "localization", "model", "answering"},
    "pipeline": BASE | {"detection", "model", "answering", "engine"},
    "datasets": BASE | {"detection", "localization", "model"},
    "training": BASE | {"detection", "localization", "model", "datasets"},
    "evaluation": BASE
    | {"detection", "localization", "model", "answering", "datasets", "training"},
    "ros": BASE | {"interrupts", "detection", "localization", "model", "answering", "engine"},
}
# Commands and benchmarks may use everything.
TOP = {"cli", "benchmarks"}
ROS_PARTS = {"ros"}
# The generated part of the package.
GENERATED = {"mrmllm_ros.msg", "mrmllm_ros.srv", "mrmllm_ros.action"}
ROS_PACKAGES = {
    "action_msgs",
    "ament_index_python",
    "builtin_interfaces",
    "cv_bridge",
    "diagnostic_msgs",
    "diagnostic_updater",
    "geometry_msgs",
    "launch",
    "launch_ros",
    "lifecycle_msgs",
    "message_filters",
    "nav_msgs",
    "rcl_interfaces",
    "rclpy",
    "rosbag2_py",
    "rosgraph_msgs",
    "rosidl_runtime_py",
    "sensor_msgs",
    "sensor_msgs_py",
    "std_msgs",
    "std_srvs",
    "tf2_geometry_msgs",
    "tf2_msgs",
    "tf2_ros",
    "unique_identifier_msgs",
    "vision_msgs",
    "visualization_msgs",
}


def module_name(path):
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module):
    """Second name of a module of the package: `engine` of `mrmllm_ros.engine.scene`."""
    return [*module.split("."), ""][1]


MODULES = {module_name(path): path for path in sorted(SOURCES.rglob("*.py"))}
ROS_FREE = {name: path for name, path in MODULES.items() if part_of(name) not in ROS_PARTS | TOP}


def imported(path):
    """Full names of the modules that a source file imports, also within functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module)
            # `from package import module` imports the module.
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def is_ros(name):
    return name.split(".")[0] in ROS_PACKAGES or ".".join(name.split(".")[:2]) in GENERATED


ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text()


def test_the_documented_imports_are_those_that_are_checked():
    rows = re.findall(r"^\| `(\w+)/` \|[^|]*\|([^|]*)\|$", ARCHITECTURE, re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", uses)) for name, uses in rows}
    folders = {path.parent.name for path in SOURCES.glob("*/__init__.py")}
    assert set(documented) == folders
    for name in folders - TOP:
        assert documented[name] == MAY_USE[name] - BASE - {"interrupts"}


def test_every_thread_of_the_engine_is_documented():
    names = set()
    for path in (SOURCES / "engine").glob("*.py"):
        names |= set(re.findall(r'(?:name=f?|ThreadPoolExecutor\(1, )"(\w+)', path.read_text()))
    assert {"perception", "enrichment", "vocabulary"} <= names
    threads = ARCHITECTURE.split("\n## Threads of mrmllm_node\n")[1].split("\n## ")[0]
    assert names <= set(re.findall(r"`(\w+)(?:-\d+)?`", threads))


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_the_documents_name_paths_that_exist(page):
    text = (REPOSITORY / page).read_text()
    paths = re.findall(r"`((?:mrmllm_ros|test|docs|requirements)/[\w./]*)`", text)
    assert paths
    written = [path for path in paths if "NAME" not in path]
    assert [path for path in written if not (REPOSITORY / path).exists()] == []


def test_the_modules_are_found():
    assert mrmllm_ros.__name__ in ROS_FREE
    assert {"mrmllm_ros.settings", "mrmllm_ros.engine.engine"} <= set(ROS_FREE)
    assert "mrmllm_ros.ros.nodes.mrmllm_node" not in ROS_FREE
    assert {part_of(name) for name in ROS_FREE} - {""} <= set(MAY_USE), (
        "a new part: add it to the design and to MAY_USE"
    )


@pytest.mark.parametrize("module", ROS_FREE)
def test_a_module_without_ros_imports_nothing_of_ros(module):
    assert not {name for name in imported(ROS_FREE[module]) if is_ros(name)}


@pytest.mark.parametrize("module", [name for name in MODULES if part_of(name) not in TOP])
def test_a_module_uses_only_the_parts_that_its_own_may_use(module):
    own = part_of(module)
    used = {part_of(name) for name in imported(MODULES[module]) if name.startswith("mrmllm_ros.")}
    assert used - {own} - {part_of(name) for name in GENERATED} <= MAY_USE.get(own, set())


# Light nodes import these and must not import the models' libraries.
LIGHT = [f"mrmllm_ros.detection.{name}" for name in ("detections", "annotation", "playback")]
# AGPL-3.0: imported only if it is selected.
# The second imports the first.
ULTRALYTICS = (
    "mrmllm_ros.detection.ultralytics_predictor",
    "mrmllm_ros.detection.ultralytics_detector",
)
IMPORTABLE = [
    *LIGHT,
    *sorted({*ROS_FREE, "mrmllm_ros.cli.main"} - {*LIGHT, *ULTRALYTICS}),
    *ULTRALYTICS,
]

IMPORT_WITHOUT_ROS = """
import importlib, json, sys, traceback

blocked, libraries, modules = map(json.loads, sys.argv[1:])


class NoRos:
    def find_spec(self, name, path=None, target=None):
        parts = name.split(".")
        if parts[0] in blocked or ".".join(parts[:2]) in blocked:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)


sys.meta_path.insert(0, NoRos())
for name in ("rclpy", "sensor_msgs.msg", "mrmllm_ros.msg"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert "blocked" in str(error)
    else:
        raise AssertionError(f"{name} is not blocked")

errors, loaded = {}, {}
for name in modules:
    try:
        importlib.import_module(name)
    except Exception:
        errors[name] = traceback.format_exc()
    loaded[name] = [library for library in libraries if library in sys.modules]
print(json.dumps([errors, loaded]))
"""


@pytest.fixture(scope="module")
def import_without_ros():
    """Errors of importing modules in turn without ROS, and the libraries loaded after each."""
    blocked = sorted(ROS_PACKAGES | GENERATED)
    libraries = ["torch", "torchvision", "transformers", "ultralytics"]
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            IMPORT_WITHOUT_ROS,
            *map(json.dumps, (blocked, libraries, IMPORTABLE)),
        ],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("module", IMPORTABLE)
def test_a_module_without_ros_can_be_imported_where_there_is_no_ros(module, import_without_ros):
    errors, _ = import_without_ros
    assert module not in errors, errors[module]


@pytest.mark.parametrize("module", LIGHT)
def test_small_nodes_load_no_network(module, import_without_ros):
    _, loaded = import_without_ros
    assert loaded[module] == []


def test_ultralytics_is_loaded_by_its_own_modules_only(import_without_ros):
    _, loaded = import_without_ros
    *others, predictor, detector = IMPORTABLE
    assert (predictor, detector) == ULTRALYTICS
    assert "ultralytics" not in loaded[others[-1]]
    assert "ultralytics" in loaded[predictor]


@pytest.mark.parametrize(
    "path",
    [
        path
        for folder in ("mrmllm_ros", "test", "launch")
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
    ]
    + [REPOSITORY / "setup.py"]
    + sorted(path for path in (REPOSITORY / "scripts").iterdir() if path.is_file()),
    ids=lambda path: str(path.relative_to(REPOSITORY)),
)
def test_every_source_file_begins_with_its_license(path):
    first, second, *_ = [*path.read_text().splitlines(), "", ""]
    license = "# SPDX-License-Identifier: Apache-2.0"
    assert first == license or (first.startswith("#!") and second == license)
