# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import numpy as np
import pytest
from rendered_fixtures import rendered

from mrmllm_ros.compute import at_once
from mrmllm_ros.evaluation.ablations import FULL
from mrmllm_ros.evaluation.context_suite import BOTH_RIGHT
from mrmllm_ros.evaluation.pair_choice_suite import (
    CONTRADICTING,
    COOCCURRENCE,
    NO_CONTEXT,
    PAIR_CHOICE,
    Cooccurrence,
    PairChoiceSuite,
)
from mrmllm_ros.evaluation.rendered_scenes import DetectedScenes, RenderedScenes
from mrmllm_ros.model.context_shift import ContextShift
from mrmllm_ros.model.label_fusion import LabelFusion
from mrmllm_ros.model.label_table import LabelTable
from mrmllm_ros.model.region_classifier import RegionClassifier

RED, BLUE = (10, 10, 110, 110), (200, 200, 260, 260)
PLACES = {"cup": "office", "vase": "lounge"}


class FakeClassifier(RegionClassifier):
    """Names every region `mug`."""

    names = ("mug",)

    def classify(self, images, regions, step=at_once):
        return [np.ones((len(boxes), 1), np.float32) for boxes in regions]


class FakeContextKnowledge:
    """Knows that a cup is in the office and a vase in the lounge."""

    def __init__(self, context):
        self._context = context

    def missing(self, labels):
        return ()

    def learn(self, labels, stop):
        pass

    def shifts(self, labels):
        return np.array([2.0 if PLACES[x] in self._context else -2.0 for x in labels])


def knowledge(meaning):
    """Knowledge with the meaning of `mug` for each label."""
    return SimpleNamespace(
        names=("mug",),
        missing=lambda labels: (),
        learn=lambda labels, stop: None,
        table=lambda labels: LabelTable(
            tuple(labels), np.array([[meaning.get(x, 0)] for x in labels], np.float32)
        ),
    )


@pytest.fixture
def make_suite(write_scenes, color_backbones):
    """Function that makes a suite of pairs in which the same shape is a cup and a vase."""

    def make(pairs, annotated=None, color="red", meaning=None, score=0.4):
        images = []
        for pair in range(pairs):
            for label, place in PLACES.items():
                shape = rendered(label, RED, ambiguous=1)
                fields = {"pair": pair, "place": place, "context": f"the {place}"}
                images.append(([shape, rendered("desk", BLUE, "blue")], fields))
        backbones = color_backbones(**{color: "bear"})
        backbones.detector._score = score
        classifier = FakeClassifier()
        context = ContextShift(FakeContextKnowledge)
        fusion = LabelFusion(backbones.detector, classifier, knowledge(meaning or {}), 16, context)
        scenes = RenderedScenes.read(write_scenes(*images, name="pairs"))
        detected = DetectedScenes(scenes, backbones, fusion)
        return PairChoiceSuite("context", detected, fusion, annotated)

    return make


def values(result):
    every = np.arange(result.scenes)[None]
    return {name: float(each(every)[0]) for name, each in result.statistics.items()}


@pytest.mark.parametrize("color", ["red", "blue"])
def test_the_context_alone_decides_between_labels_of_the_same_pixels(color, make_suite):
    suite, lines = make_suite(3, color=color), []
    full = suite.evaluate(None, FULL, print)
    assert full.scenes == 3
    assert values(full) == {PAIR_CHOICE: 1, BOTH_RIGHT: 1}
    controls = suite.controls(lines.append)
    assert values(controls[NO_CONTEXT]) == {PAIR_CHOICE: 0.5, BOTH_RIGHT: 0}
    assert values(controls[CONTRADICTING]) == {PAIR_CHOICE: 0, BOTH_RIGHT: 0}
    assert COOCCURRENCE not in controls
    assert "--probe-folder" in lines[0]


def test_pixels_that_speak_for_one_label_are_right_in_one_image(make_suite):
    suite = make_suite(2, meaning={"cup": 0.9})
    controls = suite.controls(print)
    assert values(controls[NO_CONTEXT]) == {PAIR_CHOICE: 0.5, BOTH_RIGHT: 0}
    assert values(suite.evaluate(None, FULL, print)) == {PAIR_CHOICE: 0.5, BOTH_RIGHT: 0}


def test_a_context_does_not_decide_where_the_detector_is_sure(make_suite):
    suite = make_suite(2, score=0.9)
    assert values(suite.evaluate(None, FULL, print)) == {PAIR_CHOICE: 0.5, BOTH_RIGHT: 0}


def test_counts_of_labels_by_place_replace_the_language_model(make_suite, write_scenes):
    images = [([rendered("cup", RED)], {"place": "office"})] * 9
    images += [([rendered("desk", RED)], {"place": "lounge"})] * 9
    annotated = RenderedScenes.read(write_scenes(*images, name="annotated"))
    table = Cooccurrence(annotated)
    often, never = (table.shifts(place, ["cup", "vase"]) for place in ("office", "lounge"))
    np.testing.assert_allclose(often, [np.log(10 / 5.5), 0])
    np.testing.assert_allclose(never, [np.log(1 / 5.5), 0])
    suite = make_suite(2, annotated)
    assert values(suite.controls(print)[COOCCURRENCE]) == {PAIR_CHOICE: 1, BOTH_RIGHT: 1}
