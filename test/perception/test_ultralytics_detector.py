# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F

from mrmllm_ros import weights
from mrmllm_ros.perception.detector import DetectorError, DetectorSettings, load_detector
from mrmllm_ros.perception.ultralytics_detector import model_path, to_letterbox

# Where the objects are on the photograph, as far larger detectors say.
BUS = (22, 231, 803, 756)
PEOPLE = ((48, 398, 245, 902), (221, 405, 344, 857), (669, 392, 809, 877))


def overlap(one, other):
    """Intersection over union of two boxes."""
    one, other = np.asarray(one), np.asarray(other)
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = np.prod(sides.clip(0))
    return shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)


@pytest.fixture
def configured(detector):
    """Gives the detector other settings for one test."""
    yield lambda **values: detector.configure(DetectorSettings(**values))
    detector.configure(DetectorSettings())


@pytest.fixture(scope="module")
def bus(detector, bus_image):
    """What is perceived in the photograph of the bus."""
    [perception] = detector.detect([bus_image])
    return perception


def load(compute, **settings):
    settings = {name: str(value) for name, value in settings.items()}
    return load_detector(DetectorSettings(**settings), compute)


def test_the_embedded_detector_says_its_name_and_the_80_labels_of_coco(detector):
    assert detector.name == "nanodet-g"
    assert len(detector.labels) == 80
    assert {"person", "bus", "car", "cup"} <= set(detector.labels)


def test_the_bus_is_found_where_it_is_and_comes_first(bus):
    assert bus.detections.labels[0] == "bus"
    assert overlap(bus.detections.xyxy[0], BUS) > 0.8
    assert bus.detections.scores[0] > 0.5
    assert bus.detections.labels.count("bus") == 1


def test_each_of_three_people_is_found_where_they_are(bus):
    found = [
        box
        for box, label in zip(bus.detections.xyxy, bus.detections.labels, strict=True)
        if label == "person"
    ]
    for person in PEOPLE:
        assert max(overlap(box, person) for box in found) > 0.7, person


def test_objects_come_most_salient_first_inside_of_the_image_and_above_the_threshold(bus):
    detections = bus.detections
    assert detections.resolution_wh == (810, 1080)
    assert (np.diff(detections.salience) <= 0).all()
    assert (detections.xyxy >= 0).all()
    assert (detections.xyxy <= np.tile(detections.resolution_wh, 2)).all()
    assert (detections.scores >= DetectorSettings().score_threshold).all()
    assert (detections.xyxy.dtype, detections.scores.dtype) == (np.float32, np.float32)


def test_blue_and_red_are_not_swapped(detector, bus, bus_image):
    # The network was trained on BGR; with red and blue exchanged it is less sure of the bus.
    [swapped] = detector.detect([np.ascontiguousarray(bus_image[..., ::-1])])
    scores = swapped.detections.scores[[label == "bus" for label in swapped.detections.labels]]
    assert scores.max(initial=0) < bus.detections.scores[0]


def test_each_object_has_a_row_of_features_of_its_own(bus):
    count = len(bus.detections)
    assert bus.features.shape == (count, 384)
    assert bus.features.dtype is torch.float32
    assert bus.features.isfinite().all()
    assert len(bus.features.unique(dim=0)) == count


def test_features_stay_with_their_object_when_it_is_moved(detector, bus, bus_image):
    # Grey as ultralytics pads with, so that only the offset inside of the network's input is new.
    moved_image = cv2.copyMakeBorder(
        bus_image, 0, 0, 270, 0, cv2.BORDER_CONSTANT, value=(114, 114, 114)
    )
    [moved] = detector.detect([moved_image])
    alike = F.normalize(moved.features, dim=1) @ F.normalize(bus.features, dim=1).T
    matched = 0
    for box, similarities in zip(moved.detections.xyxy - (270, 0, 270, 0), alike, strict=True):
        overlaps = [overlap(box, other) for other in bus.detections.xyxy]
        if max(overlaps) > 0.7:
            matched += 1
            assert similarities.argmax() == np.argmax(overlaps)
    assert matched >= 3


@pytest.mark.parametrize("names", [("bus", "zidane"), ("zidane", "bus"), ("bus", "bus")])
def test_a_batch_gives_what_its_images_give_one_by_one(names, detector, bus_image, zidane_image):
    images = [{"bus": bus_image, "zidane": zidane_image}[name] for name in names]
    together = detector.detect(images)
    assert len(together) == len(images)
    for image, batched in zip(images, together, strict=True):
        [single] = detector.detect([image])
        assert batched.detections.labels == single.detections.labels
        assert batched.detections.resolution_wh == image.shape[1::-1]
        # Convolutions may add in another order in a batch.
        np.testing.assert_allclose(batched.detections.xyxy, single.detections.xyxy, atol=0.1)
        np.testing.assert_allclose(batched.detections.scores, single.detections.scores, atol=1e-3)
        torch.testing.assert_close(batched.features, single.features, atol=1e-3, rtol=1e-3)


def test_what_was_found_before_is_not_changed_by_the_next_image(detector, bus_image, zidane_image):
    [before] = detector.detect([bus_image])
    boxes, features = before.detections.xyxy.copy(), before.features.clone()
    detector.detect([zidane_image])
    np.testing.assert_array_equal(before.detections.xyxy, boxes)
    torch.testing.assert_close(before.features, features, rtol=0, atol=0)


def test_a_black_image_holds_nothing_and_has_features_of_the_right_width(detector):
    [black] = detector.detect([np.zeros((480, 640, 3), np.uint8)])
    assert len(black.detections) == 0
    assert black.detections.resolution_wh == (640, 480)
    assert black.features.shape == (0, 384)


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (3000, 2), (416, 416)])
def test_images_of_any_size_can_be_looked_at(size, detector):
    [perception] = detector.detect([np.full((*size, 3), 200, np.uint8)])
    assert perception.detections.resolution_wh == size[::-1]
    assert perception.features.shape == (len(perception.detections), 384)


def test_the_score_threshold_changes_what_is_reported(detector, configured, bus, bus_image):
    configured(score_threshold=0.7)
    [fewer] = detector.detect([bus_image])
    assert fewer.detections.labels == ("bus",)
    assert fewer.features.shape == (1, 384)

    configured(score_threshold=0.05)
    [more] = detector.detect([bus_image])
    assert len(more.detections) > len(bus.detections)
    assert 0.05 <= more.detections.scores.min() < 0.3


def test_the_iou_threshold_changes_how_much_objects_may_overlap(detector, configured, bus_image):
    counts = []
    for iou_threshold in (0.1, 0.9):
        configured(iou_threshold=iou_threshold)
        [perception] = detector.detect([bus_image])
        counts.append(len(perception.detections))
    assert counts[0] < counts[1]


def test_of_too_many_objects_the_surest_are_reported(detector, configured, bus, bus_image):
    configured(max_detections=2)
    [limited] = detector.detect([bus_image])
    assert limited.features.shape == (2, 384)
    surest = np.sort(bus.detections.scores)[-2:]
    np.testing.assert_allclose(np.sort(limited.detections.scores), surest, rtol=1e-6)


@pytest.mark.parametrize("input_wh", [(416, 416), (640, 384)])
@pytest.mark.parametrize("resolution_wh", [(810, 1080), (1280, 720), (416, 416), (333, 77)])
def test_boxes_go_where_ultralytics_takes_them_back_from(resolution_wh, input_wh):
    from ultralytics.utils.ops import scale_boxes

    width, height = resolution_wh
    boxes = np.array(
        [(0, 0, width, height), (width / 4, height / 3, width / 2, height), (5, 6, 7, 8)],
        np.float32,
    )
    moved = to_letterbox(boxes, resolution_wh, input_wh)
    assert moved.dtype == np.float32
    back = scale_boxes(input_wh[::-1], torch.from_numpy(moved), (height, width)).numpy()
    # ultralytics rounds its padding to whole pixels of the input.
    pixel = max(width / input_wh[0], height / input_wh[1])
    np.testing.assert_allclose(back, boxes, atol=0.6 * pixel)


def test_no_boxes_stay_no_boxes():
    assert to_letterbox(np.zeros((0, 4), np.float32), (810, 1080), (416, 416)).shape == (0, 4)


def test_a_model_may_be_named_by_its_path_and_may_have_no_features(
    compute, tmp_path, bus, bus_image
):
    model = onnx.load(model_path("nanodet-g"))
    del model.graph.output[1:]
    onnx.save(model, tmp_path / "plain.onnx")
    plain = load(compute, model=tmp_path / "plain.onnx")
    assert plain.name == "plain"
    [perception] = plain.detect([bus_image])
    assert perception.features is None
    np.testing.assert_allclose(perception.detections.xyxy, bus.detections.xyxy, atol=0.1)
    assert perception.detections.labels == bus.detections.labels


def test_the_bound_on_threads_reaches_onnx_runtime(compute):
    for threads in (1, 2):
        bounded = load_detector(DetectorSettings(), replace(compute, threads=threads))
        session = bounded._predictor.model.backend.session
        assert session.get_session_options().intra_op_num_threads == threads


def test_a_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.onnx").touch()
    assert model_path("~/own.onnx") == tmp_path / "own.onnx"


@pytest.mark.parametrize("name", ["no.onnx", "no.pt", "no.engine"])
def test_a_missing_file_is_named(name, compute, tmp_path):
    with pytest.raises(
        DetectorError, match=f"^detector.model: there is no file {tmp_path}/{name}"
    ):
        load(compute, model=tmp_path / name)


@pytest.mark.parametrize("model", ["nanodet-h", "model.txt", "", "."])
def test_what_is_neither_embedded_nor_a_file_of_a_known_kind_is_refused(model, compute):
    message = f"^detector.model: '{model}' is neither an embedded model .* nor a .onnx, .pt,"
    with pytest.raises(DetectorError, match=message):
        load(compute, model=model)


def garbage(intact):
    return b"garbage" * 100


def cut(intact):
    return intact[: len(intact) // 2]


def nothing(intact):
    return b""


@pytest.mark.parametrize("damage", [garbage, cut, nothing])
@pytest.mark.parametrize("suffix", [".onnx", ".pt"])
def test_a_damaged_file_is_named_with_the_parameter_that_names_another(
    suffix, damage, compute, tmp_path
):
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(damage(model_path("nanodet-g").read_bytes()))
    with pytest.raises(DetectorError) as error:
        load(compute, model=path)
    assert f"the detector {path} cannot be loaded" in str(error.value)
    assert "detector.model" in str(error.value)


def test_an_embedded_model_that_is_not_fetched_is_named_with_the_command(
    compute, tmp_path, monkeypatch
):
    monkeypatch.setenv("MRMLLM_HOME", str(tmp_path))
    with pytest.raises(weights.WeightsError, match="run `mrmllm models fetch nanodet-g`"):
        load(compute, model="nanodet-g")


@pytest.mark.usefixtures("detector")
def test_ultralytics_neither_installs_packages_nor_asks_the_network():
    from ultralytics import utils

    assert not utils.AUTOINSTALL
    assert not utils.ONLINE
