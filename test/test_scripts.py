# SPDX-License-Identifier: Apache-2.0
"""Logic of the scripts, without the setup."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
STAND_INS = """
source "{scripts}/environment.sh"
prepare() {{ say "prepared"; }}
"""


@pytest.fixture
def run_tests(tmp_path):
    """Run a copy of scripts/test without the setup that prints the arguments of pytest."""
    copy = tmp_path / "scripts"
    copy.mkdir()
    shutil.copy(SCRIPTS / "test", copy)
    (copy / "environment.sh").write_text(STAND_INS.format(scripts=SCRIPTS))
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, script in {"ruff": "exit 0", "python": 'echo "$WORKSPACES" "$@"'}.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)

    def run(*arguments):
        return subprocess.run(
            [copy / "test", *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "WORKSPACES": ""},
        )

    return run


@pytest.fixture
def make_workspace(tmp_path):
    def make(name):
        install = tmp_path / name / "install"
        install.mkdir(parents=True)
        # Reads an unset variable, as the real files do.
        script = f'export WORKSPACES="$WORKSPACES {name}$NOT_SET"\n'
        (install / "local_setup.bash").write_text(script)
        return tmp_path / name

    return make


def test_arguments_go_to_pytest(run_tests):
    ran = run_tests("-k", "a name")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["-m", "pytest", "-k", "a", "name"]


def test_the_packages_of_every_named_workspace_are_there(run_tests, make_workspace):
    first, second = make_workspace("first"), make_workspace("second")
    ran = run_tests("--workspace", first, "--workspace", second, "-x")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["first", "second", "-m", "pytest", "-x"]


@pytest.mark.parametrize("arguments", [["--workspace"], ["--workspace", "/nowhere"]])
def test_a_workspace_that_is_not_built_is_rejected_before_anything_is_set_up(run_tests, arguments):
    ran = run_tests(*arguments)
    assert ran.returncode == 2
    assert "--workspace: " in ran.stderr
    assert "prepared" not in ran.stderr


@pytest.fixture
def enter(tmp_path):
    """Print the package's home after sourcing the setup without HOME.

    The account is what `getent passwd` says of the user; without one it fails.
    """
    programs = tmp_path / "programs"
    programs.mkdir()

    def enter(account="", **variables):
        getent = programs / "getent"
        getent.write_text(f"#!/bin/sh\n[ -n '{account}' ] && echo '{account}' || exit 2\n")
        getent.chmod(0o755)
        left_out = ("HOME", "MRMLLM_HOME")
        kept = {name: value for name, value in os.environ.items() if name not in left_out}
        path = f"{programs}:{os.environ['PATH']}"
        script = f'source "{SCRIPTS}/environment.sh"; echo "$MRMLLM_HOME"'
        return subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            text=True,
            env={**kept, "PATH": path, **variables},
        )

    return enter


@pytest.mark.parametrize("home", [{}, {"HOME": ""}])
def test_without_home_the_scripts_use_the_users_account(enter, home):
    ran = enter("robot:x:1000:1000:Robot:/var/lib/robot:/bin/sh", **home)
    assert (ran.stdout, ran.stderr) == ("/var/lib/robot/.cache/mrmllm_ros\n", "")


def test_without_home_and_account_the_scripts_name_the_variable_to_set(enter):
    ran = enter()
    assert (ran.returncode, ran.stdout) == (2, "")
    [line] = ran.stderr.splitlines()
    assert line.startswith("[setup] error: no home folder: HOME is not set")
    assert "Set MRMLLM_HOME to a folder" in line


def test_without_home_and_account_the_scripts_take_the_variable(enter):
    ran = enter(MRMLLM_HOME="/data/mrmllm")
    assert (ran.stdout, ran.stderr) == ("/data/mrmllm\n", "")


def test_the_environment_of_the_scripts_keeps_libraries_from_contacting_anybody():
    printed = subprocess.run(
        [
            sys.executable,
            "-c",
            "from mrmllm_ros import environment as e; e.print_shell_commands()",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    script = 'unset YOLO_OFFLINE; ORT_DISABLE_TELEMETRY=0; eval "$1"; env'
    ran = subprocess.run(["bash", "-c", script, "", printed], capture_output=True, text=True)
    assert {"YOLO_OFFLINE=true", "ORT_DISABLE_TELEMETRY=0"} <= set(ran.stdout.splitlines())
