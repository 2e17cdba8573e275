# SPDX-License-Identifier: Apache-2.0
import argparse
import json
import subprocess
import sys

import pytest

from mrmllm_ros.cli import models_command as models
from mrmllm_ros.cli.main import main
from mrmllm_ros.weights import store
from mrmllm_ros.weights.catalog import PROFILES


def run(*arguments):
    parser = argparse.ArgumentParser(prog="mrmllm")
    models.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["models", *arguments])
    return args.run(args)


@pytest.mark.usefixtures("tiny")
def test_fetch_reports_and_succeeds(home, capsys):
    assert run("fetch", "tiny") == 0
    assert f"complete, 0.0 MB in {home / 'tiny'}" in capsys.readouterr().err
    assert store.locate("tiny").is_dir()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], PROFILES["embedded"]),
        (["--profile", "samples"], PROFILES["samples"]),
        (["nanodet-g", "--profile", "samples"], ("nanodet-g", *PROFILES["samples"])),
        (["vtest", "--profile", "samples"], ("vtest",)),
    ],
)
def test_fetch_takes_names_and_a_profile(arguments, expected, monkeypatch):
    asked = []
    monkeypatch.setattr(store, "fetch", lambda names, progress: asked.extend(names))
    assert run("fetch", *arguments) == 0
    assert tuple(asked) == expected


def test_an_unknown_name_ends_the_command_with_one_line_and_status_2(capsys):
    assert main(["models", "fetch", "nope"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mrmllm: error: there is no asset 'nope'; known: nanodet-g, ")
    assert error.count("\n") == 1


@pytest.mark.usefixtures("tiny", "home")
def test_list_shows_name_kind_license_size_and_state(capsys):
    run("fetch", "tiny")
    assert run("list") == 0
    table = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert table["tiny"] == ["tiny", "detector", "MIT", "0.0", "MB", "ready"]
    assert table["nanodet-g"][-2:] == ["-", "missing"]


@pytest.mark.usefixtures("tiny")
def test_list_as_json_is_read_by_programs(home, capsys):
    run("fetch", "tiny")
    assert run("list", "--json") == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert entries["tiny"]["state"] == "ready"
    assert entries["tiny"]["path"] == str(home / "tiny")


def test_the_command_loads_no_heavy_library():
    code = (
        "import sys; import mrmllm_ros.cli.models_command; "
        "print([m for m in ('torch', 'transformers', 'onnx', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
