# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mrmllm_ros.datasets.rendered.furniture import FurnitureLibrary
from mrmllm_ros.datasets.rendered.image_effects import EffectSettings
from mrmllm_ros.datasets.rendered.model_map import SPLITS
from mrmllm_ros.datasets.rendered.places import places
from mrmllm_ros.datasets.rendered.renderer import SurfaceImage
from mrmllm_ros.datasets.rendered.scene_renderer import RoomView, SceneRenderer, SceneSettings
from mrmllm_ros.weights import WeightsError, locate

FIELDS = {"bbox", "area", "segmentation", "iscrowd", "occlusion", "truncation", "distance"}
FIELDS |= {"visible_3d", "color", "family", "model", "instance", "noun"}
QUIET = EffectSettings(noise=0, motion_blur=0)


def mask_of(annotation):
    """Mask of an annotation's run lengths."""
    height, width = annotation["segmentation"]["size"]
    counts = annotation["segmentation"]["counts"]
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return values.reshape(width, height).T


def assert_consistent(frame, nouns):
    """Check all annotations of a frame against its image and depth."""
    height, width = frame.image.shape[:2]
    assert frame.image.dtype == np.uint8
    assert frame.depth.shape == (height, width)
    covered = np.zeros((height, width), int)
    for each in frame.objects:
        assert set(each) - {"ignore"} == FIELDS
        assert each["noun"] in nouns
        mask = mask_of(each)
        covered += mask
        left, top, *size = cv2.boundingRect(mask.astype(np.uint8))
        assert each["bbox"] == [left, top, *size]
        assert each["area"] == mask.sum()
        assert 0 <= each["occlusion"] <= 1
        assert 0 <= each["truncation"] <= 1
        hidden = each["area"] < 40 or each["occlusion"] > 0.9
        assert each.get("ignore", 0) == hidden
        depth = frame.depth[mask]
        center, extent = (np.array(each["visible_3d"][key]) for key in ("center", "size"))
        assert depth.min() == pytest.approx(center[2] - extent[2] / 2, abs=1e-3)
        assert depth.max() == pytest.approx(center[2] + extent[2] / 2, abs=1e-3)
        assert each["distance"] == pytest.approx(np.linalg.norm(center), abs=2e-3)
        assert depth.min() - 1e-3 <= each["distance"]
        assert each["model"] in frame.credits
    assert covered.max() <= 1
    instances = [each["instance"] for each in frame.objects]
    assert len(set(instances)) == len(instances)


@pytest.fixture(scope="module")
def make_renderer(library, scenes):
    """Function that makes a renderer of the tiny library; `scenes` skips without OpenGL."""

    def make(seed=3, photographs=(), frames=1, effects=QUIET):
        settings = SceneSettings(resolution_wh=(160, 120), frames=frames, effects=effects)
        return SceneRenderer(library, photographs, "train", seed, settings)

    return make


class TestFrames:
    def test_annotations_are_consistent(self, scenes, library_entries):
        nouns = {entry.noun for entry in library_entries}
        for number in range(2):
            [frame] = scenes.frames(number)
            assert_consistent(frame, nouns)
            assert frame.objects

    def test_places_take_turns(self, scenes):
        [frame] = scenes.frames(1)
        assert frame.entry["place"] == places("train")[1].name == "office"
        assert frame.entry["scene"] == 1

    def test_a_scene_depends_on_seed_and_number_alone(self, make_renderer):
        renderer = make_renderer()
        renderer.frames(0)
        [first], [again], [other] = (
            each.frames(1) for each in (renderer, make_renderer(), make_renderer(seed=4))
        )
        assert again.image.tobytes() == first.image.tobytes()
        assert again.depth.tobytes() == first.depth.tobytes()
        assert again.entry == first.entry
        assert again.objects == first.objects
        assert other.image.tobytes() != first.image.tobytes()

    def test_the_entry_has_the_camera(self, scenes):
        [frame] = scenes.frames(0)
        info, pose = frame.entry["camera_info"], frame.entry["camera_pose"]
        assert len(info["k"]) == 9
        assert info["d"] == [0] * 5
        assert info["distortion_model"] == "plumb_bob"
        assert len(pose["position"]) == 3
        assert np.linalg.norm(pose["orientation"]) == pytest.approx(1, abs=1e-6)

    def test_frames_of_a_moving_camera_have_stamps_and_the_same_objects(self, make_renderer):
        frames = make_renderer(frames=3).frames(0)
        assert [frame.entry["stamp"] for frame in frames] == [0, 0.1, 0.2]
        positions = np.array([frame.entry["camera_pose"]["position"] for frame in frames])
        assert np.linalg.norm(np.diff(positions, axis=0), axis=1) == pytest.approx(0.06, abs=1e-4)
        models = {}
        for frame in frames:
            for each in frame.objects:
                assert models.setdefault(each["instance"], each["model"]) == each["model"]
        shared = set.intersection(*({x["instance"] for x in f.objects} for f in frames))
        assert shared

    def test_a_distorted_image_has_masks_and_depth_at_the_distorted_pixels(self, make_renderer):
        effects = EffectSettings(noise=0, motion_blur=0, distortion=0.4)
        [straight] = make_renderer().frames(0)
        [distorted] = make_renderer(effects=effects).frames(0)
        k1, k2, *rest = distorted.entry["camera_info"]["d"]
        assert 0 < abs(k1) <= 0.4
        assert k2 == pytest.approx(-0.2 * k1, abs=1e-6)
        assert rest == [0, 0, 0]
        assert not np.array_equal(distorted.depth, straight.depth)
        for each in distorted.objects:
            assert (distorted.depth[mask_of(each)] > 0).all()

    def test_windows_show_photographs(self, make_renderer, tmp_path):
        path = tmp_path / "view.png"
        cv2.imwrite(str(path), np.full((40, 60, 3), (250, 30, 30), np.uint8))
        plain, blue = make_renderer(), make_renderer(photographs=[path])
        for number in range(0, 50, 5):
            [frame] = plain.frames(number)
            windows = [x for x in frame.objects if x["noun"] == "window" and x["area"] > 200]
            if windows:
                break
        [other] = blue.frames(number)
        changed = (frame.image != other.image).any(axis=2)
        mask = mask_of(windows[0])
        assert changed[mask].mean() > 0.3
        assert not changed[~np.any([mask_of(x) for x in windows], axis=0)].any()


class TestRoomView:
    def make_view(self, instances, depth):
        return RoomView(None, SimpleNamespace(), SurfaceImage(depth, instances))

    def test_six_objects_are_enough_and_five_are_not(self):
        depth = np.full((60, 80), 2.0, np.float32)
        instances = np.repeat(np.arange(60) // 10, 80).reshape(60, 80)
        assert not self.make_view(instances, depth).shows_enough
        assert self.make_view(instances + 1, depth).shows_enough

    def test_something_right_before_the_camera_is_too_near(self):
        depth = np.full((60, 80), 2.0, np.float32)
        depth[:30] = 0.3
        instances = np.repeat(np.arange(60) // 10 + 1, 80).reshape(60, 80)
        assert not self.make_view(instances, depth).shows_enough

    def test_an_empty_view_is_not_enough(self):
        view = self.make_view(np.zeros((60, 80), np.int32), np.zeros((60, 80), np.float32))
        assert not view.shows_enough


@pytest.fixture(scope="module")
def furniture(renderer, label_map):
    """The fetched furniture libraries; `renderer` skips without OpenGL."""
    try:
        return FurnitureLibrary(locate("furniture"), label_map)
    except WeightsError as error:
        pytest.skip(str(error))


class TestFurniture:
    def test_every_model_of_the_map_is_in_the_libraries(self, furniture, label_map):
        assert len(furniture.models) == len(label_map)
        assert all(min(model.size) > 0 and model.creator for model in furniture.models)

    # Numbers of scenes with small meshes.
    @pytest.mark.parametrize(("split", "number"), zip(SPLITS, (1, 2, 1), strict=True))
    def test_a_scene_of_each_split_is_consistent(self, furniture, label_map, split, number):
        settings = SceneSettings(resolution_wh=(256, 192))
        [frame] = SceneRenderer(furniture, [], split, 0, settings).frames(number)
        entries = {entry.key: entry for entry in label_map}
        assert_consistent(frame, {entry.noun for entry in entries.values()})
        assert len(frame.objects) >= 5
        for each in frame.objects:
            entry = entries[each["model"]]
            assert (entry.noun, entry.family) == (each["noun"], each["family"])
            assert entry.split == split
