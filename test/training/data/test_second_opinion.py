# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.training.data.second_opinion import SecondOpinion, imagenet_classes

BUS = (20, 230, 800, 750)


@pytest.fixture(scope="module")
def opinion(detector, compute):
    return SecondOpinion(detector.labels, compute)


@pytest.fixture
def bus_crop(bus_image):
    left, top, right, bottom = BUS
    return bus_image[top:bottom, left:right]


def test_every_label_is_one_of_the_detector(opinion, detector):
    assert set(opinion.labels) == set(imagenet_classes()) <= set(detector.labels)


def test_no_class_stands_for_two_labels():
    classes = np.concatenate([*imagenet_classes().values()])
    assert len(np.unique(classes)) == len(classes)


@pytest.mark.parametrize(
    ("label", "inside", "outside"),
    [
        ("dog", ["Chihuahua", "Mexican hairless"], ["timber wolf", "dugong"]),
        ("cat", ["tabby", "Egyptian cat"], ["cougar", "hyena"]),
        ("bird", ["cock", "great grey owl", "black swan", "albatross"], ["tusker", "grey whale"]),
        ("bear", ["brown bear", "sloth bear"], ["cheetah", "mongoose"]),
        ("elephant", ["Indian elephant", "African elephant"], ["lesser panda", "indri"]),
    ],
)
def test_kinds_of_an_animal_are_those_of_imagenet(label, inside, outside):
    from timm.data import ImageNetInfo

    names = {
        ImageNetInfo().index_to_description(i).split(",")[0] for i in imagenet_classes()[label]
    }
    assert set(inside) <= names
    assert not names & set(outside)


def test_a_bus_is_called_a_bus(opinion, bus_crop):
    [(label, probability)] = opinion.label([bus_crop])
    assert label == "bus"
    assert 0.3 < probability <= 1


def test_no_crops_have_no_labels(opinion):
    assert opinion.label([]) == []


def test_what_the_vocabulary_lacks_has_no_label(compute, bus_crop):
    for vocabulary in (["dog", "cat"], ["robot"]):
        [(label, _)] = SecondOpinion(vocabulary, compute).label([bus_crop])
        assert label == ""


def test_what_is_unsure_is_put_right(opinion, bus_image, make_detections, monkeypatch):
    monkeypatch.setattr(opinion, "label", lambda crops: [("bus", 0.9)] * len(crops))
    truth = make_detections(("train", 0.4, BUS), ("train", 0.6, BUS), resolution_wh=(810, 1080))
    assert opinion.relabel(bus_image, truth).labels == ("bus", "train")


def test_an_unsure_opinion_changes_nothing(opinion, bus_image, make_detections, monkeypatch):
    monkeypatch.setattr(opinion, "label", lambda crops: [("bus", 0.5)] * len(crops))
    truth = make_detections(("train", 0.4, BUS), resolution_wh=(810, 1080))
    assert opinion.relabel(bus_image, truth).labels == ("train",)


@pytest.mark.parametrize(
    ("label", "box"), [("person", BUS), ("train", (50, 50, 55, 60)), ("train", (900, 10, 990, 90))]
)
def test_what_it_cannot_judge_it_leaves(
    opinion, bus_image, make_detections, monkeypatch, label, box
):
    monkeypatch.setattr(opinion, "label", lambda crops: [("bus", 0.9)] * len(crops))
    truth = make_detections((label, 0.4, box), resolution_wh=(810, 1080))
    assert opinion.relabel(bus_image, truth).labels == (label,)
