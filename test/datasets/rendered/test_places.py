# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import yaml

from mrmllm_ros.datasets.rendered import places as module
from mrmllm_ros.datasets.rendered.model_map import PLACES, SPLITS
from mrmllm_ros.datasets.rendered.places import Item, places

# Roles that items with these names can have; other items have things of any kind.
ITEM_ROLES = {
    "window": {"opening"},
    "door": {"opening"},
    "chairs": {"seat", "floor"},
    "ceiling": {"ceiling", "surface"},
    "rug": {"rug"},
}


@pytest.fixture(scope="module")
def content():
    path = Path(module.__file__).with_name("places.yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))["places"]


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_the_same_places(split):
    found = places(split)
    assert [each.name for each in found] == [
        "kitchen",
        "office",
        "living room",
        "bedroom",
        "workshop",
    ]
    assert {each.name for each in found} <= set(PLACES)


@pytest.mark.parametrize("split", SPLITS)
def test_every_noun_has_a_model(split, label_map):
    nouns = {entry.noun for entry in label_map}
    missing = {
        (place.name, noun)
        for place in places(split)
        for item in place.items
        for noun in item.nouns
        if noun not in nouns
    }
    assert not missing


@pytest.mark.parametrize("split", SPLITS)
def test_every_place_has_tables_and_things_for_them(split, label_map):
    for place in places(split):
        nouns = {noun for item in place.items for noun in item.nouns}
        models = [entry for entry in label_map if entry.split == split and entry.noun in nouns]
        assert any(entry.carries for entry in models)
        assert sum(entry.role == "surface" for entry in models) >= 4


def test_roles_fit_the_items(content, label_map):
    for name, place in content.items():
        for key, item in [*place["items"].items(), *place["evaluation"].items()]:
            for noun in item.get("nouns", {}):
                roles = {entry.role for entry in label_map if entry.noun == noun}
                assert roles <= ITEM_ROLES.get(key, roles), (name, key, noun)


def test_ranges_are_in_order_and_cameras_below_the_ceiling():
    for place in (each for split in SPLITS for each in places(split)):
        for low, high in (*place.room, place.camera_height, place.camera_pitch):
            assert low <= high
        assert place.camera_height[1] < place.room[2][0]


def test_evaluation_differs_and_tuning_equals_training():
    assert places("tuning") == places("train")
    for trained, evaluated in zip(places("train"), places("evaluation"), strict=True):
        assert trained.items != evaluated.items
        assert trained.room == evaluated.room


class TestItem:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"nouns": {}}, "frequencies must be above 0"),
            ({"nouns": {"cup": 0}}, "frequencies must be above 0"),
            ({"count": (2, 1)}, "must be \\[smallest, largest\\]"),
            ({"count": (-1, 1)}, "must be \\[smallest, largest\\]"),
            ({"probability": 1.5}, "must be from 0 to 1"),
        ],
    )
    def test_a_wrong_value_is_named(self, changes, message):
        with pytest.raises(ValueError, match=message):
            Item(**{"nouns": {"cup": 1}, **changes})


@pytest.mark.parametrize(
    ("field", "value"),
    [("room", None), ("evaluation", {"sofa": {"count": [1, 1]}}), ("items", {"cup": {"size": 1}})],
)
def test_an_error_names_the_file_and_the_place(content, field, value):
    values = {**content["kitchen"], field: value}
    with pytest.raises(ValueError, match=r"places\.yaml: kitchen: "):
        module._place("kitchen", values, evaluation=True)
