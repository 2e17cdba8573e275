# SPDX-License-Identifier: Apache-2.0
import re

import numpy as np
import pytest

from mrmllm_ros.datasets.questions import grammar, vocabulary


def test_coco_has_its_80_names_and_each_is_in_a_scene_of_training():
    shown = {noun.label for kind in vocabulary.TRAIN_KINDS for noun in kind.nouns}
    assert len(set(vocabulary.COCO)) == 80
    assert set(vocabulary.COCO) <= shown


def test_training_never_shows_held_out_nouns_or_kinds():
    assert not set(vocabulary.TRAIN_NOUNS) & set(vocabulary.HELD_OUT_NOUNS)
    names = [kind.name for kind in vocabulary.TRAIN_KINDS + vocabulary.EVALUATION_KINDS]
    assert len(set(names)) == len(names)
    assert len(vocabulary.EVALUATION_KINDS) == 4


def test_kinds_of_evaluation_hold_nouns_of_training_and_held_out_ones():
    for kind in vocabulary.EVALUATION_KINDS:
        seen = {noun.label for noun in kind.nouns if not noun.held_out}
        assert seen <= set(vocabulary.TRAIN_NOUNS)
        assert any(noun.held_out for noun in kind.nouns)


def test_states_and_kinds_are_of_known_nouns():
    known = set(vocabulary.vocabulary("evaluation"))
    assert set(vocabulary.STATES) | vocabulary.RAISED <= known
    assert frozenset().union(*vocabulary.OBJECT_KINDS.values()) <= known


def test_invented_labels_are_unknown_words_with_or_without_a_noun():
    rng = np.random.default_rng(0)
    names = [vocabulary.invented(rng, "oven mitt") for _ in range(200)]
    assert len(set(names)) > 190
    assert not set(names) & set(vocabulary.vocabulary("evaluation"))
    assert {name.count(" ") for name in names} == {0, 2}
    assert all(re.fullmatch(r"[a-z]{3,}( oven mitt)?", name) for name in names)


@pytest.mark.parametrize("noun", ["man", "dog", "truck"])
def test_invented_labels_have_no_noun_of_a_kind(noun):
    rng = np.random.default_rng(0)
    assert not any(noun in vocabulary.invented(rng, noun).split() for _ in range(50))


@pytest.mark.parametrize(
    ("label", "several"),
    [
        ("person", "people"),
        ("bus", "buses"),
        ("knife", "knives"),
        ("mouse", "mice"),
        ("sheep", "sheep"),
        ("skis", "skis"),
        ("scissors", "scissors"),
        ("man", "men"),
        ("woman", "women"),
        ("child", "children"),
        ("toothbrush", "toothbrushes"),
        ("bench", "benches"),
        ("baby", "babies"),
        ("toy", "toys"),
        ("wine glass", "wine glasses"),
        ("police officer", "police officers"),
        ("bar of soap", "bars of soap"),
    ],
)
def test_plurals_are_right(label, several):
    assert grammar.plural(label) == several


def test_articles_fit_the_word_behind_them():
    assert grammar.with_article("dog") == "a dog"
    assert grammar.with_article("umbrella") == "an umbrella"
    assert grammar.with_article("car", "orange") == "an orange car"
    assert grammar.with_article("umbrella", "red") == "a red umbrella"
    assert grammar.with_article("skis") == "some skis"
    assert grammar.with_article("vontel skis") == "some vontel skis"
    assert grammar.with_article("scissors") == "a pair of scissors"


def test_labels_that_can_name_the_same_object_overlap():
    assert vocabulary.overlap("person", "man")
    assert vocabulary.overlap("car", "taxi")
    assert vocabulary.overlap("hot dog", "dog")
    assert not vocabulary.overlap("car", "carrot")


def test_persons_are_recognized():
    assert vocabulary.is_person("fisherman")
    assert not vocabulary.is_person("snowman")


def test_confusable_labels_have_the_same_shape():
    assert "bus" in vocabulary.confusable("truck")
    assert "truck" not in vocabulary.confusable("truck")


def test_a_size_that_is_not_positive_is_rejected():
    with pytest.raises(ValueError, match="'lamp'"):
        vocabulary.Noun(label="lamp", weight=1, height=0, aspect=1, max_count=1)
