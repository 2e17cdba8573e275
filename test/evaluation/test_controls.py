# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from rendered_fixtures import rendered

from mrmllm_ros.evaluation.controls import FEATURES, GEOMETRY, MAJORITY, SHUFFLED, Controls
from mrmllm_ros.evaluation.label_accuracy import label_statistics
from mrmllm_ros.evaluation.rendered_scenes import DetectedScenes, RenderedScenes
from mrmllm_ros.evaluation.suite_result import EvaluationError

LABELS = {"red": "cup", "green": "vase", "blue": "jar"}


def scenes(count, seed):
    """Images with one or two objects of random places, named by their color; mostly cups."""
    rng = np.random.default_rng(seed)
    images = []
    for number in range(count):
        color = ("green", "blue", "red")[number % 3]
        left, top = rng.integers(0, 200, 2).tolist()
        objects = [rendered(LABELS[color], (left, top, left + 90, top + 90), color)]
        if color != "red":
            objects.append(rendered("cup", (400, 300, 450, 350), "red"))
        images.append((objects, {"place": "office"}))
    return images


@pytest.fixture
def detected(write_scenes, color_backbones):
    """Function that detects scenes with a detector that names all objects alike."""
    backbones = color_backbones(red="bowl", green="bowl", blue="bowl")

    def detected(count, seed):
        folder = write_scenes(*scenes(count, seed), name=f"seed{seed}")
        return DetectedScenes(RenderedScenes.read(folder), backbones)

    return detected


def test_a_probe_on_features_tells_what_words_and_boxes_do_not(detected):
    evaluated = detected(30, 1)
    found = Controls(detected(60, 0)).found(evaluated.examples)
    assert list(found) == [MAJORITY, GEOMETRY, FEATURES, SHUFFLED]
    every = np.arange(30)[None]

    def accuracy(name):
        labels = ("cup", "jar", "vase")
        seen = found[name].one_label_each
        return label_statistics(evaluated.truth, seen, labels)[0](every)[0]

    assert accuracy(MAJORITY) == pytest.approx(1 / 3)
    assert accuracy(FEATURES) == 1
    assert accuracy(SHUFFLED) < 0.7
    assert accuracy(GEOMETRY) < 0.9
    boxes = [each.perception.candidates.xyxy for each in evaluated.examples]
    for control in found.values():
        for box, seen in zip(boxes, control.candidates, strict=True):
            assert sorted(box.tolist()) == sorted(seen.xyxy.tolist())


def test_controls_are_the_same_each_time(detected):
    evaluated, tuning = detected(6, 1), detected(30, 0)
    one, other = (Controls(tuning).found(evaluated.examples) for _ in range(2))
    for name in one:
        for first, second in zip(one[name].candidates, other[name].candidates, strict=True):
            assert first.labels == second.labels
            assert (first.scores == second.scores).all()


def test_a_detector_without_features_has_no_probe_on_them(detected):
    from dataclasses import replace

    evaluated = detected(3, 1)
    tuning = detected(12, 0)
    for each in (evaluated, tuning):
        without = [
            replace(x, perception=replace(x.perception, box_features=None)) for x in each.examples
        ]
        each.__dict__["examples"] = without
    assert list(Controls(tuning).found(evaluated.examples)) == [MAJORITY, GEOMETRY]


def test_controls_need_found_objects(write_scenes, color_backbones):
    folder = write_scenes(([rendered("cup", (10, 10, 90, 90))], {}))
    blind = DetectedScenes(RenderedScenes.read(folder), color_backbones(blue="cup"))
    with pytest.raises(EvaluationError, match="--probe-folder"):
        Controls(blind).found(blind.examples)
