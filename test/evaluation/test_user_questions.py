# SPDX-License-Identifier: Apache-2.0
"""A user's own questions are measured where they say what a right answer is."""

import json
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from making import detector_stub, make_perception

from mrmllm_ros.datasets.data_errors import DataError
from mrmllm_ros.evaluation.ablations import FULL
from mrmllm_ros.evaluation.user_questions import QuestionFileSuite, read_scorable

JUDGED = {
    "image": "a.png",
    "question": "Is there a zebra?",
    "answer": "No.",
    "family": "existence",
    "truth": {"polarity": False},
}
COUNTED = {**JUDGED, "question": "How many?", "family": "count", "truth": {"number": 2}}
NOT_JUDGED = {"image": "b.png", "question": "Is it raining?", "answer": "No, it is dry."}
CITED = {
    **JUDGED,
    "question": "Which one?",
    "answer": "That one <1>.",
    "boxes": [[0, 0, 2, 2]],
    "truth": {"cites_answer": True},
}


@pytest.fixture
def write(tmp_path):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.full((60, 80, 3), 128, np.uint8))

    def write(*lines):
        path = tmp_path / "questions.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)))
        return path

    return write


@pytest.fixture
def suite(tiny):
    """Function that makes the suite of a file, with a detector that finds some objects."""
    detector = detector_stub()
    detector.detect = lambda images: [make_perception(3) for _ in images]

    def suite(file):
        asked = read_scorable(file, lambda line: None)
        return QuestionFileSuite(asked, replace(tiny, detector=detector), lambda line: None)

    return suite


def values(result):
    every = np.arange(result.scenes)[None]
    return {name: statistic(every)[0] for name, statistic in result.statistics.items()}


def test_questions_without_a_truth_are_counted(write):
    lines = []
    read_scorable(write(JUDGED, NOT_JUDGED), lines.append)
    assert len(lines) == 1
    assert "skipped 1 of 2 questions" in lines[0]


def test_without_skipped_questions_there_is_no_progress_line(write):
    lines = []
    read_scorable(write(JUDGED, COUNTED), lines.append)
    assert lines == []


def test_a_file_without_truths_is_rejected_with_an_example(write):
    with pytest.raises(DataError, match=r'"truth".*"polarity": true'):
        read_scorable(write(NOT_JUDGED), print)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="none"):
        read_scorable(tmp_path / "none.jsonl", print)


def test_answers_are_judged_by_family(write, suite, monkeypatch):
    monkeypatch.setattr(
        "mrmllm_ros.evaluation.suite_result.answer_questions",
        lambda answerer, encoded, questions: ["No, three." for _ in questions],
    )
    monkeypatch.setattr(
        "mrmllm_ros.evaluation.suite_result.encode_examples", lambda answerer, examples: examples
    )
    answerer = SimpleNamespace(label_fusion=None)
    result = suite(write(JUDGED, COUNTED, NOT_JUDGED)).evaluate(answerer, FULL, lambda line: None)
    assert result.scenes == 1
    assert values(result) == {
        "accuracy": 0.5,
        "accuracy, count": 0.0,
        "accuracy, existence": 1.0,
        "share of perhaps": 0.0,
    }


def test_a_small_model_answers_them(write, suite, make_answerer):
    result = suite(write(JUDGED, COUNTED)).evaluate(make_answerer(), FULL, lambda line: None)
    accuracies = {"accuracy", "accuracy, count", "accuracy, existence"}
    assert set(result.statistics) == {*accuracies, "share of perhaps"}


def test_questions_about_one_image_form_one_scene(write, suite, make_answerer):
    lines = [{**JUDGED, "question": f"Is there a zebra by the {n}th tree?"} for n in range(20)]
    result = suite(write(*lines)).evaluate(make_answerer(), FULL, lambda line: None)
    assert result.scenes == 1


def test_a_file_without_usable_questions_is_rejected(write, suite, make_answerer):
    with pytest.raises(DataError, match="no question is left"):
        suite(write(CITED)).evaluate(make_answerer(), FULL, lambda line: None)
