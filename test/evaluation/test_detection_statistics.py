# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.evaluation.average_precision import TrueObjects
from mrmllm_ros.evaluation.detection_statistics import ObjectGroup, detection_statistics
from mrmllm_ros.evaluation.predicted_objects import PredictedObjects

IMAGES = 16
CUP, DOG, SMALL = (10, 10, 110, 110), (200, 200, 350, 350), (400, 300, 420, 320)


@pytest.fixture
def values(make_detections):
    """Function that gives the statistics of images that all have the same objects."""

    def values(objects, found, make_groups=lambda truth: ()):
        truth = [TrueObjects(make_detections(*objects)) for _ in range(IMAGES)]
        seen = [make_detections(*found) for _ in range(IMAGES)]
        every = np.arange(IMAGES)[None]
        statistics = detection_statistics(truth, PredictedObjects(seen, seen), make_groups(truth))
        return {name: float(statistic(every)[0]) for name, statistic in statistics.items()}

    return values


def test_labels_of_coco_and_others_are_apart(values):
    objects = [("cup", 1, CUP), ("toolbox", 1, DOG)]
    result = values(objects, [("cup", 0.9, CUP), ("suitcase", 0.8, DOG)])
    assert result["AP50"] == pytest.approx(0.5)
    assert result["AP50, COCO names"] == pytest.approx(1)
    assert result["AP50, other names"] == 0
    assert result["AP50 of cup"] == pytest.approx(1)
    assert result["AP50 of toolbox"] == 0
    assert result["class-agnostic AP50"] == pytest.approx(1)
    assert (result["label accuracy"], result["objects with a box"]) == (0.5, 1)
    assert result["label accuracy, other names"] == 0


def test_detections_of_other_groups_do_not_count(values):
    def by_size(truth):
        small = [np.array([False, True]) for _ in truth]
        large = [np.array([True, False]) for _ in truth]
        return [
            ObjectGroup("small", small, area_range=(0, 1024)),
            ObjectGroup("large", large, area_range=(1024, np.inf)),
        ]

    objects = [("cup", 1, CUP), ("cup", 1, SMALL)]
    # A wrong box of the large size, and a wrong label of the small one.
    found = [("cup", 0.9, DOG), ("cup", 0.8, CUP), ("dog", 0.7, SMALL)]
    result = values(objects, found, by_size)
    assert result["AP50, large"] == pytest.approx(0.5)
    assert result["AP50, small"] == 0
    assert result["class-agnostic AP50, small"] == pytest.approx(1)
    assert result["label accuracy, large"] == 1
    assert result["label accuracy, small"] == 0


def test_detections_in_images_of_other_places_do_not_count(values):
    def by_place(truth):
        members = [np.array([i > 0]) for i in range(len(truth))]
        return [ObjectGroup("kitchen", members, np.arange(len(truth)) > 0)]

    result = values([("cup", 1, CUP)], [("cup", 0.9, CUP), ("cup", 0.5, DOG)], by_place)
    assert result["AP50, kitchen"] == pytest.approx(1)
    assert result["objects with a box, kitchen"] == 1


def test_statistics_of_rare_labels_are_undefined(make_detections):
    truth = [TrueObjects(make_detections(("cup", 1, CUP)))]
    seen = [make_detections(("cup", 0.9, CUP))]
    statistics = detection_statistics(truth, PredictedObjects(seen, seen))
    assert np.isnan(statistics["AP50"](np.array([[0]]))[0])
    assert statistics["class-agnostic AP50"](np.array([[0]]))[0] == pytest.approx(1)
