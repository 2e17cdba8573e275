# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.evaluation.average_precision import TrueObjects
from mrmllm_ros.evaluation.label_accuracy import (
    best_matches,
    frequent_labels,
    label_statistics,
    one_label_each,
)

BOX, OTHER, FAR = (10, 10, 110, 110), (200, 200, 300, 300), (400, 300, 450, 350)


def test_boxes_of_one_object_keep_the_label_with_the_highest_score(make_detections):
    found = make_detections(
        ("vase", 0.3, BOX), ("cup", 0.7, (10, 10, 110, 105)), ("dog", 0.2, FAR)
    )
    assert set(one_label_each(found).labels) == {"cup", "dog"}
    assert len(one_label_each(make_detections())) == 0


def test_an_object_matches_the_box_with_the_highest_overlap(make_detections):
    objects = make_detections(("cup", 1, BOX), ("cup", 1, OTHER))
    found = make_detections(("cup", 0.9, (10, 10, 110, 80)), ("dog", 0.1, (10, 10, 110, 100)))
    assert best_matches(objects, found).tolist() == [1, -1]
    assert best_matches(objects, make_detections()).tolist() == [-1, -1]
    assert best_matches(make_detections(), found).tolist() == []


def test_rare_and_ignored_objects_make_no_frequent_label(make_detections):
    objects = make_detections(("cup", 1, BOX), ("cup", 1, OTHER), ("dog", 1, FAR))
    truth = [TrueObjects(objects), TrueObjects(objects, ignored=np.array([True, False, False]))]
    assert frequent_labels(truth, 3) == ("cup",)
    assert frequent_labels(truth, 2) == ("cup", "dog")
    assert frequent_labels([], 1) == ()


def test_labels_have_equal_weight_and_missed_objects_none(make_detections):
    truth = [
        TrueObjects(make_detections(("cup", 1, BOX), ("cup", 1, OTHER), ("dog", 1, FAR))),
        TrueObjects(make_detections(("cup", 1, BOX)), ignored=np.array([True])),
    ]
    found = [
        make_detections(("cup", 0.5, BOX), ("vase", 0.5, OTHER)),
        make_detections(("vase", 0.9, BOX)),
    ]
    accuracy, with_box = label_statistics(truth, found, ("cup", "dog"))
    every = np.array([[0, 1]])
    assert accuracy(every)[0] == 0.5
    assert with_box(every)[0] == pytest.approx(2 / 3)
    found[0] = make_detections(("cup", 0.5, BOX), ("vase", 0.5, OTHER), ("dog", 0.5, FAR))
    accuracy, _ = label_statistics(truth, found, ("cup", "dog"))
    assert accuracy(every)[0] == 0.75
    assert np.isnan(label_statistics(truth, found, ())[0](every)[0])
