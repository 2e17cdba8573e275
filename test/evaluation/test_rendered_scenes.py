# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from rendered_fixtures import CROWD, rendered

from mrmllm_ros.evaluation.rendered_scenes import DetectedScenes, RenderedScenes
from mrmllm_ros.evaluation.suite_result import EvaluationError

SMALL, MEDIUM, LARGE = (0, 0, 20, 20), (100, 100, 160, 160), (200, 200, 400, 400)


@pytest.fixture
def scenes(write_scenes):
    objects = [
        rendered("cup", SMALL, "blue", occlusion=0.3, distance=3.0),
        rendered("table", LARGE, "red"),
        rendered("cup", MEDIUM, "green", occlusion=0.6),
        rendered("door", (600, 0, 640, 100), ignore=1),
        rendered("fork", (500, 0, 505, 5), ignore=1),
        rendered("chair", (500, 100, 600, 200), occlusion=0.95, ignore=1),
    ]
    kitchen = (objects, {"place": "kitchen"})
    return RenderedScenes.read(write_scenes(kitchen, ([], {"place": "office"})))


def test_objects_that_are_hardly_visible_are_neither_found_nor_missed(scenes):
    image, empty = scenes.images
    assert image.listed.labels == ("table", "cup", "cup")
    assert image.listed.distances_m.tolist() == [2, 2, 3]
    assert image.colors == ({"color": "red"}, {"color": "green"}, {"color": "blue"})
    assert image.truth.counted.sum() == 3
    assert len(empty.listed) == 0
    assert scenes.places == ("kitchen", "office")


def test_objects_are_grouped_by_size_occlusion_and_place(scenes):
    groups = {group.name: group for group in scenes.groups}
    labels = np.array(scenes.images[0].truth.objects.labels)

    def of(name):
        counted = scenes.images[0].truth.counted
        return labels[groups[name].members[0] & counted].tolist()

    assert (of("small"), of("medium"), of("large")) == (["cup"], ["cup"], ["table"])
    assert of("occlusion below 0.1") == ["table"]
    assert of("occlusion 0.1 to 0.5") == of("occlusion above 0.5") == ["cup"]
    assert len(of("kitchen")) == 3
    assert of("office") == []
    assert groups["office"].images.tolist() == [False, True]


def test_unknown_colors_and_distances_are_left_out(write_scenes):
    folder = write_scenes(([rendered("cup", MEDIUM)], {}))
    file = folder / "annotations.json"
    content = json.loads(file.read_text())
    content["annotations"][0] |= {"color": None, "distance": None}
    file.write_text(json.dumps(content))
    [image] = RenderedScenes.read(folder).images
    assert image.colors == ({},)
    assert np.isnan(image.listed.distances_m).all()
    assert image.place == ""


def test_crowd_regions_of_cut_outs_need_no_occlusion(write_scenes):
    folder = write_scenes(([rendered("cow", MEDIUM), CROWD], {"place": "outdoors"}))
    scenes = RenderedScenes.read(folder)
    [image] = scenes.images
    assert image.truth.objects.labels == ("sheep", "cow")
    assert image.truth.is_crowd.tolist() == [True, False]
    assert image.listed.labels == ("cow",)
    groups = {group.name: group.members[0].tolist() for group in scenes.groups}
    assert groups["occlusion below 0.1"] == [False, True]
    assert not any(groups["occlusion above 0.5"])


@pytest.mark.parametrize("value", [None, -1, 1.5, "much", float("nan"), True])
def test_a_wrong_occlusion_is_named(write_scenes, value):
    folder = write_scenes(([rendered("cup", MEDIUM, occlusion=value)], {}))
    with pytest.raises(EvaluationError, match=r"annotation 1 .* has the occlusion "):
        RenderedScenes.read(folder)


def test_a_missing_or_wrong_folder_is_named_with_the_command(tmp_path):
    with pytest.raises(EvaluationError, match="mrmllm scenes render"):
        RenderedScenes.read(tmp_path / "none")
    (tmp_path / "annotations.json").write_text("{")
    with pytest.raises(EvaluationError, match="cannot be read"):
        RenderedScenes.read(tmp_path)


def test_candidates_are_those_of_the_images(scenes, color_backbones):
    detected = DetectedScenes(scenes, color_backbones(red="table", blue="cup"))
    first, second = detected.examples
    assert set(first.perception.candidates.labels) == {"table", "cup"}
    assert len(second.perception.candidates) == 0
    assert detected.image(1).shape == (480, 640, 3)
    assert detected.file_names == ["images/000000.png", "images/000001.png"]
