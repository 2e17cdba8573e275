# SPDX-License-Identifier: Apache-2.0
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from making import detector_stub, make_perception

from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.evaluation import labeled_images
from mrmllm_ros.evaluation.ablations import DETECTOR_ALONE, FULL
from mrmllm_ros.evaluation.labeled_images import (
    FOLDER,
    PHOTOGRAPHS,
    Annotations,
    LabeledImages,
    load_images,
    require_samples_of,
)
from mrmllm_ros.evaluation.labeled_suites import (
    LabeledAnswersSuite,
    LabeledDetectionsSuite,
    TrueBoxesSuite,
)
from mrmllm_ros.evaluation.scoring import is_right
from mrmllm_ros.evaluation.suite_result import SHARE_OF_PERHAPS, EvaluationError
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.weights import WeightsError
from mrmllm_ros.weights.catalog import CATALOG, PROFILES

INSTANCES = {
    "images": [
        {"id": 5, "file_name": "a.jpg", "width": 640, "height": 480, "source": "x", "frame": None},
        {"id": 6, "file_name": "b/1", "width": 640, "height": 480, "source": "x", "frame": 1},
    ],
    "annotations": [
        {"id": 1, "image_id": 6, "category_id": 3, "bbox": [10, 20, 30, 40], "iscrowd": 1},
        {"id": 2, "image_id": 6, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0},
    ],
    "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
}
RECORD = {"image": "b/1", "question": "Cars?", "answer": "No.", "family": "existence"}


@pytest.fixture
def write(tmp_path):
    """Function that writes annotations and gives their folder."""

    def write(*questions, instances=INSTANCES):
        (tmp_path / "instances.json").write_text(json.dumps(instances))
        lines = "\n".join(json.dumps({**RECORD, **each}) for each in questions)
        (tmp_path / "questions.jsonl").write_text(lines)
        return tmp_path

    return write


def silent(line):
    pass


def test_boxes_and_questions_are_assigned_to_their_images(write):
    annotations = Annotations.read(write({"truth": {"polarity": False}}))
    first, second = annotations.truth
    assert len(first.objects) == 0
    assert second.objects.labels == ("car", "person")
    assert second.objects.xyxy.tolist() == [[10, 20, 40, 60], [1, 2, 4, 6]]
    assert second.crowd.tolist() == [True, False]
    assert annotations.present == ((), ("car", "person"))
    assert annotations.labels == ("person", "car")
    nothing, [item] = annotations.questions
    assert nothing == ()
    assert item.question == "Cars?"
    assert item.truth.polarity is False
    assert item.truth.number is None


@pytest.mark.parametrize(
    ("truth", "among"),
    [
        ({"mentions": ["left"], "among": ["left", "right"]}, {"left", "right"}),
        ({"mentions": ["car"]}, {"car", "person"}),
        ({"mentions": ["helmet"]}, {"helmet"}),
    ],
)
def test_labels_are_chosen_among_all_labels_by_default(write, truth, among):
    [item] = Annotations.read(write({"truth": truth})).questions[1]
    assert item.truth.mentions == frozenset(truth["mentions"])
    assert item.truth.among == among


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"truth": {"polarty": False}}, "polarty"),
        ({"truth": {}, "image": "c"}, "has no image 'c'"),
        ({}, "truth"),
    ],
)
def test_wrong_annotations_are_an_error(write, question, message):
    with pytest.raises(EvaluationError, match=message):
        Annotations.read(write(question))


def test_missing_annotations_are_an_error(tmp_path):
    with pytest.raises(EvaluationError, match=r"instances\.json"):
        Annotations.read(tmp_path)


def test_a_split_keeps_its_images_and_their_questions(write):
    first, second = INSTANCES["images"]
    images = [{**first, "split": "tuning"}, {**second, "split": "evaluation"}]
    folder = write({"truth": {"polarity": False}}, instances={**INSTANCES, "images": images})
    tuning, evaluation = (Annotations.read(folder, split) for split in ("tuning", "evaluation"))
    assert (tuning.images, tuning.questions, tuning.present) == ((images[0],), ((),), ((),))
    assert evaluation.images == (images[1],)
    assert evaluation.present == (("car", "person"),)
    assert len(evaluation.questions[0]) == 1


@pytest.mark.parametrize("folder", [FOLDER, PHOTOGRAPHS], ids=lambda folder: folder.name)
def test_the_annotations_of_the_package_are_valid(folder):
    annotations = Annotations.read(folder)
    assert len(annotations.images) >= 40
    assert {each["source"] for each in annotations.images} <= {*CATALOG, "ultralytics"}
    for image, each in zip(annotations.images, annotations.truth, strict=True):
        edges = np.tile(each.objects.resolution_wh, 2) + 1
        assert (each.objects.xyxy <= edges).all(), image["file_name"]
    for item in (item for items in annotations.questions for item in items):
        assert item.truth.cited is None
        assert is_right(item.answer, item.truth, ()), item


def test_the_photographs_are_in_the_catalog():
    images = Annotations.read(PHOTOGRAPHS).images
    members = [
        (name, member.name)
        for name in PROFILES["evaluation"]
        if name.startswith("photographs-")
        for member in CATALOG[name].package.members
    ]
    assert sorted((each["source"], each["file_name"]) for each in images) == sorted(members)


@pytest.mark.parametrize("setting", ["indoor", "outdoor"])
def test_half_of_the_photographs_of_each_setting_are_for_tuning(setting):
    images = Annotations.read(PHOTOGRAPHS).images
    splits = [each["split"] for each in images if each["setting"] == setting]
    assert abs(splits.count("tuning") - splits.count("evaluation")) <= 3
    assert set(splits) == {"tuning", "evaluation"}


@pytest.mark.parametrize("split", ["tuning", "evaluation"])
def test_each_photograph_has_as_many_questions_with_yes_as_with_no(split):
    asked = [
        [item.truth.polarity for item in items if item.family == "existence"]
        for items in Annotations.read(PHOTOGRAPHS, split).questions
    ]
    assert all(2 * sum(polarities) == len(polarities) > 0 for polarities in asked)


def test_the_photographs_have_the_size_of_their_annotations():
    annotations = Annotations.read(PHOTOGRAPHS)
    try:
        require_samples_of(annotations)
    except WeightsError as error:
        pytest.skip(f"the photographs are not fetched: {error}")
    for image, pixels in zip(annotations.images, load_images(annotations.images), strict=True):
        assert pixels.shape == (image["height"], image["width"], 3), image["file_name"]


def test_frames_and_photographs_are_found(monkeypatch, tmp_path, bus_image):
    (tmp_path / "rooms").mkdir()
    cv2.imwrite(str(tmp_path / "rooms" / "room.png"), np.full((4, 6, 3), 7, np.uint8))
    played = {"vtest.avi": [7, 8, 9], "bikes.mp4": [5]}
    monkeypatch.setattr(labeled_images, "locate", lambda name: tmp_path / name)
    monkeypatch.setattr(labeled_images, "frames", lambda path: iter(played[path.name]))
    frame = {"file_name": "", "source": "vtest"}
    photograph = {"file_name": "bus.jpg", "source": "ultralytics", "frame": None}
    images = [{**frame, "frame": 2}, photograph, {**frame, "frame": 0}, {**frame, "frame": 2}]
    one, bus, two, again = load_images(images)
    assert (one, two, again) == (9, 7, 9)
    assert np.array_equal(bus, bus_image)
    [room] = load_images([{"file_name": "room.png", "source": "rooms"}])
    assert room.shape == (4, 6, 3)
    assert (room == 7).all()
    with pytest.raises(EvaluationError, match=r"has no frames \[3\]"):
        load_images([{**frame, "frame": 3}])
    with pytest.raises(ImageError):
        load_images([{**photograph, "file_name": "none.jpg"}])


def test_the_suites_run(write, monkeypatch, make_answerer):
    monkeypatch.setattr(
        labeled_images, "load_images", lambda images: [np.zeros((480, 640, 3), np.uint8)] * 2
    )
    detector = SimpleNamespace(
        **vars(detector_stub()), detect=lambda batch: [make_perception(3) for _ in batch]
    )
    annotations = Annotations.read(write({"truth": {"polarity": False}}))
    images = LabeledImages(annotations, Backbones(None, detector))
    every = np.arange(2)[None]
    for variant, answerer in ((FULL, make_answerer()), (DETECTOR_ALONE, None)):
        result = LabeledDetectionsSuite(images).evaluate(answerer, variant, silent)
        assert list(result.statistics)[:2] == ["AP50", "AP"]
        assert {"class-agnostic AP50", "label accuracy"} <= set(result.statistics)
        assert result.statistics["AP50"](every) == 0
    result = LabeledAnswersSuite(images).evaluate(make_answerer(), FULL, silent)
    assert list(result.statistics) == ["accuracy", "accuracy, existence", SHARE_OF_PERHAPS]
    result = TrueBoxesSuite(images).evaluate(make_answerer(), FULL, silent)
    assert list(result.statistics) == ["accuracy", "accuracy, existence", SHARE_OF_PERHAPS]


def test_true_boxes_replace_detections(write, monkeypatch):
    black = np.zeros((480, 640, 3), np.uint8)
    monkeypatch.setattr(labeled_images, "load_images", lambda images: [black] * 2)
    annotations = Annotations.read(write({"truth": {"polarity": False}}))
    nothing, example = LabeledImages(annotations, None).with_true_boxes
    assert len(nothing.perception.candidates) == 0
    # The car is a crowd.
    assert example.perception.detections.labels == ("person",)
    assert example.perception.detections.xyxy.tolist() == [[1, 2, 4, 6]]
    assert example.visual is None
    assert [item.question for item in example.questions] == ["Cars?"]
