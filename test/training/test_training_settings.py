# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from mrmllm_ros.settings import SettingsError
from mrmllm_ros.training.training_settings import SourceSettings, TrainingSettings

REPOSITORY = Path(__file__).parents[2]


def read(tmp_path, text):
    file = tmp_path / "training.yaml"
    file.write_text(text)
    return TrainingSettings.read(file)


@pytest.mark.parametrize(
    "file", sorted((REPOSITORY / "config" / "train").glob("*.yaml")), ids=lambda file: file.name
)
def test_every_configuration_that_ships_can_be_read(file):
    data = TrainingSettings.read(file).data
    assert data.synthetic.share + data.frames.share + data.coco.share > 0


def test_what_is_not_named_keeps_its_default(tmp_path):
    settings = read(tmp_path, "steps: 7\nloss: {score: 2}\n")
    assert settings.steps == 7
    assert settings.loss.score == 2.0
    assert settings.loss.language == TrainingSettings().loss.language


def test_an_empty_file_is_all_defaults(tmp_path):
    assert read(tmp_path, "") == TrainingSettings()


def test_sources_are_a_list_of_files_with_ranges(tmp_path):
    settings = read(tmp_path, "data: {frames: {sources: [{path: a.mp4, last: 9}, {path: b}]}}")
    assert settings.data.frames.sources == (
        SourceSettings(path="a.mp4", last=9),
        SourceSettings(path="b"),
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("step: 7", "unknown setting step"),
        ("loss: {langauge: 1}", "langauge"),
        (
            "loss: {language: 0, score: 0, label: 0, box: 0, attribute: 0, novelty: 0}",
            "every loss has weight 0",
        ),
        ("data: {frames: {sources: [{file: a.mp4}]}}", "unknown setting file"),
        ("data: {frames: {sources: a.mp4}}", "not a list"),
        ("data: {synthetic: 0.5}", "data: synthetic: 0.5 is not a group"),
        ("data: {coco: {share: 2}}", "data: coco: share: 2 is above"),
        ("data: {coco: {share: 0.5, images: a}}", "data: coco: annotations: name the COCO"),
        (
            "data: {coco: {missed_questions: 0.6, place_questions: 0.6}}",
            "data: coco: missed_questions and place_questions exceed 1 together",
        ),
        ("data: {questions: {share: 0.5}}", "data: questions: file: name the file"),
        ("loss:", "loss: None is not a group"),
        ("steps: 0", "below the minimum of 1"),
        ("steps: many", "not of type int"),
        ("precision: float16", "not one of auto, float32, bfloat16"),
        ("- steps", "not a group"),
        ("steps: [", "cannot read"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(text, named, tmp_path):
    with pytest.raises(SettingsError, match=named) as error:
        read(tmp_path, text)
    assert "training.yaml" in str(error.value)


def test_a_missing_file_is_named():
    with pytest.raises(SettingsError, match=r"/nowhere/training\.yaml"):
        TrainingSettings.read(Path("/nowhere/training.yaml"))
