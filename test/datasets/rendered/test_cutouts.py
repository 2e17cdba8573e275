# SPDX-License-Identifier: Apache-2.0
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from mrmllm_ros.datasets.data_errors import DataError
from mrmllm_ros.datasets.rendered.cutout_material import Material, load_material
from mrmllm_ros.datasets.rendered.cutouts import MAX_OBJECTS, compose
from mrmllm_ros.weights.catalog import CATALOG, WeightsError

SPLITS = ("train", "tuning", "evaluation")
SEEDS = range(12)
# Colors of the drawn cut-outs in BGR order.
COLORS = {"apple": (40, 40, 220), "cup": (220, 40, 40), "kite": (40, 220, 40)}


def entries():
    """Catalog of drawn cut-outs and backdrops."""
    return {
        "cutouts": {
            "apple": {"disc": {"split": "train", "size": 0.5, "files": ["apple.png"]}},
            "cup": {"square": {"split": "train", "size": 0.4, "files": ["cup.png"]}},
            "kite": {
                "diamond": {
                    "split": "train",
                    "size": 1.0,
                    "places": ["air"],
                    "files": ["kite.png"],
                }
            },
        },
        "backdrops": {
            "walls": {"wall.png": {"split": "train", "kind": "wall"}},
            "fields": {"field.png": {"split": "evaluation", "kind": "land", "ground": 0.5}},
        },
    }


@pytest.fixture(scope="module")
def assets(tmp_path_factory):
    """Folder with a folder of drawn pictures for each asset."""
    folder = tmp_path_factory.mktemp("assets")
    for name in ("stamps", "walls", "fields"):
        (folder / name).mkdir()
    corners = {
        "apple": [
            (60, 10),
            (95, 25),
            (110, 60),
            (95, 95),
            (60, 110),
            (25, 95),
            (10, 60),
            (25, 25),
        ],
        "cup": [(20, 15), (100, 15), (100, 105), (20, 105)],
        "kite": [(60, 5), (110, 60), (60, 115), (10, 60)],
    }
    for noun, color in COLORS.items():
        picture = np.zeros((120, 120, 4), np.uint8)
        cv2.fillPoly(picture, [np.array(corners[noun])], (*color, 255))
        cv2.imwrite(str(folder / "stamps" / f"{noun}.png"), picture)
    cv2.imwrite(str(folder / "walls/wall.png"), np.full((400, 600, 3), 128, np.uint8))
    field = np.full((400, 600, 3), 200, np.uint8)
    field[200:] = 60
    cv2.imwrite(str(folder / "fields/field.png"), field)
    return folder


@pytest.fixture(scope="module")
def load(assets):
    """Loads the material of a catalog."""

    def load_entries(catalog, split="train"):
        path = assets / "cutouts.yaml"
        path.write_text(yaml.safe_dump(catalog))
        return load_material(split, path, assets.joinpath)

    return load_entries


@pytest.fixture(scope="module")
def scenes(load):
    material = load(entries())
    return [compose(material, np.random.default_rng(seed)) for seed in SEEDS]


@pytest.fixture(scope="module")
def landscapes(load):
    """Scenes of the drawn field."""
    catalog = entries()
    for families in catalog["cutouts"].values():
        for family in families.values():
            family["split"] = "evaluation"
    material = load(catalog, "evaluation")
    return [compose(material, np.random.default_rng(seed)) for seed in SEEDS]


def masks(scene):
    return [(one.noun, one.visible.tobytes(), one.whole.tobytes()) for one in scene.objects]


def test_a_seed_gives_one_scene_and_another_seed_another_one(load, scenes):
    again = compose(load(entries()), np.random.default_rng(SEEDS[0]))
    assert np.array_equal(again.image, scenes[0].image)
    assert masks(again) == masks(scenes[0])
    assert not np.array_equal(scenes[1].image, scenes[0].image)


def test_a_scene_has_the_requested_size_and_at_least_one_object(load):
    scene = compose(load(entries()), np.random.default_rng(0), resolution_wh=(320, 200))
    assert scene.image.shape == (200, 320, 3)
    assert scene.image.dtype == np.uint8
    assert 1 <= len(scene.objects) <= MAX_OBJECTS
    for one in scene.objects:
        assert one.whole.shape == one.visible.shape == (200, 320)
        assert one.whole.dtype == one.visible.dtype == bool


def test_later_objects_cover_earlier_ones(scenes):
    hidden = 0
    for scene in scenes:
        uncovered = np.ones(scene.image.shape[:2], bool)
        for one in reversed(scene.objects):
            assert np.array_equal(one.visible, one.whole & uncovered)
            uncovered &= ~one.whole
            hidden += (one.whole & ~one.visible).any()
    assert hidden > 0


def test_no_object_is_hidden_almost_completely(scenes):
    for scene in scenes:
        for one in scene.objects:
            assert one.visible.sum() >= 0.1 * one.whole.sum() > 0


def test_a_visible_mask_has_the_pixels_of_its_object(scenes):
    for scene in scenes:
        for one in scene.objects:
            inner = cv2.erode(one.visible.astype(np.uint8), np.ones((5, 5))) > 0
            if inner.any():
                mean = scene.image[inner].mean(0)
                assert mean.argmax() == np.argmax(COLORS[one.noun])
                assert mean.max() > mean.min() + 60


def test_only_objects_at_an_edge_are_truncated(scenes):
    truncated = 0
    for scene in scenes:
        for one in scene.objects:
            rows, columns = np.nonzero(one.whole)
            height, width = one.whole.shape
            at_edge = (
                min(*rows, *columns) == 0 or rows.max() == height - 1 or columns.max() == width - 1
            )
            assert 0 <= one.truncation <= 0.6
            assert at_edge or one.truncation == 0
            truncated += one.truncation > 0
    assert truncated > 0


def test_objects_stand_below_the_ground_line_or_fly_above_it(landscapes):
    nouns = Counter()
    for scene in landscapes:
        brightness = np.median(scene.image.mean(2), axis=1)
        ground = np.argmin(np.diff(brightness))
        for one in scene.objects:
            nouns[one.noun] += 1
            bottom = np.nonzero(one.whole.any(1))[0].max()
            if one.noun == "kite":
                assert bottom <= ground + 3
            else:
                assert bottom >= ground - 3
    assert set(nouns) == {"apple", "cup", "kite"}


def test_the_lower_part_of_an_object_in_water_is_submerged(load):
    catalog = entries()
    catalog["cutouts"]["cup"]["square"]["places"] = ["water"]
    catalog["backdrops"]["walls"]["wall.png"].update(kind="water", ground=0.5)
    material = load(catalog)
    material = Material(cutouts=material.cutouts[1:2], backdrops=material.backdrops)
    for seed in SEEDS:
        for one in compose(material, np.random.default_rng(seed)).objects:
            _, _, width, height = cv2.boundingRect(one.whole.astype(np.uint8))
            assert one.truncation > 0 or height <= 1.05 * width  # 90 by 80 pixels in the picture


def test_an_object_that_is_too_large_is_not_pasted_onto_a_wall(load):
    catalog = entries()
    catalog["cutouts"]["kite"]["diamond"]["size"] = 5.0
    material = load(catalog)
    assert set(material.fitting(material.backdrops[0])) == {"apple", "cup"}


def test_nouns_that_a_backdrop_shows_are_not_pasted_into_it(load):
    catalog = entries()
    catalog["backdrops"]["walls"]["wall.png"]["shows"] = ["apple", "kite"]
    material = load(catalog)
    for seed in SEEDS:
        scene = compose(material, np.random.default_rng(seed))
        assert {one.noun for one in scene.objects} == {"cup"}
        assert scene.backdrop.shows == ("apple", "kite")


def test_a_scene_names_the_pictures(scenes):
    families = {(one.family, one.model) for scene in scenes for one in scene.objects}
    assert families == {
        ("disc", "stamps/apple"),
        ("square", "stamps/cup"),
        ("diamond", "stamps/kite"),
    }


def test_material_has_only_its_split(load):
    catalog = entries()
    catalog["cutouts"]["cup"]["square"]["split"] = "evaluation"
    material = load(catalog)
    assert {each.family for each in material.cutouts} == {"disc", "diamond"}
    assert [each.path.name for each in material.backdrops] == ["wall.png"]


def test_a_family_in_two_splits_is_rejected(load):
    catalog = entries()
    square = catalog["cutouts"]["cup"]["square"]
    catalog["cutouts"]["mug"] = {"square": {**square, "split": "evaluation"}}
    with pytest.raises(DataError, match="family 'square' is in the splits train and evaluation"):
        load(catalog)


@pytest.mark.parametrize(
    ("section", "path", "value", "message"),
    [
        (
            "cutouts",
            ("apple", "disc", "split"),
            "test",
            "disc: unknown split 'test'; choose",
        ),
        ("cutouts", ("apple", "disc", "size"), 0, "size of 'disc' is 0; it must be above 0"),
        ("cutouts", ("apple", "disc", "places"), ["sea"], "'disc': unknown places {'sea'}"),
        ("cutouts", ("apple", "disc", "weight"), 1, "unexpected keyword argument 'weight'"),
        ("backdrops", ("walls", "wall.png", "kind"), "sky", "unknown kind 'sky'; choose land"),
        ("backdrops", ("walls", "wall.png", "kind"), "land", "only land and water need `ground`"),
        ("backdrops", ("walls", "wall.png", "ground"), 0.5, "only land and water need `ground`"),
    ],
)
def test_a_wrong_entry_is_rejected(load, section, path, value, message):
    catalog = entries()
    catalog[section][path[0]][path[1]][path[2]] = value
    with pytest.raises(DataError, match=message):
        load(catalog)


def test_a_landscape_whose_ground_is_outside_is_rejected(load):
    catalog = entries()
    catalog["backdrops"]["fields"]["field.png"]["ground"] = 1.5
    with pytest.raises(DataError, match=r"field.png: `ground` is 1.5; it must be in \(0, 1\)"):
        load(catalog, "evaluation")


def test_an_empty_catalog_is_rejected(load):
    with pytest.raises(DataError, match="cannot be used"):
        load(None)


def test_material_without_a_cutout_for_its_backdrops_is_rejected(load):
    catalog = entries()
    catalog["cutouts"] = {}
    with pytest.raises(DataError, match="no backdrop with a cut-out that suits it"):
        compose(load(catalog), np.random.default_rng(0))


def test_a_picture_without_transparency_is_rejected(load, assets):
    cv2.imwrite(str(assets / "stamps/opaque.png"), np.zeros((60, 60, 3), np.uint8))
    catalog = entries()
    catalog["cutouts"] = {"box": {"box": {"split": "train", "size": 1, "files": ["opaque.png"]}}}
    with pytest.raises(DataError, match=r"opaque\.png is not an image with 8 bits per channel"):
        compose(load(catalog), np.random.default_rng(0))


def test_a_missing_asset_names_the_command_that_fetches_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MRMLLM_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="run `mrmllm models fetch stamps`"):
        load_material("train")


@pytest.fixture(scope="module")
def catalogs():
    """The package's material of each split, with the asset as the folder."""
    return {split: load_material(split, locate_asset=Path) for split in SPLITS}


def test_the_pictures_of_the_catalog_are_those_of_the_assets(catalogs):
    used = Counter()
    for material in catalogs.values():
        used.update(str(each.path) for each in (*material.cutouts, *material.backdrops))
    assert set(used.values()) == {1}
    known = {f"{name}/{each.name}" for name in CATALOG for each in CATALOG[name].package.members}
    assert set(used) <= known
    fetched_for_scenes = {name for name in known if name.startswith(("stamps/", "backdrops-"))}
    assert fetched_for_scenes <= set(used)


def test_families_are_divided_between_the_splits(catalogs):
    families = {split: {each.family for each in catalogs[split].cutouts} for split in SPLITS}
    total = sum(map(len, families.values()))
    assert total == len(set.union(*families.values()))
    assert len(families["train"]) / total == pytest.approx(0.6, abs=0.03)
    assert len(families["evaluation"]) / total == pytest.approx(0.28, abs=0.03)


def test_training_and_evaluation_share_nouns_and_each_has_own_ones(catalogs):
    nouns = {split: {each.noun for each in catalogs[split].cutouts} for split in SPLITS}
    assert len(nouns["train"] & nouns["evaluation"]) >= 40
    assert len(nouns["train"] - nouns["evaluation"]) >= 20
    assert len(nouns["evaluation"] - nouns["train"]) >= 10


@pytest.mark.parametrize("split", SPLITS)
def test_each_backdrop_has_cutouts(catalogs, split):
    for backdrop in catalogs[split].backdrops:
        assert len(catalogs[split].fitting(backdrop)) >= 3
