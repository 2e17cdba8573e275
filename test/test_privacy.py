# SPDX-License-Identifier: Apache-2.0
"""Real commands and nodes contact nobody and write no files into an empty home.

Host names are recorded in an isolated network, because libraries in C++ do not use Python's calls.
Where that is not permitted, only files are checked, such as the device id of onnxruntime.
"""

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mrmllm_ros import environment

pytestmark = pytest.mark.timeout(600)

TESTS = Path(__file__).parent
IMAGE = str(Path(importlib.util.find_spec("ultralytics").origin).parent / "assets" / "bus.jpg")
# Variables that identify a test; libraries do not contact the network then.
OF_TESTS = {"CI", "GITHUB_ACTIONS", "TF_BUILD", "PYTEST_CURRENT_TEST", "HF_HUB_OFFLINE"}


def why_not_alone():
    """Why isolated networks and mounts are not permitted here; empty if they are."""
    try:
        tried = subprocess.run([*unshare(), "true"], capture_output=True, text=True)
    except FileNotFoundError as error:
        return str(error)
    return tried.stderr.strip()


def unshare():
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--net", "--mount", *as_root]


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@dataclass(frozen=True)
class Ran:
    """Files and host names after a command.

    Attributes:
        names: Those that it looked up, or None where a network cannot be watched.
        home: Files in the user's home, which was empty.
        elsewhere: Files in the working directory and the one for temporary files.
    """

    names: list | None
    home: list
    elsewhere: list


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Function that runs a command with an empty home."""

    def run(command):
        folder = tmp_path_factory.mktemp("first-login")
        home, work, temporary = (folder / name for name in ("home", "work", "temporary"))
        for made in (home, work, temporary):
            made.mkdir()
        names = folder / "names"
        names.touch()
        unwatched = why_not_alone()
        if not unwatched:
            command = [*unshare(), sys.executable, str(TESTS / "alone.py"), str(names), *command]
        ours = {*environment.VARIABLES, *OF_TESTS}
        kept = {name: value for name, value in os.environ.items() if name not in ours}
        places = {"HOME": home, "TMPDIR": temporary, "MRMLLM_HOME": environment.home()}
        ran = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=work,
            env={**kept, **{name: str(place) for name, place in places.items()}},
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return Ran(
            names=None if unwatched else names.read_text().split(),
            home=files_below(home),
            elsewhere=files_below(work) + files_below(temporary),
        )

    return run


@pytest.fixture(scope="module")
def question(run):
    """Result of `mrmllm ask`, which includes detection."""
    command = [sys.executable, "-m", "mrmllm_ros.cli.main", "ask", "--image", IMAGE]
    return run([*command, "How many people are there?"])


@pytest.fixture(scope="module")
def node(run, tmp_path_factory):
    """Result of `mrmllm_node` until its first detections."""
    pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")
    logs = tmp_path_factory.mktemp("logs")
    return run([sys.executable, str(TESTS / "node_once.py"), IMAGE, str(logs)])


@pytest.fixture
def watched():
    if reason := why_not_alone():
        pytest.skip(f"a process cannot have a network of its own here: {reason}")


@pytest.mark.usefixtures("watched")
def test_the_watch_sees_a_lookup(run):
    lookup = "import socket\ntry: socket.getaddrinfo('somebody.example', 443)\nexcept OSError: 0"
    assert "somebody.example" in run([sys.executable, "-c", lookup]).names


@pytest.mark.usefixtures("watched")
def test_a_question_about_an_image_looks_no_name_up(question):
    assert question.names == []


def test_a_question_about_an_image_writes_nothing_outside_of_the_packages_home(question):
    assert question.home == []
    assert question.elsewhere == []


@pytest.mark.usefixtures("watched")
def test_a_node_looks_no_name_up(node):
    assert node.names == []


def test_a_node_writes_nothing_outside_of_the_packages_home_but_the_logs_of_ros(node):
    left = [name for name in node.home if not name.startswith(".ros/log/")]
    assert left == [".ros", ".ros/log"]
    assert node.elsewhere == []
