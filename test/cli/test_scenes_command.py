# SPDX-License-Identifier: Apache-2.0
from typing import get_args

import pytest

from mrmllm_ros.cli import scenes_command
from mrmllm_ros.cli.main import main
from mrmllm_ros.datasets.rendered import model_map, scene_folder, scene_sources


@pytest.fixture
def written(monkeypatch):
    """Calls of `write_scenes`, which is replaced."""
    calls = []

    def write(folder, settings, count, workers, progress):
        calls.append((folder, settings, count, workers))
        return count

    monkeypatch.setattr(scene_folder, "write_scenes", write)
    return calls


def run(*options):
    try:
        return main(["scenes", "render", *options])
    except SystemExit as error:
        return error.code


def test_choices_are_those_of_the_library():
    assert scenes_command.KINDS == scene_sources.KINDS == get_args(scene_sources.Kind)
    assert scenes_command.SPLITS == model_map.SPLITS


def test_options_become_settings(written, tmp_path, capsys):
    options = ["--count", "7", "--seed", "3", "--split", "tuning", "--frames", "2"]
    options += ["--size", "320x240", "--noise", "2", "--motion-blur", "0.5"]
    options += ["--distortion", "0.1", "--workers", "2", "--out", str(tmp_path / "out")]
    assert run(*options) == 0
    [(folder, settings, count, workers)] = written
    assert folder == tmp_path / "out"
    assert (count, workers) == (7, 2)
    assert (settings.kind, settings.split, settings.seed) == ("rooms", "tuning", 3)
    assert (settings.scene.resolution_wh, settings.scene.frames) == ((320, 240), 2)
    effects = settings.scene.effects
    assert (effects.noise, effects.motion_blur, effects.distortion) == (2, 0.5, 0.1)
    assert capsys.readouterr().out == f"7 images, {folder / 'annotations.json'}\n"


def test_defaults_are_rectified_vga_images(written, tmp_path):
    assert run("--out", str(tmp_path)) == 0
    [(_, settings, count, _)] = written
    assert count == 100
    assert settings == scene_sources.SourceSettings(
        kind="rooms", split="train", seed=0, scene=scene_sources.SceneSettings()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "640"], "--size '640': give width and height"),
        (["--size", "32x32"], "--size '32x32': give width and height, 64 to 4096"),
        (["--size", "640x480x3"], "give width and height"),
        (["--noise", "-1"], "noise is -1.0; it must be from 0 to 128"),
        (["--noise", "nan"], "noise is nan; it must be from 0 to 128"),
        (["--motion-blur", "2"], "motion blur is 2.0; it must be from 0 to 1"),
        (["--distortion", "0.5"], "distortion is 0.5; it must be from 0 to 0.4"),
        (["--kind", "context", "--frames", "2"], "--kind context ignores --frames"),
        (["--kind", "context", "--distortion", "0.1"], "--kind context ignores --distortion"),
        (["--kind", "cutouts", "--noise", "6"], "--kind cutouts ignores --noise; omit it"),
        (["--kind", "cutouts", "--motion-blur", "0"], "--kind cutouts ignores --motion-blur"),
        (["--kind", "cutouts", "--frames", "2"], "--kind cutouts ignores --frames"),
        (["--seed", "-1"], "-1 is negative"),
        (["--count", "0"], "0 is not a positive number"),
        (["--split", "test"], "invalid choice: 'test'"),
    ],
)
def test_a_wrong_value_is_named(written, tmp_path, capsys, options, message):
    assert run("--out", str(tmp_path), *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not written


def test_an_output_that_is_a_file_is_rejected(written, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run("--out", str(tmp_path / "file")) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
    assert not written
