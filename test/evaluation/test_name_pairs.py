# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.evaluation.name_pairs import MRR, TOP_1, NamePairs, name_pairs

LABELS = ("dog", "cat", "animal", "toy", "forklift")
SENSES = {"dog": "d", "cat": "c", "animal": "a", "toy": "t"}
DISTANCES = {
    "beagle": {"b": 0, "d": 2, "a": 5},
    "police dog, shepherd": {"p": 0, "d": 1, "a": 4},
    "tench": {"f": 0, "a": 3},
    "rag doll": {"r": 0, "t": 1, "a": 1},
    "volcano": {"v": 0},
}


class WordNet:
    def main_sense(self, noun):
        return SENSES.get(noun)

    def distances(self, synset):
        return DISTANCES[synset]


def pairs_of(share_word, names=tuple(DISTANCES)):
    return name_pairs(LABELS, names, names, WordNet(), share_word)


def test_the_label_of_a_name_is_its_nearest_kind():
    pairs = pairs_of(share_word=False)
    assert pairs.names.tolist() == [0, 2]
    assert [LABELS[row] for row in pairs.labels] == ["dog", "animal"]
    assert len(pairs) == 2


def test_names_with_several_nearest_labels_are_counted_and_left_out():
    assert pairs_of(share_word=False).ambiguous == 1
    assert pairs_of(share_word=True).ambiguous == 0


def test_names_with_a_word_of_their_label_are_apart():
    pairs = pairs_of(share_word=True)
    assert pairs.names.tolist() == [1]
    assert pairs.labels.tolist() == [0]


def test_there_may_be_no_pairs():
    pairs = pairs_of(share_word=False, names=("volcano",))
    assert len(pairs) == 0
    assert pairs.ranks(np.zeros((5, 1)))[TOP_1].shape == (0,)


def test_labels_are_ranked_by_their_values():
    table = np.array([[0.9, 0.1, 0.0], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    ranks = NamePairs(np.array([0, 1, 2]), np.array([0, 2, 0]), 0).ranks(table)
    assert ranks[TOP_1].tolist() == [1, 0, 0]
    assert ranks[MRR] == pytest.approx([1, 1 / 2, 1 / 3])


def test_equal_values_are_in_random_order():
    table = np.array([[0.0, 0.5], [0.0, 0.9], [0.0, 0.5]])
    ranks = NamePairs(np.array([0, 1]), np.array([0, 0]), 0).ranks(table)
    assert ranks[TOP_1] == pytest.approx([1 / 3, 0])
    assert ranks[MRR] == pytest.approx([(1 + 1 / 2 + 1 / 3) / 3, (1 / 2 + 1 / 3) / 2])
