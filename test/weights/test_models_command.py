# SPDX-License-Identifier: Apache-2.0
import argparse
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mrmllm_ros.cli import models_command as models
from mrmllm_ros.cli.main import main
from mrmllm_ros.detection import detector
from mrmllm_ros.engine import answerer_loading
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


@pytest.fixture
def fakes(monkeypatch):
    """Replaces the models; records the settings and what is done, in order."""
    recorded = SimpleNamespace(done=[], knowledge=None)

    def export(labels, folder):
        recorded.done.append(("export", labels))
        return folder / "scores.npz"

    def load_label_fusion(settings, backbones):
        recorded.settings, recorded.backbones = settings, backbones
        return SimpleNamespace(
            knowledge=recorded.knowledge,
            labels=("cup", "bus"),
            wait=lambda: recorded.done.append("wait"),
        )

    recorded.knowledge = SimpleNamespace(export=export)
    monkeypatch.setattr(detector, "load_detector", lambda settings, compute: "detector")
    monkeypatch.setattr(
        answerer_loading, "load_backbones", lambda settings, compute, detector: f"with {detector}"
    )
    monkeypatch.setattr(answerer_loading, "load_label_fusion", load_label_fusion)
    return recorded


def test_labels_are_scored_for_a_file_with_another_answerer(fakes, tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("/**: {ros__parameters: {answerer: hf_vlm}}")
    assert run("labels", "--output", str(tmp_path / "out"), "--params-file", str(file)) == 0
    assert fakes.settings.uses_visual_labels


def test_labels_are_scored_and_written_to_a_folder(fakes, tmp_path, capsys):
    file = tmp_path / "params.yaml"
    file.write_text("/**: {ros__parameters: {evidence: {visual_labels: never}}}")
    options = ["--params-file", str(file), "--checkpoint", "there", "--device", "cpu"]
    assert run("labels", "--output", str(tmp_path / "out"), *options) == 0
    # Written when all labels are scored.
    assert fakes.done == ["wait", ("export", ("cup", "bus"))]
    assert fakes.settings.evidence.visual_labels == "always"
    assert fakes.settings.mrmllm.checkpoint == "there"
    assert fakes.settings.compute.device == "cpu"
    assert fakes.backbones == "with detector"
    assert f"saved {tmp_path / 'out' / 'scores.npz'}" in capsys.readouterr().err


def test_an_encoder_that_compares_regions_with_labels_has_nothing_to_score(
    fakes, tmp_path, capsys
):
    fakes.knowledge = None
    assert main(["models", "labels", "--output", str(tmp_path), "--device", "cpu"]) == 2
    assert "visual_encoder.model: efficientnet-lite0 compares regions" in capsys.readouterr().err
    assert fakes.done == []


def test_labels_need_a_folder_to_write_to(capsys):
    with pytest.raises(SystemExit):
        run("labels")
    assert "--output" in capsys.readouterr().err


def test_the_command_loads_no_heavy_library():
    code = (
        "import sys; import mrmllm_ros.cli.models_command; "
        "print([m for m in ('torch', 'transformers', 'onnx', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
