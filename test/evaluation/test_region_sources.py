# SPDX-License-Identifier: Apache-2.0
import json

import cv2
import numpy as np
import pytest

from mrmllm_ros.evaluation.labeled_images import Annotations
from mrmllm_ros.evaluation.region_sources import (
    CROP,
    MAP,
    RANDOM_CROP,
    RANDOM_MAP,
    SOURCES,
    WHOLE_IMAGE,
    MapClassifier,
    RegionImages,
    RegionNamer,
    random_boxes,
)
from mrmllm_ros.evaluation.rendered_scenes import RenderedScenes
from mrmllm_ros.model.model_settings import VisualEncoderSettings
from mrmllm_ros.model.region_classifier import ImageNetClassifier
from mrmllm_ros.model.visual_encoder import VisualEncoder

BOXES = np.array([[10, 20, 40, 60], [0, 0, 640, 480]], float)
BUS = np.array([[20, 230, 805, 750]], float)


def rng():
    return np.random.default_rng(0)


class Recorder:
    """Classifier that gives each region its left side as the only probability."""

    names = ("thing",)

    def classify(self, images, regions):
        self.regions = regions
        return [boxes[:, :1] for boxes in regions]


@pytest.fixture(scope="module")
def encoder(compute):
    return VisualEncoder.load(VisualEncoderSettings(), compute)


def test_random_boxes_keep_their_size_and_stay_in_the_image():
    moved = random_boxes(np.repeat(BOXES, 50, axis=0), (640, 480), rng())
    sides = np.repeat(BOXES[:, 2:] - BOXES[:, :2], 50, axis=0)
    assert np.allclose(moved[:, 2:] - moved[:, :2], sides)
    assert (moved >= 0).all()
    assert (moved <= [640, 480, 640, 480]).all()
    assert np.allclose(moved[50:], BOXES[1])
    assert len(np.unique(moved[:50, 0])) == 50
    assert random_boxes(np.zeros((0, 4)), (640, 480), rng()).shape == (0, 4)


def test_each_source_gives_each_region_names():
    crops, maps = Recorder(), Recorder()
    image = np.zeros((480, 640, 3), np.uint8)
    named = RegionNamer(crops, maps).classify(image, BOXES, rng())
    elsewhere = random_boxes(BOXES, (640, 480), rng())
    assert tuple(named) == SOURCES
    assert named[CROP][:, 0].tolist() == named[MAP][:, 0].tolist() == [10, 0]
    assert np.allclose(named[RANDOM_CROP], elsewhere[:, :1])
    assert np.allclose(named[RANDOM_MAP], elsewhere[:, :1])
    assert named[WHOLE_IMAGE].shape == (2, 1)
    assert crops.regions[0][-1].tolist() == [0, 0, 640, 480]


def test_the_map_of_an_image_names_its_regions(encoder, bus_image):
    names = ImageNetClassifier(encoder).names
    classifier = MapClassifier(encoder, names)
    [of_bus, of_none] = classifier.classify([bus_image, bus_image], [BUS, np.zeros((0, 4))])
    assert of_bus.shape == (1, 1000)
    assert of_bus.sum() == pytest.approx(1, abs=1e-4)
    assert of_none.shape == (0, 1000)
    assert any(word in names[of_bus[0].argmax()] for word in ("bus", "trolley", "streetcar"))


def test_regions_of_labeled_images_are_those_of_the_annotations():
    annotations = Annotations.read()
    regions = RegionImages.of_annotations(annotations)
    assert regions.truth is annotations.truth
    assert regions.labels is annotations.labels


@pytest.fixture
def folder(tmp_path):
    """Two rendered images."""
    (tmp_path / "images").mkdir()
    for i in (0, 1):
        cv2.imwrite(str(tmp_path / f"images/{i}.jpg"), np.full((48, 64, 3), 100 * i, np.uint8))
    box = {"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "area": 100, "occlusion": 0}
    content = {
        "categories": [{"id": 7, "name": "desk"}],
        "images": [
            {"id": i, "file_name": f"images/{i}.jpg", "width": 64, "height": 48} for i in (0, 1)
        ],
        "annotations": [{"id": 1, **box}, {"id": 2, **box, "ignore": 1}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    return tmp_path


def test_rendered_images_are_read_on_demand(folder):
    regions = RegionImages.of_rendered(RenderedScenes.read(folder))
    assert regions.labels == ("desk",)
    assert [each.counted.tolist() for each in regions.truth] == [[], [True, False]]
    first, second = regions.read()
    assert first.shape == (48, 64, 3)
    assert first.mean() < second.mean()
