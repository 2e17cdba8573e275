# SPDX-License-Identifier: Apache-2.0
"""`mrmllm evaluate`: selection of suites, and errors."""

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from rendered_fixtures import rendered, write_scenes  # noqa: F401

from mrmllm_ros.cli import evaluate_command as evaluate
from mrmllm_ros.cli.main import main
from mrmllm_ros.evaluation import ablations as variants
from mrmllm_ros.evaluation import report, suites
from mrmllm_ros.evaluation.report import Figure, SuiteReport, VariantReport
from mrmllm_ros.evaluation.statistics import Interval
from mrmllm_ros.evaluation.suite_result import EvaluationError
from mrmllm_ros.weights import WeightsError

REPORT = SuiteReport(
    name="synthetic",
    title="questions",
    scenes=7,
    variants=(VariantReport("full", (Figure("accuracy", Interval(0.5, 0.25, 0.75)),)),),
    group="synthetic",
    headline={"accuracy": "accuracy"},
)

ABLATION = SimpleNamespace(label_fusion=object(), config=SimpleNamespace(doubtful_objects=True))


@pytest.fixture
def asked(monkeypatch):
    """Replaces models and suites; records the requests."""
    asked = {}

    class Suites:
        def __init__(self, backbones, scenes, frame_step, progress, **options):
            asked.update(options, scenes=scenes, frame_step=frame_step)

        def of(self, names):
            asked["names"] = names
            return list(names)

    class EvaluatedModels:
        backbones = SimpleNamespace(detector=SimpleNamespace(labels=("cup", "dog")))

    def subject(settings):
        asked["settings"] = settings
        return EvaluatedModels

    def run(chosen, ablation, ablate, progress):
        asked["suites"], asked["ablate"] = chosen, ablate
        progress("at work")
        return [REPORT]

    monkeypatch.setattr(suites, "Suites", Suites)
    monkeypatch.setattr(suites, "require_samples", lambda names, folders: None)
    monkeypatch.setattr(variants, "Ablation", lambda subject: ABLATION)
    monkeypatch.setattr(
        ABLATION, "set_vocabulary", lambda labels: asked.update(labels=labels), raising=False
    )
    monkeypatch.setattr(report, "evaluate", run)
    monkeypatch.setattr(evaluate, "_subject", subject)
    return asked


def test_the_command_names_the_suites_that_there_are():
    assert evaluate.SUITES == suites.NAMES


def test_everything_is_measured_by_default(asked, capsys):
    assert main(["evaluate"]) == 0
    # Suites of rendered scenes need their folders.
    rendered_suites = ("rendered", "context")
    assert asked["names"] == [name for name in evaluate.SUITES if name not in rendered_suites]
    assert asked["scenes"] == 100
    assert asked["ablate"] is False
    assert asked["label_fusion"] is ABLATION.label_fusion
    assert asked["doubtful"] is True
    printed = capsys.readouterr()
    assert "accuracy  0.500 [0.250, 0.750]" in printed.out
    assert "at work" in printed.err
    assert "rendered: skipped, because --scenes-folder is not given" in printed.err
    assert "context: skipped, because --context-folder is not given" in printed.err


def test_suites_of_rendered_scenes_run_on_their_folders(asked):
    folders = ["--scenes-folder", "rooms", "--probe-folder", "tuning"]
    assert main(["evaluate", "--suite", "all", *folders]) == 0
    assert asked["names"] == [name for name in evaluate.SUITES if name != "context"]
    assert asked["folders"].rendered == Path("rooms")
    assert asked["folders"].context is None
    assert asked["folders"].probe == Path("tuning")
    assert main(["evaluate", "--suite", "context", "--context-folder", "pairs"]) == 0
    assert asked["names"] == ["context"]


def test_a_suite_without_its_folder_names_the_command_that_makes_it(capsys):
    assert main(["evaluate", "--suite", "rendered"]) == 2
    error = capsys.readouterr().err
    assert "mrmllm scenes render --out FOLDER --split evaluation" in error
    assert "--scenes-folder" in error
    assert main(["evaluate", "--suite", "context"]) == 2
    assert "--kind context" in capsys.readouterr().err


def test_controls_are_not_fitted_on_evaluated_scenes(write_scenes):  # noqa: F811
    rooms = write_scenes(([rendered("cup", (10, 10, 90, 90))], {}), name="rooms")
    others = write_scenes(([rendered("cup", (20, 20, 90, 90))], {}), name="others")
    suites.SceneFolders(rendered=rooms, probe=others).require_other_probe()
    suites.SceneFolders(rendered=rooms).require_other_probe()
    with pytest.raises(EvaluationError, match="--probe-folder"):
        suites.SceneFolders(rendered=rooms, probe=rooms).require_other_probe()


def test_the_model_may_choose_from_the_labels_of_the_scenes(asked, write_scenes, capsys):  # noqa: F811
    rooms = write_scenes(([rendered("kettle", (10, 10, 90, 90))], {}))
    arguments = ["evaluate", "--suite", "rendered", "--scenes-folder", str(rooms)]
    assert main([*arguments, "--scene-labels"]) == 0
    assert asked.pop("labels") == ("cup", "dog", "kettle")
    assert main(arguments) == 0
    assert "labels" not in asked
    assert main(["evaluate", "--suite", "synthetic", "--scene-labels"]) == 2
    assert "--scenes-folder" in capsys.readouterr().err


def test_a_report_is_written_to_a_folder(asked, tmp_path, capsys):
    assert main(["evaluate", "--suite", "synthetic", "--report", str(tmp_path / "report")]) == 0
    assert "0.500 [0.250, 0.750]" in (tmp_path / "report" / "index.md").read_text()
    assert "wrote" in capsys.readouterr().err


def test_suites_and_models_can_be_chosen(asked, tmp_path, capsys):
    file = tmp_path / "params.yaml"
    file.write_text("/**: {ros__parameters: {detector: {score_threshold: 0.5}}}")
    arguments = ["--suite", "grounding", "--suite", "synthetic", "--scenes", "3", "--ablate"]
    models = ["--params-file", str(file), "--checkpoint", "there", "--device", "cpu"]
    assert main(["evaluate", *arguments, *models, "--json"]) == 0
    assert asked["names"] == ["synthetic", "grounding"]
    assert (asked["scenes"], asked["ablate"]) == (3, True)
    settings = asked["settings"]
    assert settings.mrmllm.checkpoint == "there"
    assert settings.compute.device == "cpu"
    assert settings.detector.score_threshold == 0.5
    record = json.loads(capsys.readouterr().out)
    assert record["checkpoint"] == "there"
    value = record["suites"]["synthetic"]["variants"]["full"]["accuracy"]
    assert value == {"value": 0.5, "low": 0.25, "high": 0.75}
    assert record["suites"]["synthetic"]["questions"]["accuracy"] == 0.5


@pytest.fixture
def questions(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 30, 3), np.uint8))
    line = {"image": "a.png", "question": "Is it dark?", "answer": "Yes."}
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps({**line, "truth": {"polarity": True}}))
    return file


def test_own_questions_are_measured_alone_or_beside_suites(asked, questions):
    assert main(["evaluate", "--questions", str(questions)]) == 0
    assert [suite.name for suite in asked["suites"]] == ["questions"]
    assert main(["evaluate", "--questions", str(questions), "--suite", "synthetic"]) == 0
    assert asked["suites"][0] == "synthetic"
    assert asked["suites"][1].name == "questions"


def test_questions_that_cannot_be_measured_are_counted_at_the_end(asked, questions, capsys):
    line = json.loads(questions.read_text())
    lines = [line, {**line, "image": "none.png"}]
    questions.write_text("\n".join(map(json.dumps, lines)))
    assert main(["evaluate", "--questions", str(questions)]) == 1
    printed = capsys.readouterr()
    assert "accuracy  0.500" in printed.out
    named, *_, counted = printed.err.splitlines()
    assert "line 2: there is no image" in named
    assert counted == f"mrmllm: error: 1 of 2 questions of {questions} cannot be used"


def test_own_questions_are_checked_before_models_are_loaded(asked, tmp_path, capsys):
    assert main(["evaluate", "--questions", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().err
    assert "settings" not in asked


def test_a_missing_video_is_named_with_the_command_that_fetches_it(asked, monkeypatch, capsys):
    def missing(names, folders):
        raise WeightsError("bikes is missing; run `mrmllm models fetch bikes`")

    monkeypatch.setattr(suites, "require_samples", missing)
    assert main(["evaluate", "--suite", "consistency"]) == 2
    assert "mrmllm models fetch bikes" in capsys.readouterr().err
    assert "settings" not in asked


def test_samples_are_asked_for_where_they_are_needed(monkeypatch, tmp_path):
    monkeypatch.setenv("MRMLLM_HOME", str(tmp_path))
    suites.require_samples(["synthetic", "hallucination", "grounding"])
    with pytest.raises(WeightsError, match="mrmllm models fetch bikes"):
        suites.require_samples(["consistency"])
    with pytest.raises(WeightsError, match=r"mrmllm models fetch (vtest|bikes)"):
        suites.require_samples(["labeled"])


def test_only_the_fusion_model_is_evaluated(asked, tmp_path, capsys):
    file = tmp_path / "params.yaml"
    file.write_text("/**: {ros__parameters: {answerer: hf_vlm}}")
    assert main(["evaluate", "--params-file", str(file)]) == 2
    assert "answerer" in capsys.readouterr().err


def test_a_checkpoint_that_is_not_there_is_an_error(capsys):
    assert main(["evaluate", "--suite", "synthetic", "--checkpoint", "/none/there"]) == 2
    assert "/none/there" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_the_number_of_scenes_is_checked(count, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--scenes", count])
    assert "--scenes" in capsys.readouterr().err
