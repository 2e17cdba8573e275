# SPDX-License-Identifier: Apache-2.0
"""Nouns of WordNet, on a small database in its format."""

import pytest

from mrmllm_ros.evaluation.wordnet import WordNet

# See `man wndb`: offset, file, type, words in hexadecimal, words, pointers, gloss.
DATA = """\
  1 This line stands for the license.
00000001 03 n 01 animal 0 000 | a living thing
00000002 05 n 02 dog 0 domestic_dog 0 002 @ 00000001 n 0000 ~ 00000003 n 0000 | barks
00000003 05 n 01 poodle 0 001 @ 00000002 n 0000 | a curly dog
00000004 18 n 01 Rex 0 001 @i 00000002 n 0000 | a dog with a name
00000005 13 n 02 hot_dog 0 dog 1 000 | a sausage in a bun
"""
INDEX = """\
  1 This line stands for the license.
animal n 1 1 ~ 1 0 00000001
dog n 2 2 @ ~ 2 1 00000002 00000005
hot_dog n 1 0 1 0 00000005
poodle n 1 1 @ 1 0 00000003
"""


@pytest.fixture
def wordnet(tmp_path):
    (tmp_path / "data.noun").write_text(DATA)
    (tmp_path / "index.noun").write_text(INDEX)
    return WordNet(tmp_path)


def test_a_noun_has_all_its_senses(wordnet):
    assert wordnet.senses("dog") == {"00000002", "00000005"}
    assert wordnet.senses("Hot dog") == {"00000005"}


def test_an_unknown_noun_has_no_senses(wordnet):
    assert wordnet.senses("forklift") == frozenset()
    assert wordnet.main_sense("forklift") is None


def test_the_main_sense_of_a_noun_is_its_first(wordnet):
    assert wordnet.main_sense("dog") == "00000002"
    assert wordnet.main_sense("Hot dog") == "00000005"


def test_a_synset_belongs_to_itself_and_to_all_kinds_above_it(wordnet):
    assert wordnet.kinds("00000003") == {"00000003", "00000002", "00000001"}
    assert wordnet.kinds("00000005") == {"00000005"}


def test_the_distance_to_a_kind_is_the_number_of_steps(wordnet):
    assert wordnet.distances("00000003") == {"00000003": 0, "00000002": 1, "00000001": 2}
    assert wordnet.distances("00000005") == {"00000005": 0}


def test_an_instance_belongs_to_its_kind(wordnet):
    assert "00000002" in wordnet.kinds("00000004")
