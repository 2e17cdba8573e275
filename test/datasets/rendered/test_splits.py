# SPDX-License-Identifier: Apache-2.0
"""Nothing that evaluation shows stands in training or tuning."""

from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from mrmllm_ros.datasets.questions.vocabulary import kinds
from mrmllm_ros.datasets.rendered import surfaces as module
from mrmllm_ros.datasets.rendered.context_scenes import shapes
from mrmllm_ros.datasets.rendered.model_map import SPLITS
from mrmllm_ros.datasets.rendered.surfaces import surfaces
from mrmllm_ros.weights.catalog import PROFILES

FOLDER = Path(module.__file__).parent
TRAINING = ("train", "tuning")


def shared(uses):
    """Things of evaluation that are in training or tuning, from (thing, split) pairs."""
    splits = defaultdict(set)
    for thing, split in uses:
        splits[thing].add(split)
    return {each for each, of in splits.items() if "evaluation" in of and of & set(TRAINING)}


def test_families_and_models(label_map):
    assert not shared((entry.family, entry.split) for entry in label_map)
    assert not shared((entry.key, entry.split) for entry in label_map)


@pytest.mark.parametrize("kind", ["floors", "walls"])
def test_surfaces(kind):
    found = [(each, split) for split in SPLITS for each in surfaces(kind, split)]
    assert not shared((each.name, split) for each, split in found)
    look = [((each.pattern, str(each.colors), str(each.size)), split) for each, split in found]
    assert not shared(look)


def test_no_surface_is_lost_as_a_second_key():
    text = (FOLDER / "surfaces.yaml").read_text(encoding="utf-8")
    found = [each.name for k in ("floors", "walls") for s in SPLITS for each in surfaces(k, s)]
    assert len(found) == text.count("{split: ")


def test_labels_of_context_at_their_places():
    labels = [
        ((label, place), split)
        for split in SPLITS
        for shape in shapes(split)
        for place, label in shape.labels.items()
    ]
    assert not shared(labels)


def test_places_of_the_shapes_of_context():
    uses = [
        ((shape.name, place), split)
        for split in SPLITS
        for shape in shapes(split)
        for place in shape.labels
    ]
    assert not shared(uses)


def test_photographs_of_cutouts_and_backdrops():
    content = yaml.safe_load((FOLDER / "cutouts.yaml").read_text(encoding="utf-8"))
    families = [
        (name, values)
        for of_noun in content["cutouts"].values()
        for name, values in of_noun.items()
    ]
    assert families
    assert not shared((name, values["split"]) for name, values in families)
    assert not shared((file, v["split"]) for _, v in families for file in v["files"])
    backdrops = [
        ((asset, file), values["split"])
        for asset, files in content["backdrops"].items()
        for file, values in files.items()
    ]
    assert backdrops
    assert not shared(backdrops)


def test_labels_that_the_vocabulary_keeps_for_evaluation(label_map):
    kept = {noun.label for kind in kinds("evaluation") for noun in kind.nouns if noun.held_out}
    content = yaml.safe_load((FOLDER / "cutouts.yaml").read_text(encoding="utf-8"))
    cutouts = {
        noun
        for noun, families in content["cutouts"].items()
        if {values["split"] for values in families.values()} & set(TRAINING)
    }
    models = {entry.noun for entry in label_map if entry.split in TRAINING}
    assert kept
    assert not kept & (models | cutouts)


def test_photographs_for_evaluation_are_in_no_training_data():
    measured = {name for name in PROFILES["evaluation"] if name.startswith("photographs-")}
    assert measured
    assert not measured & {*PROFILES["training"], *PROFILES["scenes"]}
