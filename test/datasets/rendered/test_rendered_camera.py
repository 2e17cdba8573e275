# SPDX-License-Identifier: Apache-2.0
"""The localizer finds the objects of a rendered, moving RGB-D camera where they are."""

import pytest

from mrmllm_ros.benchmarks import localizer_benchmark
from mrmllm_ros.datasets.rendered import scene_sources
from mrmllm_ros.datasets.rendered.image_effects import EffectSettings
from mrmllm_ros.datasets.rendered.scene_folder import write_scenes
from mrmllm_ros.datasets.rendered.scene_renderer import SceneRenderer, SceneSettings
from mrmllm_ros.datasets.rendered.scene_sources import SourceSettings

FRAMES = 4


def silent(line):
    pass


@pytest.fixture(scope="module")
def figures(library, library_entries, renderer, tmp_path_factory):
    """Accuracy in two sequences of the tiny library; `renderer` skips without OpenGL."""
    effects = EffectSettings(noise=2.0, motion_blur=0.0)
    scene = SceneSettings(resolution_wh=(320, 240), frames=FRAMES, effects=effects)
    settings = SourceSettings(kind="rooms", split="train", seed=3, scene=scene)
    rooms = SceneRenderer(library, [], settings.split, settings.seed, scene)
    folder = tmp_path_factory.mktemp("sequences")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene_sources, "read_model_map", lambda: library_entries)
        patch.setattr(SourceSettings, "create", lambda _: rooms.frames)
        assert write_scenes(folder, settings, 2, 1, silent) == 2 * FRAMES
    return localizer_benchmark.run(folder, silent)


def test_objects_with_masks_are_located(figures):
    counts = figures["accuracy"]["masks"]
    assert counts["objects"] >= 2 * FRAMES
    assert counts["poses"] == counts["objects"]
    assert counts["within_2_percent"] >= 0.85 * counts["objects"]


def test_objects_at_the_border_and_behind_others_are_located_with_masks(figures):
    accuracy = figures["accuracy"]
    border = accuracy["masks, across the border of the image"]
    assert border["objects"] >= 1
    assert border["wrong"] <= 0.2 * border["objects"]
    hidden = [
        v for k, v in accuracy.items() if k.startswith("masks, occlusion") and "below" not in k
    ]
    assert sum(each["objects"] for each in hidden) >= 1
    assert sum(each["wrong"] for each in hidden) <= 0.2 * sum(each["objects"] for each in hidden)


def test_objects_stay_where_they_are_while_the_camera_moves(figures):
    spreads = figures["spread_in_sequences"]
    assert spreads["masks"]["objects"] >= 2
    assert spreads["masks"]["median_m"] <= spreads["truth"]["median_m"] + 0.02
