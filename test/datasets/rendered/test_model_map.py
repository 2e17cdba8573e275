# SPDX-License-Identifier: Apache-2.0
import re
from collections import Counter, defaultdict

import pytest
import yaml

from mrmllm_ros.datasets.data_errors import DataError
from mrmllm_ros.datasets.questions.vocabulary import COCO
from mrmllm_ros.datasets.rendered.model_map import (
    MODEL_MAP,
    PLACES,
    ROLES,
    SPLITS,
    ModelEntry,
    read_model_map,
)

ENTRY = "noun: cup, family: a cup, role: surface, places: [kitchen], split: train"

# Other spellings and words for names of COCO that occur indoors.
OTHER_SPELLINGS = {
    "armchair", "bike", "cellphone", "coffee cup", "fridge", "glass", "mobile phone", "motorbike",
    "mug", "plant", "remote control", "settee", "sofa", "stool", "television", "tumbler",
    "washbasin", "wineglass",
}  # fmt: skip


@pytest.fixture(scope="module")
def entries():
    return read_model_map()


@pytest.fixture
def write_map(tmp_path):
    def write(text):
        path = tmp_path / "map.yaml"
        path.write_text(text)
        return path

    return write


class TestTheModelMap:
    def test_no_family_has_two_splits_or_two_nouns(self, entries):
        uses = defaultdict(set)
        for entry in entries:
            uses[entry.family].add((entry.noun, entry.split))
        assert not {family: both for family, both in uses.items() if len(both) > 1}

    def test_every_noun_of_coco_is_spelled_as_in_coco(self, entries):
        def plain(noun):
            return re.sub(r"[^a-z]", "", noun.lower())

        names = {plain(name): name for name in COCO}
        nouns = {entry.noun for entry in entries}
        assert {noun for noun in nouns if names.get(plain(noun), noun) != noun} == set()
        assert nouns.isdisjoint(OTHER_SPELLINGS)

    def test_nouns_of_several_families_are_in_training_and_evaluation(self, entries):
        families, splits = defaultdict(set), defaultdict(set)
        for entry in entries:
            families[entry.noun].add(entry.family)
            splits[entry.noun].add(entry.split)
        several = {noun for noun, names in families.items() if len(names) > 1}
        assert several
        assert not {noun for noun in several if not {"train", "evaluation"} <= splits[noun]}

    def test_nouns_of_one_family_are_in_training_or_unseen(self, entries):
        splits = defaultdict(set)
        for entry in entries:
            splits[entry.noun].add(entry.split)
        single = [next(iter(names)) for names in splits.values() if len(names) == 1]
        shares = Counter(single)
        assert set(shares) == {"train", "evaluation"}
        assert 0.2 < shares["evaluation"] / len(single) < 0.35

    def test_the_splits_have_their_shares(self, entries):
        shares = Counter(entry.split for entry in entries)
        assert shares["train"] / len(entries) == pytest.approx(0.6, abs=0.05)
        assert shares["tuning"] / len(entries) == pytest.approx(0.12, abs=0.04)
        assert shares["evaluation"] / len(entries) == pytest.approx(0.28, abs=0.05)

    @pytest.mark.parametrize("split", SPLITS)
    @pytest.mark.parametrize("place", ["kitchen", "office", "living room", "bedroom", "workshop"])
    def test_every_split_furnishes_every_place(self, entries, place, split):
        models = [e for e in entries if e.split == split and place in e.places]
        roles = {entry.role for entry in models}
        assert roles >= {"floor", "wall_floor", "surface", "wall", "opening", "person_standing"}
        assert any(entry.carries for entry in models)

    def test_every_role_and_place_is_used(self, entries):
        assert {entry.role for entry in entries} == set(ROLES)
        assert {place for entry in entries for place in entry.places} == set(PLACES)

    def test_keys_are_sorted_and_apart_from_excluded_models(self, entries):
        keys = [entry.key for entry in entries]
        # A key that occurs twice is lost when the YAML is parsed.
        text = MODEL_MAP.read_text(encoding="utf-8")
        assert re.findall(r"^  ([^ ]+/[^ ]+): \{", text, re.MULTILINE) == sorted(keys)
        excluded = [key for group in yaml.safe_load(text)["excluded"] for key in group["models"]]
        assert len(set(excluded)) == len(excluded)
        assert set(excluded).isdisjoint(keys)


class TestReadModelMap:
    def test_an_entry_has_the_values_of_its_line(self, write_map):
        path = write_map(
            f"models:\n  Scopia/cup: {{{ENTRY}, carries: true}}\n  S/2: {{{ENTRY}}}\n"
        )
        cup, other = read_model_map(path)
        assert cup == ModelEntry(
            key="Scopia/cup",
            noun="cup",
            family="a cup",
            role="surface",
            places=("kitchen",),
            split="train",
            carries=True,
        )
        assert not other.carries

    def test_a_map_can_be_empty(self, write_map):
        assert read_model_map(write_map("models: {}")) == ()

    @pytest.mark.parametrize("text", ["", "[]", "models: []", "excluded: []"])
    def test_a_file_without_models_is_rejected(self, write_map, text):
        with pytest.raises(DataError, match=r"map\.yaml: there is no mapping `models`; add it"):
            read_model_map(write_map(text))

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(DataError, match=r"cannot read .*none\.yaml"):
            read_model_map(tmp_path / "none.yaml")

    def test_a_file_that_is_not_yaml_is_named(self, write_map):
        with pytest.raises(DataError, match=r"map\.yaml is not YAML: .*; correct"):
            read_model_map(write_map("models: {"))

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("surface", "shelf", "unknown role 'shelf'; use one of floor, "),
            ("[kitchen]", "[attic]", "unknown place 'attic'; use one of kitchen, "),
            ("[kitchen]", "[[]]", r"unknown place \[\]; use one of kitchen, "),
            ("[kitchen]", "[]", "places is empty; name at least one"),
            ("[kitchen]", "kitchen", "places is 'kitchen'; write a list"),
            ("split: train", "split: test", "unknown split 'test'; use one of train, "),
            ("noun: cup", "noun: ''", "noun is ''; write words"),
            ("noun: cup", "noun: ' cup'", "noun is ' cup'; write words"),
            ("noun: cup", "noun: 3", "noun is 3; write words"),
            ("family: a cup", "family:", "family is None; write words"),
            ("noun: cup, ", "", "no noun; add it"),
            ("noun: cup", "noun: cup, color: red", r"unknown fields \['color'\]; use noun, "),
            ("split: train", "split: train, carries: 1", "carries is 1; write true or false"),
        ],
    )
    def test_a_wrong_field_is_named_with_the_fix(self, write_map, old, new, message):
        path = write_map(f"models:\n  Scopia/cup: {{{ENTRY.replace(old, new)}}}\n")
        with pytest.raises(DataError, match=f"map.yaml: model 'Scopia/cup': {message}"):
            read_model_map(path)

    @pytest.mark.parametrize("values", ["cup", "[]", ""])
    def test_an_entry_that_is_not_a_mapping_is_rejected(self, write_map, values):
        with pytest.raises(DataError, match=r"model 'Scopia/cup': is .*; write a mapping"):
            read_model_map(write_map(f"models:\n  Scopia/cup: {values}\n"))

    @pytest.mark.parametrize("key", ["cup", "Scopia/", "a/b/c", "3"])
    def test_a_key_without_library_and_id_is_rejected(self, write_map, key):
        with pytest.raises(DataError, match="the key is wrong; write <library>/<id>"):
            read_model_map(write_map(f"models:\n  {key}: {{{ENTRY}}}\n"))

    def test_a_family_in_two_splits_is_rejected(self, write_map):
        other = ENTRY.replace("split: train", "split: evaluation")
        path = write_map(f"models:\n  Scopia/1: {{{ENTRY}}}\n  Scopia/2: {{{other}}}\n")
        with pytest.raises(DataError, match=r"'Scopia/2': family 'a cup' .*train \(Scopia/1\)"):
            read_model_map(path)
