# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mrmllm_ros.evaluation import names_suite, suites
from mrmllm_ros.evaluation.ablations import FULL
from mrmllm_ros.evaluation.average_precision import TrueObjects
from mrmllm_ros.evaluation.name_pairs import NamePairs
from mrmllm_ros.evaluation.names_suite import (
    VOCABULARIES,
    LabelTablesSuite,
    NamedRegionsSuite,
)
from mrmllm_ros.evaluation.region_sources import CROP, MAP, SOURCES, RegionImages
from mrmllm_ros.evaluation.suites import SceneFolders
from mrmllm_ros.model.label_table import LabelTable

LABELS = ("dog", "cup", "person", "drone")
NAMES = ("beagle", "mug", "groom", "minivan")
# No name means a drone.
MEANING = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], bool)
IMAGE = np.zeros((480, 640, 3), np.uint8)


def silent(line):
    pass


def values(result):
    every = np.arange(result.scenes)[None]
    return {name: statistic(every)[0] for name, statistic in result.statistics.items()}


class Namer:
    """Names crops rightly with 0.7, and everything else `beagle`."""

    def classify(self, image, xyxy, rng):
        self.count = len(xyxy)
        beagle = np.tile([0.9, 0.1, 0.0, 0.0], (len(xyxy), 1))
        crops = np.array([[0.7, 0.3, 0, 0], [0.3, 0.7, 0, 0]])[: len(xyxy)]
        return {source: crops if source == CROP else beagle for source in SOURCES}


@pytest.fixture
def evaluate(monkeypatch):
    """Function that evaluates a namer on objects of each image."""
    monkeypatch.setattr(names_suite, "wordnet_meaning", lambda labels: MEANING)

    def evaluate(*truth, progress=silent, namer=None):
        regions = RegionImages(lambda: [IMAGE] * len(truth), truth, LABELS)
        suite = NamedRegionsSuite("here", regions, namer or Namer())
        return suite.evaluate(None, FULL, progress)

    return evaluate


@pytest.fixture
def truth(make_detections):
    """A large dog, a small cup, a person and a drone."""
    return TrueObjects(
        make_detections(
            ("dog", 1, (0, 0, 600, 400)),
            ("cup", 1, (10, 10, 30, 30)),
            ("person", 1, (0, 0, 300, 300)),
            ("drone", 1, (0, 0, 300, 300)),
        )
    )


def test_names_are_right_if_they_mean_the_label(evaluate, truth):
    figures = values(evaluate(truth))
    assert figures[f"all sizes: top name, {CROP}"] == 1
    assert figures[f"all sizes: top name, {MAP}"] == 0.5
    assert figures[f"all sizes: top name, {CROP} minus {MAP}"] == 0.5
    assert set(NamedRegionsSuite.headline.values()) <= set(figures)
    assert figures[f"above 20 %: top name, {MAP}"] == 1
    assert figures[f"below 1 %: top name, {MAP}"] == 0
    assert figures[f"below 1 %: top-5 mass, {CROP}"] == pytest.approx(0.7)
    assert figures[f"below 1 %: top-5 mass, {MAP}"] == pytest.approx(0.1)
    assert np.isnan(figures[f"5 to 20 %: top name, {CROP}"])


def test_controls_look_at_no_image(evaluate, truth):
    figures = values(evaluate(truth))
    assert figures["all sizes: top name, chance"] == 0.25
    assert figures["all sizes: top name, majority"] == 0.5
    assert figures["below 1 %: top name, majority"] == 1


def test_persons_and_labels_without_a_name_are_left_out(evaluate, truth):
    namer, lines = Namer(), []
    evaluate(truth, progress=lines.append, namer=namer)
    assert namer.count == 2
    assert lines[-1] == "all sizes: 2 objects"
    assert "below 1 %: 1 objects" in lines


def test_crowds_are_left_out(evaluate, truth, make_detections):
    crowd = TrueObjects(truth.objects, np.array([False, True, False, False]))
    assert values(evaluate(crowd))[f"all sizes: top name, {MAP}"] == 1


def test_without_objects_nothing_is_defined(evaluate, make_detections):
    result = evaluate(TrueObjects(make_detections()))
    assert result.scenes == 1
    assert np.isnan(list(values(result).values())).all()


class Knowledge:
    """The language model knows beagles, and nothing of mugs."""

    names = NAMES

    def __init__(self):
        self.learned = ()

    def learn(self, labels, stop):
        self.learned = labels

    def language_model_table(self, labels):
        table = np.zeros((len(labels), len(NAMES)), np.float32)
        table[labels.index("dog"), 0] = 1
        table[labels.index("bus"), 1] = 1
        return LabelTable(labels, table)

    def table(self, labels):
        return LabelTable(labels, self.language_model_table(labels).values / 2)


@pytest.fixture
def evaluate_tables(monkeypatch):
    """Function that evaluates tables of a vocabulary on a beagle and a mug."""

    def wordnet(labels, names, language_model):
        return LabelTable(labels, np.ones((len(labels), len(names)), np.float32))

    def pairs(labels, names, synsets, wordnet, share_word):
        assert share_word is False
        return NamePairs(np.array([0, 1]), np.array([labels.index("dog"), labels.index("cup")]), 3)

    monkeypatch.setattr(names_suite, "name_pairs", pairs)
    monkeypatch.setattr(names_suite, "locate", lambda name: None)
    monkeypatch.setattr(names_suite, "WordNet", lambda folder: None)
    monkeypatch.setattr(names_suite, "embedding_table", wordnet)
    monkeypatch.setattr(names_suite, "wordnet_table", wordnet)

    def evaluate(vocabulary, progress=silent):
        knowledge = Knowledge()
        suite = LabelTablesSuite(knowledge, None, vocabulary, share_word=False)
        result = suite.evaluate(None, FULL, progress)
        assert knowledge.learned == VOCABULARIES[vocabulary]
        return result

    return evaluate


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_tables_are_compared_on_the_same_names(evaluate_tables, vocabulary):
    lines = []
    result = evaluate_tables(vocabulary, lines.append)
    assert result.scenes == 2
    assert lines == ["2 names of 2 labels; without 3 names with several nearest labels"]
    figures, count = values(result), len(VOCABULARIES[vocabulary])
    assert figures["top-1, language model"] == 0.5
    assert figures["top-1, string match"] == pytest.approx(1 / count)
    assert figures["top-1, no table (chance)"] == pytest.approx(1 / count)
    assert figures["top-1, WordNet (source of the truth)"] == pytest.approx(1 / count)
    assert figures["top-1, language model minus shipped"] == 0
    assert set(LabelTablesSuite.headline.values()) <= set(figures)
    assert figures["MRR, string match minus shipped"] < 0


def test_the_vocabularies_contain_each_other():
    assert set(VOCABULARIES["COCO"]) < set(VOCABULARIES["COCO and other kinds"])
    assert len(VOCABULARIES["COCO"]) == 80


def test_without_names_of_regions_the_suite_is_skipped():
    lines = []
    for fusion in (None, SimpleNamespace(knowledge=None)):
        made = suites.Suites(None, progress=lines.append, label_fusion=fusion)
        assert made.of(["names"]) == []
    assert len(lines) == 2
    assert all(line.startswith("names: skipped") for line in lines)


def test_the_suites_are_those_of_the_photographs_and_of_rendered_scenes(monkeypatch):
    monkeypatch.setattr(suites.RenderedScenes, "read", lambda folder: folder)
    monkeypatch.setattr(suites.RegionImages, "of_rendered", lambda scenes: scenes)
    fusion = SimpleNamespace(knowledge=object(), classifier=SimpleNamespace(names=NAMES))
    backbones = SimpleNamespace(visual_encoder=None, language_model=None)
    made = suites.Suites(backbones, label_fusion=fusion)
    assert [each.name for each in made.of(["names"])] == [
        "names of regions, photographs",
        "names that share no word with their label, COCO",
        "names that share no word with their label, COCO and other kinds",
        "names that share a word with their label, COCO",
        "names that share a word with their label, COCO and other kinds",
    ]
    folders = SceneFolders(rendered=Path("there"))
    rendered = suites.Suites(backbones, label_fusion=fusion, folders=folders)
    assert rendered.of(["names"])[1].name == "names of regions, rendered"
