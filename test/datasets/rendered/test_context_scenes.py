# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.datasets.rendered.context_scenes import (
    ContextScenes,
    Shape,
    Spot,
    _common_height,
    _is_clear,
    _mesh,
    _Pasted,
    context_labels,
    shapes,
)
from mrmllm_ros.datasets.rendered.image_effects import EffectSettings
from mrmllm_ros.datasets.rendered.model_map import SPLITS
from mrmllm_ros.datasets.rendered.places import places
from mrmllm_ros.datasets.rendered.renderer import SurfaceImage
from mrmllm_ros.datasets.rendered.scene_renderer import RoomView

CUP = Shape(name="cup", mesh="cylinder", size=(0.08, 0.1), labels={"kitchen": "jar"})


class TestShapes:
    @pytest.mark.parametrize("split", SPLITS)
    def test_each_has_several_places_with_different_labels(self, split):
        names = {place.name for place in places(split)}
        for shape in shapes(split):
            assert len(shape.labels) >= 2
            assert set(shape.labels) <= names
            assert len(set(shape.labels.values())) == len(shape.labels)

    def test_every_place_has_context_in_words(self):
        from mrmllm_ros.datasets.rendered.context_scenes import _content

        contexts = _content()["contexts"]
        assert set(contexts) == {place.name for place in places("train")}
        assert all(len(set(words)) >= 2 for words in contexts.values())

    def test_tuning_has_the_labels_of_training(self):
        assert shapes("tuning") == shapes("train") != shapes("evaluation")

    def test_labels_are_those_of_all_splits(self):
        assert {"paint can", "vase"} <= context_labels()

    @pytest.mark.parametrize("shape", shapes("train"), ids=lambda shape: shape.name)
    def test_a_mesh_stands_at_the_origin_with_its_size(self, shape):
        part = _mesh(shape, (0.5, 0.5, 0.5))
        low, high = part.positions.min(axis=0), part.positions.max(axis=0)
        assert low[2] == pytest.approx(0, abs=1e-6)
        assert high[0] - low[0] == pytest.approx(shape.size[0], rel=0.02)
        assert high[2] - low[2] == pytest.approx(shape.size[1], rel=0.02)
        assert np.allclose(np.linalg.norm(part.normals, axis=1), 1, atol=1e-5)


class TestCommonHeight:
    def test_it_is_within_the_usual_sizes_at_both_spots(self):
        rng = np.random.default_rng(0)
        spots = [Spot(0, 0, 1.0, 200.0), Spot(0, 0, 1.3, 250.0)]
        for _ in range(50):
            height = _common_height(CUP, spots, rng)
            for spot in spots:
                assert 0.7 <= height / (spot.scale * CUP.size[1]) <= 1.55

    def test_spots_of_too_different_distance_have_none(self):
        spots = [Spot(0, 0, 1.0, 400.0), Spot(0, 0, 3.0, 130.0)]
        assert _common_height(CUP, spots, np.random.default_rng(0)) is None


@pytest.fixture
def view():
    """A view of a table (instance 1) two meters away, as far as pasting needs it."""
    from types import SimpleNamespace

    instances = np.ones((60, 80), np.int32)
    room = SimpleNamespace(
        layout=SimpleNamespace(objects=[None]),
        place=SimpleNamespace(name="kitchen"),
    )
    camera = SimpleNamespace(
        resolution_wh=(80, 60),
        points=lambda depth, mask: np.tile([0.0, 0.0, 1.5], (int(mask.sum()), 1)),
    )
    return RoomView(room, camera, SurfaceImage(np.full((60, 80), 2.0, np.float32), instances))


@pytest.fixture
def pasted():
    """An opaque bright picture of 8 x 10 pixels with its base at column 40, row 40."""
    picture, alpha = np.full((10, 8, 3), 250, np.float32), np.ones((10, 8), np.float32)
    return _Pasted(CUP, Spot(40.2, 40.4, 1.5, 100.0), picture, alpha)


class TestPasted:
    def test_the_picture_stands_on_its_spot(self, pasted):
        image = pasted.paste(np.zeros((60, 80, 3), np.uint8))
        rows, columns = np.nonzero(image[..., 0])
        assert (rows.min(), rows.max()) == (31, 40)
        assert (columns.min(), columns.max()) == (36, 43)

    def test_a_half_opaque_picture_is_mixed(self, pasted):
        pasted.alpha[:] = 0.5
        image = pasted.paste(np.full((60, 80, 3), 50, np.uint8))
        assert set(np.unique(image)) == {50, 150}

    def test_the_view_has_it_as_the_next_instance(self, pasted, view):
        covered = pasted.cover(view)
        assert (covered.surfaces.instances == 2).sum() == 80
        assert covered.surfaces.depth[40, 40] == np.float32(1.5)
        assert (view.surfaces.instances == 1).all()

    def test_its_annotation_has_the_label_of_the_place(self, pasted, view):
        covered = pasted.cover(view)
        entry = pasted.annotation(covered, np.zeros((60, 80, 3), np.uint8))
        assert entry["noun"] == "jar"
        assert entry["ambiguous"] == 1
        assert entry["bbox"] == [36, 31, 8, 10]
        assert (entry["occlusion"], entry["truncation"]) == (0, 0)
        assert entry["distance"] == 1.5


class TestIsClear:
    def test_a_free_place_is_clear(self, view):
        assert _is_clear(view, Spot(40, 40, 2.0, 100), CUP, 10)

    def test_something_in_front_is_not(self, view):
        view.surfaces.depth[35, 40] = 1.0
        assert not _is_clear(view, Spot(40, 40, 2.0, 100), CUP, 10)

    @pytest.mark.parametrize(("u", "v"), [(2, 40), (78, 40), (40, 5), (40, 59.8)])
    def test_a_place_that_reaches_over_the_edge_is_not(self, view, u, v):
        assert not _is_clear(view, Spot(u, v, 2.0, 100), CUP, 10)


class TestPairs:
    @pytest.fixture(scope="class")
    def pair(self, scenes):
        """Pair 0 without effects of the camera."""
        return ContextScenes(scenes, "train", EffectSettings(noise=0, motion_blur=0)).frames(0)

    def test_the_labels_differ_with_the_places(self, pair):
        first, second = pair
        shape = shapes("train")[0]
        for frame in pair:
            *_, found = frame.objects
            assert found["ambiguous"] == 1
            assert found["noun"] == shape.labels[frame.entry["place"]]
            assert frame.entry["pair"] == 0
        assert first.entry["place"] != second.entry["place"]
        assert first.objects[-1]["noun"] != second.objects[-1]["noun"]

    def test_the_shape_has_the_same_size_in_both(self, pair):
        first, second = (frame.objects[-1] for frame in pair)
        assert first["bbox"][2:] == second["bbox"][2:]
        assert first["area"] == second["area"]
        counts = [each["segmentation"]["counts"] for each in (first, second)]
        assert counts[0][1:-1] == counts[1][1:-1]

    def test_context_describes_the_place(self, pair):
        from mrmllm_ros.datasets.rendered.context_scenes import _content

        for frame in pair:
            assert frame.entry["context"] in _content()["contexts"][frame.entry["place"]]

    def test_the_shape_is_not_smaller_than_what_counts(self, pair):
        assert all("ignore" not in frame.objects[-1] for frame in pair)

    def test_the_pixels_of_the_shape_are_equal_where_it_is_opaque(self, pair):
        crops = []
        for frame in pair:
            left, top, width, height = frame.objects[-1]["bbox"]
            inner = slice(top + 2, top + height - 2), slice(left + 2, left + width - 2)
            crops.append(frame.image[inner].astype(int))
        assert crops[0].size
        assert np.abs(crops[0] - crops[1]).max() <= 1
