# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rendered_fixtures import CROWD, rendered

from mrmllm_ros.evaluation.ablations import DETECTOR_ALONE, FULL
from mrmllm_ros.evaluation.context_suite import ContextLabelsSuite, ambiguous_objects
from mrmllm_ros.evaluation.controls import GEOMETRY, MAJORITY, Controls
from mrmllm_ros.evaluation.rendered_scenes import DetectedScenes, RenderedScenes
from mrmllm_ros.evaluation.rendered_suites import (
    IN_CONTEXT,
    RenderedDetectionsSuite,
    RenderedQuestionsSuite,
)
from mrmllm_ros.evaluation.suite_result import EvaluationError

RED, BLUE = (10, 10, 110, 110), (200, 200, 260, 260)


def silent(line):
    pass


def values(result):
    every = np.arange(result.scenes)[None]
    return {name: float(each(every)[0]) for name, each in result.statistics.items()}


@pytest.fixture
def detected(write_scenes, color_backbones):
    """Scenes with a cup and a toolbox, which the detector calls a suitcase."""
    objects = [rendered("cup", RED), rendered("toolbox", BLUE, "blue", occlusion=0.2)]
    places = ("kitchen", "office")
    folder = write_scenes(*[(objects, {"place": places[i % 2]}) for i in range(16)])
    backbones = color_backbones(red="cup", blue="suitcase")
    return DetectedScenes(RenderedScenes.read(folder), backbones)


def test_detections_are_measured_by_kind_of_label_group_and_label(detected):
    suite = RenderedDetectionsSuite("rendered", detected, None)
    result = suite.evaluate(None, DETECTOR_ALONE, silent)
    figures = values(result)
    assert result.scenes == 16
    assert figures["AP50"] == pytest.approx(0.5)
    assert figures["AP50, COCO names"] == figures["class-agnostic AP50"] == pytest.approx(1)
    assert figures["label accuracy, other names"] == 0
    for group in ("large", "medium", "occlusion below 0.1", "occlusion 0.1 to 0.5", "kitchen"):
        assert figures[f"objects with a box, {group}"] == 1
    # Eight objects of a label are too few.
    assert np.isnan(figures["AP50, kitchen"])


def test_the_detections_of_a_model_are_measured(detected, make_answerer):
    suite = RenderedDetectionsSuite("rendered", detected, None)
    result = suite.evaluate(make_answerer(detected.backbones), FULL, silent)
    assert set(values(result)) == set(values(suite.evaluate(None, DETECTOR_ALONE, silent)))
    assert len(result.found.candidates) == len(result.found.reported) == 16


def test_scenes_of_cut_outs_are_measured(write_scenes, color_backbones, make_answerer):
    cow = rendered("cow", RED)
    del cow["distance"]
    folder = write_scenes(*[([cow, CROWD], {"place": "outdoors"})] * 16)
    scenes = DetectedScenes(RenderedScenes.read(folder), color_backbones(red="cow", blue="sheep"))
    figures = values(
        RenderedDetectionsSuite("rendered", scenes, None).evaluate(None, DETECTOR_ALONE, silent)
    )
    assert figures["AP50"] == figures["AP50, outdoors"] == pytest.approx(1)
    assert "AP50 of sheep" not in figures
    suite = RenderedQuestionsSuite("rendered", scenes)
    figures = values(suite.evaluate(make_answerer(scenes.backbones), FULL, silent))
    assert "accuracy, place" not in figures
    asked = [item for questions in suite._questions for item in questions]
    assert not any("sheep" in item.question for item in asked)


def test_controls_stand_beside_the_models(detected):
    lines = []
    assert RenderedDetectionsSuite("rendered", detected, None).controls(lines.append) == {}
    assert "--probe-folder" in lines[0]
    suite = RenderedDetectionsSuite("rendered", detected, Controls(detected))
    results = suite.controls(silent)
    assert values(results[MAJORITY])["label accuracy"] == 0.5
    assert "AP50" not in results[MAJORITY].statistics
    assert values(results[GEOMETRY])["label accuracy"] == 1
    assert values(results[GEOMETRY])["AP50"] == pytest.approx(1)


def test_answers_are_measured_by_family_and_place(detected, make_answerer):
    suite = RenderedQuestionsSuite("rendered", detected)
    answerer = make_answerer(detected.backbones)
    figures = values(suite.evaluate(answerer, FULL, silent))
    assert {"accuracy", "accuracy, count", "accuracy, in kitchen", "accuracy, in office"} <= set(
        figures
    )
    assert 0 <= figures["accuracy"] <= 1


@pytest.fixture
def make_pairs(write_scenes, color_backbones):
    """Function that makes pairs of images in which the same shape is a cup and a vase."""

    def make(count, **names):
        images = []
        for pair in range(count):
            for label in ("cup", "vase"):
                shape = rendered(label, RED, ambiguous=1)
                images.append(([shape, rendered("desk", BLUE, "blue")], {"pair": pair}))
        folder = write_scenes(*images, name="pairs")
        return DetectedScenes(RenderedScenes.read(folder), color_backbones(**names))

    return make


def test_a_detector_without_context_is_right_in_half_of_the_images(make_pairs):
    suite = ContextLabelsSuite("context", make_pairs(20, red="cup"), None)
    result = suite.evaluate(None, DETECTOR_ALONE, silent)
    assert result.scenes == 20
    assert values(result) == {
        "label accuracy": 0.5,
        "right labels": 0.5,
        "objects with a box": 1,
        "pairs with both right": 0,
    }


def test_an_ambiguous_object_that_is_not_found_is_wrong(make_pairs):
    suite = ContextLabelsSuite("context", make_pairs(2, blue="cup"), None)
    figures = values(suite.evaluate(None, DETECTOR_ALONE, silent))
    assert figures["right labels"] == figures["objects with a box"] == 0
    assert np.isnan(figures["label accuracy"])


def test_pairs_that_are_not_complete_are_named(write_scenes):
    shape = rendered("cup", RED, ambiguous=1)
    for images in ([], [([shape], {"pair": 3})], [([shape], {})]):
        folder = write_scenes(*images, ([rendered("cup", RED)], {}))
        with pytest.raises(EvaluationError, match="--kind context"):
            ambiguous_objects(RenderedScenes.read(folder))
    folder = write_scenes(*[([rendered("cup", RED)], {"pair": 0})] * 2)
    with pytest.raises(EvaluationError, match="0 objects with"):
        ambiguous_objects(RenderedScenes.read(folder))


def test_the_place_as_context_stands_beside_the_models(detected):
    context = SimpleNamespace(
        make_knowledge=lambda text: SimpleNamespace(
            learn=lambda labels, stop: None,
            shifts=lambda labels: np.array([{"a kitchen": 1.0, "an office": 2.0}[text]]),
        )
    )
    fused = []

    def fuse(perception, names, shifts):
        fused.append(shifts.tolist())
        return perception, np.arange(len(perception.candidates))

    fusion = SimpleNamespace(
        context=context,
        labels=("cup",),
        fuse=fuse,
        classify=lambda images, perceptions: [None] * len(images),
    )
    suite = RenderedDetectionsSuite("rendered", replace(detected, label_fusion=fusion), None)
    results = suite.controls(silent)
    assert fused == [[1.0], [2.0]] * 8
    alone = values(suite.evaluate(None, DETECTOR_ALONE, silent))
    assert values(results[IN_CONTEXT]) == pytest.approx(alone, nan_ok=True)
