# SPDX-License-Identifier: Apache-2.0
import logging
from threading import Event

import numpy as np
import pytest

from mrmllm_ros.model import label_knowledge
from mrmllm_ros.model.label_knowledge import LabelKnowledge
from mrmllm_ros.model.label_scorer import LabelScorer
from mrmllm_ros.model.label_table import OTHER_KINDS, ContinuationScores
from mrmllm_ros.model.language_model import LanguageModel

NAMES = ("Windsor tie", "minivan", "hen")
LABELS = ("tie", "car")
NEVER = Event()

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def make(tiny_language_model):
    """Function that makes knowledge of some names, with a small language model."""

    def make(names=NAMES, load=lambda: tiny_language_model):
        return LabelKnowledge(tiny_language_model, names, load)

    return make


def no_language_model():
    raise AssertionError("the language model is not needed")


def values_of(knowledge, labels=LABELS):
    return knowledge.table(labels).values


def test_before_learning_a_table_has_string_matches_alone(make):
    knowledge = make()
    assert knowledge.names == NAMES
    assert knowledge.missing(LABELS) == (*LABELS, *OTHER_KINDS)
    assert values_of(knowledge).tolist() == [[1, 0, 0], [0, 0, 0]]


def test_learned_scores_are_those_of_the_scorer(make, tiny_language_model):
    knowledge = make()
    knowledge.learn(LABELS, NEVER)
    assert knowledge.missing(LABELS) == ()
    kinds = (*LABELS, *OTHER_KINDS)
    [scores] = LabelScorer(tiny_language_model, kinds, LabelKnowledge.examples).scores(NAMES)
    expected = knowledge.table(LABELS).of_scores(LABELS, ContinuationScores(NAMES, kinds, scores))
    np.testing.assert_allclose(values_of(knowledge), expected.values, rtol=1e-4)
    assert (values_of(knowledge) > 0).all()


def test_three_synonyms_of_a_name_are_enough(make):
    knowledge = make(("cornet, horn, trumpet, trump", "cornet, horn, trumpet"))
    knowledge.learn(("tie",), NEVER)
    many, few = values_of(knowledge, ("tie",)).T
    np.testing.assert_allclose(many, few, atol=1e-4)


def test_the_table_of_the_language_model_has_no_string_matches(make):
    knowledge = make()
    knowledge.learn(LABELS, NEVER)
    alone = knowledge.language_model_table(LABELS)
    assert alone.labels == LABELS
    matches = np.array([[1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(values_of(knowledge), (alone.values + matches) / 2, rtol=1e-5)


def test_learned_scores_are_read_from_the_cache_without_a_language_model(make, cache):
    first = make()
    first.learn(LABELS, NEVER)
    [file] = cache.iterdir()
    assert file.suffix == ".npz"
    second = make(load=no_language_model)
    second.learn(LABELS, NEVER)
    np.testing.assert_allclose(values_of(second), values_of(first), atol=0.01)


def test_more_labels_are_added_to_the_cache(make):
    first = make()
    first.learn(LABELS, NEVER)
    first.learn(("car", "bird"), NEVER)
    second = make(load=no_language_model)
    assert second.missing(("bird", *LABELS)) == ()
    assert second.missing(("dog",)) == ("dog",)
    np.testing.assert_allclose(
        values_of(second, ("bird",)), values_of(first, ("bird",)), atol=0.01
    )


def test_a_stopped_computation_keeps_nothing(make, cache):
    knowledge, stop = make(), Event()
    stop.set()
    knowledge.learn(LABELS, stop)
    assert knowledge.missing(LABELS) == (*LABELS, *OTHER_KINDS)
    assert not cache.exists()


def test_a_computation_stops_within_a_batch(make, cache, monkeypatch):
    knowledge, stop, batches = make(), Event(), []

    def scores(scorer, names):
        for _ in range(5):
            batches.append(names)
            stop.set()
            yield np.zeros((2 + len(OTHER_KINDS), 1), np.float32)

    monkeypatch.setattr(LabelScorer, "scores", scores)
    knowledge.learn(LABELS, stop)
    assert len(batches) == 1
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["truncated", "no archive", "other shapes"])
def test_a_damaged_cache_is_ignored_with_a_warning_and_written_again(damage, make, cache, caplog):
    knowledge = make()
    knowledge.learn(LABELS, NEVER)
    [file] = cache.iterdir()
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-30])
    elif damage == "no archive":
        file.write_text("nothing")
    else:
        names = np.array(NAMES)
        np.savez(file, names=names, kinds=np.array(["car"]), values=np.zeros((2, 3)))
    damaged = make()
    assert f"{file} cannot be read and is ignored" in caplog.text
    assert damaged.missing(LABELS) == (*LABELS, *OTHER_KINDS)
    damaged.learn(LABELS, NEVER)
    np.testing.assert_allclose(values_of(damaged), values_of(knowledge), rtol=1e-4)
    assert make(load=no_language_model).missing(LABELS) == ()


def test_scores_stay_in_memory_where_the_cache_cannot_be_written(make, cache, caplog):
    cache.parent.mkdir()
    cache.write_text("in the way of the folder")
    knowledge = make()
    knowledge.learn(LABELS, NEVER)
    assert f"the scores of labels cannot be kept in {cache}" in caplog.text
    assert knowledge.missing(LABELS) == ()


def test_learning_is_logged_with_figures(make, caplog):
    with caplog.at_level(logging.INFO):
        make().learn(LABELS, NEVER)
    assert f"tiny scored {2 + len(OTHER_KINDS)} labels for 3 names in " in caplog.text


def test_what_scores_depend_on_has_a_file_of_its_own(make, cache, tiny_language_model):
    make().learn(LABELS, NEVER)
    make(("hen",)).learn(LABELS, NEVER)
    make(NAMES[::-1]).learn(LABELS, NEVER)
    revised = LanguageModel(tiny_language_model.model, tiny_language_model.tokenizer, "2")
    LabelKnowledge(revised, NAMES, lambda: revised).learn(LABELS, NEVER)
    assert len(list(cache.iterdir())) == 4
    assert make(load=no_language_model).missing(LABELS) == ()


def test_scores_of_the_package_are_read_before_the_cache(make, cache, tmp_path, monkeypatch):
    shipped = make()
    shipped.learn(LABELS, NEVER)
    shipped.export(LABELS, tmp_path / "shipped")
    monkeypatch.setattr(label_knowledge, "SHIPPED", tmp_path / "shipped")
    [file] = cache.iterdir()
    kinds = ("car", "dog")
    ContinuationScores(NAMES, kinds, np.zeros((2, 3), np.float32)).write(file)
    knowledge = make(load=no_language_model)
    assert knowledge.missing(("dog", *LABELS)) == ()
    np.testing.assert_allclose(values_of(knowledge), values_of(shipped), atol=0.01)


def test_exported_scores_are_those_of_the_labels_and_other_kinds(make, tmp_path):
    knowledge = make()
    knowledge.learn((*LABELS, "dog"), NEVER)
    path = knowledge.export(("car", "animal"), tmp_path / "new" / "folder")
    assert path.parent == tmp_path / "new" / "folder"
    read = ContinuationScores.read(path)
    assert read.names == NAMES
    assert read.kinds == ("car", *(("animal", *(k for k in OTHER_KINDS if k != "animal"))))
