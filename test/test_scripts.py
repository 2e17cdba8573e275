# SPDX-License-Identifier: Apache-2.0
"""The scripts' own logic; what they set up is stood in for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
STAND_INS = """
source "{scripts}/environment.sh"
prepare() {{ say "prepared"; }}
"""


@pytest.fixture
def run_tests(tmp_path):
    """Runs a copy of scripts/test that sets nothing up and prints what pytest would get."""
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
        # Reads a variable that is not set, as the real ones do.
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
def test_a_workspace_that_is_not_built_is_refused_before_anything_is_set_up(run_tests, arguments):
    ran = run_tests(*arguments)
    assert ran.returncode == 2
    assert "--workspace: " in ran.stderr
    assert "prepared" not in ran.stderr
