# SPDX-License-Identifier: Apache-2.0
import json
from contextlib import contextmanager
from typing import ClassVar

import numpy as np
import pytest

from mrmllm_ros.evaluation.ablations import DETECTOR_ALONE, FULL, UNTRAINED
from mrmllm_ros.evaluation.controls import MAJORITY
from mrmllm_ros.evaluation.report import evaluate, to_json, to_text
from mrmllm_ros.evaluation.statistics import Ratio
from mrmllm_ros.evaluation.suite_result import Suite, SuiteResult

RIGHT = {FULL: 9, "no query fusion": 6, DETECTOR_ALONE: 9, UNTRAINED: 0}


class Answers(Suite):
    name, title = "answers", "questions"
    variants = (FULL, "no query fusion", UNTRAINED)

    def __init__(self, asked):
        self.asked = asked

    def evaluate(self, answerer, variant, progress):
        self.asked.append((self.name, answerer, variant))
        right = np.full(20, RIGHT[variant])
        statistics = {"accuracy": Ratio(right, np.full(20, 10))}
        if variant == FULL:
            statistics["undefined"] = Ratio(np.zeros(20), np.zeros(20))
        return SuiteResult(20, statistics)


class Boxes(Answers):
    name, title = "boxes", "objects"
    variants = (FULL, DETECTOR_ALONE)
    part = "detections"
    headline: ClassVar = {"ap50": "accuracy", "none": "not measured"}
    group = "rooms"

    def controls(self, progress):
        progress("fitted")
        statistics = {"accuracy": Ratio(np.full(20, 2), np.full(20, 10))}
        return {MAJORITY: SuiteResult(20, statistics)}


class RoomAnswers(Answers):
    name, group = "room answers", "rooms"


class Variants:
    """Stands in for an ablation; says its own name where an answerer is asked for."""

    def variants(self, among):
        return tuple(among)

    @contextmanager
    def answerer(self, variant):
        yield f"answerer of {variant}"


@pytest.fixture
def asked():
    return []


@pytest.fixture
def run(asked):
    """Function that runs both suites."""

    def run(ablate, progress=lambda line: None):
        return evaluate([Answers(asked), Boxes(asked)], Variants(), ablate, progress)

    return run


def test_without_ablation_detections_are_compared_with_the_detector(run, asked):
    run(ablate=False)
    assert asked == [
        ("answers", "answerer of full", FULL),
        ("boxes", "answerer of full", FULL),
        ("boxes", f"answerer of {DETECTOR_ALONE}", DETECTOR_ALONE),
    ]


def test_an_ablation_runs_every_variant_of_each_suite(run, asked):
    lines = []
    run(True, lines.append)
    assert {(suite, variant) for suite, _, variant in asked} == {
        *(("answers", variant) for variant in Answers.variants),
        *(("boxes", variant) for variant in Boxes.variants),
    }
    assert "full: answers: started" in lines


def test_differences_are_taken_from_the_full_model(run):
    figures = json.loads(json.dumps(to_json(run(ablate=True)), allow_nan=False))
    assert figures["answers"]["scenes"] == 20
    variants = figures["answers"]["variants"]
    assert variants[FULL]["accuracy"] == {"value": 0.9, "low": 0.9, "high": 0.9}
    assert variants[FULL]["undefined"] == {"value": None, "low": None, "high": None}
    assert variants["no query fusion"]["accuracy"]["minus_full"] == {
        **{"value": -0.3, "low": -0.3, "high": -0.3},
        "excludes_zero": True,
    }
    same = figures["boxes"]["variants"][DETECTOR_ALONE]["accuracy"]["minus_full"]
    assert same["excludes_zero"] is False


def test_a_summary_has_the_main_figures_of_a_set_of_images(asked):
    suites = [Answers(asked), Boxes(asked), RoomAnswers(asked)]
    record = to_json(evaluate(suites, Variants(), False, lambda line: None))
    assert list(record) == ["answers", "boxes", "rooms", "room answers"]
    assert record["rooms"] == {
        "fused": {"ap50": 0.9, "ap50_interval": [0.9, 0.9]},
        "detector": {"ap50": 0.9, "ap50_interval": [0.9, 0.9]},
        "controls": {"majority": {"ap50": 0.2, "ap50_interval": [0.2, 0.2]}},
        "questions": {"accuracy": 0.9, "accuracy_interval": [0.9, 0.9]},
    }
    # A suite that is its own set has details and summary in one place.
    assert record["answers"]["questions"]["accuracy"] == 0.9
    assert set(record["answers"]) == {"title", "scenes", "variants", "questions"}


def test_controls_are_compared_with_the_full_model(run):
    lines = []
    [_, boxes] = run(False, lines.append)
    assert "boxes: fitted" in lines
    [control] = [each for each in boxes.variants if each.variant == MAJORITY]
    assert control.value("accuracy").value == 0.2
    assert control.figures[0].difference.value == pytest.approx(-0.7)
    assert control.value("none") is None
    assert boxes.variant("none") is None


def test_a_table_marks_significant_differences(run):
    text = to_text(run(ablate=True))
    assert text.splitlines()[0] == "answers: questions; 20 scenes, 95 % intervals"
    assert "    accuracy  0.900 [0.900, 0.900]\n" in text
    assert "    undefined" not in text
    assert text.splitlines()[-1] == "  1 figures are undefined: too few objects or questions"
    assert "0.600 [0.600, 0.600]  -0.300 [-0.300, -0.300] *" in text
    assert "0.900 [0.900, 0.900]  +0.000 [+0.000, +0.000]\n" in text
