# SPDX-License-Identifier: Apache-2.0
import functools
from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F

from mrmllm_ros import weights
from mrmllm_ros.detection import ultralytics_detector
from mrmllm_ros.detection.detector import (
    DetectorError,
    DetectorSettings,
    FixedVocabularyError,
    VocabularyError,
    load_detector,
)
from mrmllm_ros.detection.raw_objects import (
    BAD_SCORE,
    INVERTED,
    NO_SIZE,
    NOT_FINITE,
    OUTSIDE,
    UNNAMED,
)
from mrmllm_ros.detection.roi_features import pool_boxes
from mrmllm_ros.detection.ultralytics_detector import mask_in_image, model_path, to_letterbox

# After the module that keeps ultralytics offline.
import ultralytics  # isort: skip
from ultralytics.nn.tasks import WorldModel, YOLOEModel  # isort: skip
from ultralytics.utils import ops  # isort: skip

# Objects of the photograph according to much larger detectors.
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
    """Change the settings of the detector for one test."""
    yield lambda **values: detector.configure(DetectorSettings(**values))
    detector.configure(DetectorSettings())


@pytest.fixture(scope="module")
def bus(detector, bus_image):
    """Perception of the photograph of the bus."""
    [perception] = detector.detect([bus_image])
    return perception


def assert_alike(one, other):
    """Compare perceptions of one image; batched convolutions may sum in another order."""
    assert one.candidates.labels == other.candidates.labels
    assert one.reported == other.reported
    assert one.label_scores.labels == other.label_scores.labels
    np.testing.assert_allclose(one.label_scores.scores, other.label_scores.scores, atol=1e-3)
    np.testing.assert_allclose(one.candidates.xyxy, other.candidates.xyxy, atol=0.1)
    np.testing.assert_allclose(one.candidates.scores, other.candidates.scores, atol=1e-3)
    torch.testing.assert_close(one.features, other.features, atol=1e-3, rtol=1e-3)


def load(compute, model, **settings):
    settings["model"] = str(model)
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


def test_objects_come_largest_first_inside_of_the_image_and_above_the_threshold(bus):
    detections = bus.detections
    assert detections.resolution_wh == (810, 1080)
    assert (np.diff(detections.areas) <= 0).all()
    assert (detections.xyxy >= 0).all()
    assert (detections.xyxy <= np.tile(detections.resolution_wh, 2)).all()
    assert (detections.scores >= DetectorSettings().score_threshold).all()
    doubtful = bus.candidates.take(np.arange(bus.reported, len(bus.candidates)))
    assert len(doubtful) > 0
    assert (np.diff(doubtful.scores) <= 0).all()
    assert (doubtful.scores < DetectorSettings().score_threshold).all()
    assert (doubtful.scores >= DetectorSettings().candidate_threshold).all()
    assert (detections.xyxy.dtype, detections.scores.dtype) == (np.float32, np.float32)


def test_blue_and_red_are_not_swapped(detector, bus, bus_image):
    # Trained on BGR: with red and blue exchanged, the score of the bus is lower.
    [swapped] = detector.detect([np.ascontiguousarray(bus_image[..., ::-1])])
    scores = swapped.detections.scores[[label == "bus" for label in swapped.detections.labels]]
    assert scores.max(initial=0) < bus.detections.scores[0]


def test_each_candidate_has_a_row_of_features_of_its_own(detector, bus):
    count = len(bus.candidates)
    assert detector.feature_width == 384
    assert bus.features.shape == (count, 384)
    assert bus.features.dtype is torch.float32
    assert bus.features.isfinite().all()
    assert len(bus.features.unique(dim=0)) == count
    assert not bus.features.is_inference(), "what fusion learns from can be saved for backward"


def test_features_stay_with_their_object_when_it_is_moved(detector, bus, bus_image):
    # The gray of ultralytics' padding, so that only the offset in the network's input changes.
    moved_image = cv2.copyMakeBorder(
        bus_image, 0, 0, 270, 0, cv2.BORDER_CONSTANT, value=(114, 114, 114)
    )
    [moved] = detector.detect([moved_image])
    alike = (
        F.normalize(moved.features[: moved.reported], dim=1)
        @ F.normalize(bus.features[: bus.reported], dim=1).T
    )
    matched = 0
    for box, similarities in zip(moved.detections.xyxy - (270, 0, 270, 0), alike, strict=True):
        overlaps = [overlap(box, other) for other in bus.detections.xyxy]
        if max(overlaps) > 0.7:
            matched += 1
            assert similarities.argmax() == np.argmax(overlaps)
    assert matched >= 3


def assert_scores_agree(perception):
    """Compare label scores with candidates, whose label has the highest score."""
    scores = perception.label_scores
    assert scores.scores.shape == (len(perception.candidates), len(scores.labels))
    assert scores.scores.dtype == np.float32
    np.testing.assert_array_equal(scores.scores.max(axis=1), perception.candidates.scores)
    best = tuple(scores.labels[i] for i in scores.scores.argmax(axis=1))
    assert best == perception.candidates.labels


def test_each_candidate_has_the_scores_of_all_labels(detector, bus):
    assert len(bus.candidates) > 5
    assert bus.label_scores.labels == detector.labels
    assert_scores_agree(bus)
    # Every class of the network has a score of its own.
    assert (bus.label_scores.scores > 0).all()
    assert len(np.unique(bus.label_scores.scores[0])) > 70


def test_a_bus_has_a_higher_score_as_a_truck_than_as_a_cup(bus):
    scores = dict(zip(bus.label_scores.labels, bus.label_scores.scores[0], strict=True))
    assert scores["bus"] > scores["truck"] > scores["cup"]


@pytest.mark.parametrize("names", [("bus", "zidane"), ("zidane", "bus"), ("bus", "bus")])
def test_a_batch_gives_what_its_images_give_one_by_one(names, detector, bus_image, zidane_image):
    images = [{"bus": bus_image, "zidane": zidane_image}[name] for name in names]
    together = detector.detect(images)
    assert len(together) == len(images)
    for image, batched in zip(images, together, strict=True):
        [single] = detector.detect([image])
        assert batched.candidates.resolution_wh == image.shape[1::-1]
        assert_alike(batched, single)


def test_what_was_found_before_is_not_changed_by_the_next_image(detector, bus_image, zidane_image):
    [before] = detector.detect([bus_image])
    boxes, features = before.detections.xyxy.copy(), before.features.clone()
    detector.detect([zidane_image])
    np.testing.assert_array_equal(before.detections.xyxy, boxes)
    torch.testing.assert_close(before.features, features, rtol=0, atol=0)


def test_a_black_image_holds_nothing_and_has_features_of_the_right_width(detector, configured):
    configured(candidate_threshold=0.3)
    [black] = detector.detect([np.zeros((480, 640, 3), np.uint8)])
    assert len(black.candidates) == 0
    assert black.label_scores.scores.shape == (0, 80)
    assert black.candidates.resolution_wh == (640, 480)
    assert black.features.shape == (0, 384)


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (3000, 2), (416, 416)])
def test_images_of_any_size_are_processed(size, detector):
    [perception] = detector.detect([np.full((*size, 3), 200, np.uint8)])
    assert perception.detections.resolution_wh == size[::-1]
    assert perception.features.shape == (len(perception.candidates), 384)


def test_the_score_threshold_changes_what_is_reported_and_not_what_is_a_candidate(
    detector, configured, bus, bus_image
):
    configured(score_threshold=0.7)
    [fewer] = detector.detect([bus_image])
    assert fewer.detections.labels == ("bus",)
    assert sorted(fewer.candidates.scores) == sorted(bus.candidates.scores)

    configured(score_threshold=0.1)
    [more] = detector.detect([bus_image])
    assert len(more.detections) > len(bus.detections)
    assert 0.1 <= more.detections.scores.min() < 0.3


def test_the_candidate_threshold_changes_the_lowest_score_of_candidates(
    detector, configured, bus, bus_image
):
    configured(candidate_threshold=0.2)
    [fewer] = detector.detect([bus_image])
    assert fewer.detections.labels == bus.detections.labels
    assert len(fewer.detections) < len(fewer.candidates) < len(bus.candidates)
    assert fewer.candidates.scores.min() >= 0.2
    assert fewer.features.shape == (len(fewer.candidates), 384)


def test_all_is_reported_where_the_score_threshold_is_the_lower_one(
    detector, configured, bus_image
):
    configured(score_threshold=0.1, candidate_threshold=0.5)
    [perception] = detector.detect([bus_image])
    assert perception.reported == len(perception.candidates)
    assert 0.1 <= perception.candidates.scores.min() < 0.5


def test_the_iou_threshold_changes_how_much_objects_may_overlap(detector, configured, bus_image):
    counts = []
    for iou_threshold in (0.1, 0.9):
        configured(iou_threshold=iou_threshold, max_detections=300)
        [perception] = detector.detect([bus_image])
        counts.append(len(perception.candidates))
    assert counts[0] < counts[1]


def test_of_too_many_objects_the_highest_scores_are_reported(detector, configured, bus, bus_image):
    configured(max_detections=2)
    [limited] = detector.detect([bus_image])
    assert limited.features.shape == (2, 384)
    surest = np.sort(bus.candidates.scores)[-2:]
    np.testing.assert_allclose(np.sort(limited.candidates.scores), surest, rtol=1e-6)


@pytest.mark.parametrize("input_wh", [(416, 416), (640, 384)])
@pytest.mark.parametrize("resolution_wh", [(810, 1080), (1280, 720), (416, 416), (333, 77)])
def test_boxes_are_transformed_inversely_to_ultralytics(resolution_wh, input_wh):
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


def test_boxes_are_stretched_with_the_image():
    moved = to_letterbox(np.array([[20, 30, 200, 100]]), (200, 100), (640, 640), stretched=True)
    np.testing.assert_allclose(moved, [[64, 192, 640, 640]])


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
    assert plain.feature_width == 0
    [perception] = plain.detect([bus_image])
    assert perception.features is None
    np.testing.assert_allclose(perception.detections.xyxy, bus.detections.xyxy, atol=0.1)
    assert perception.detections.labels == bus.detections.labels


@pytest.mark.parametrize("count", [1, 2])
def test_the_input_of_the_network_is_that_of_ultralytics(count, detector, bus_image):
    predictor = detector._predictor
    images = [bus_image, bus_image[::-1]][:count]
    expected = super(type(predictor), predictor).preprocess(images)
    found = predictor.preprocess(images)
    assert found.is_contiguous()
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def onnx_options(detector):
    """Options of the detector's ONNX Runtime session."""
    return detector._predictor.model.backend.session.get_session_options()


@pytest.mark.parametrize("threads", [0, 2])
def test_threads_of_onnx_runtime_sleep_between_images(compute, threads):
    options = onnx_options(load_detector(DetectorSettings(), replace(compute, threads=threads)))
    assert options.get_session_config_entry("session.intra_op.spin_duration_us") == "300"


def test_onnx_runtime_uses_the_number_of_threads(compute):
    for threads in (1, 2):
        bounded = load_detector(DetectorSettings(), replace(compute, threads=threads))
        session = bounded._predictor.model.backend.session
        assert session.get_session_options().intra_op_num_threads == threads


def test_a_processor_may_have_a_number_as_where_several_processes_train(compute, bus_image, bus):
    numbered = replace(compute, device=torch.device("cpu", 1))
    [found] = load_detector(DetectorSettings(), numbered).detect([bus_image])
    assert_alike(found, bus)


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
def test_neither_an_embedded_model_nor_a_supported_file_is_rejected(model, compute):
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
    assert f"the detector '{path}' cannot be loaded" in str(error.value)
    assert "detector.model" in str(error.value)


def test_an_embedded_model_that_is_not_fetched_is_named_with_the_command(
    compute, tmp_path, monkeypatch
):
    monkeypatch.setenv("MRMLLM_HOME", str(tmp_path))
    with pytest.raises(weights.WeightsError, match="run `mrmllm models fetch nanodet-g`"):
        load(compute, model="nanodet-g")


@pytest.fixture(scope="module")
def noise():
    """(480, 640, 3) that ultralytics neither scales nor pads."""
    return np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)


@pytest.fixture(scope="module")
def make_model(tmp_path_factory):
    """Save an untrained model by the name of its configuration; it detects many objects."""

    def make(name):
        torch.manual_seed(0)
        model = ultralytics.YOLO(f"{name}.yaml")
        head = model.model.model[-1]
        for branch in getattr(head, "cv4", None) or [layers[-1] for layers in head.cv3]:
            torch.nn.init.zeros_(branch.bias)
        if name == "yolov8n":
            for layers in head.cv3:
                torch.nn.init.normal_(layers[-1].weight)
        path = tmp_path_factory.mktemp("models") / f"{name}.pt"
        model.save(path)
        return path

    return functools.cache(make)


@pytest.fixture(scope="module")
def untrained(compute, make_model):
    """A .pt model that detects objects in noise."""
    return load(compute, model=make_model("yolov8n"), max_detections=20)


def test_features_of_a_pt_model_are_pooled_from_each_map_that_its_head_takes(untrained, noise):
    network = untrained._predictor.model.model
    assert network.is_fused()
    maps = {}
    hooks = [
        network.model[index].register_forward_hook(
            lambda _layer, _inputs, output, stride=stride: maps.update({stride: output.clone()})
        )
        for index, stride in zip(network.model[-1].f, (8, 16, 32), strict=True)
    ]
    [perception] = untrained.detect([noise])
    for hook in hooks:
        hook.remove()

    assert len(perception.candidates) > 5
    assert len(perception.features.unique(dim=0)) == len(perception.candidates)
    boxes = torch.from_numpy(perception.candidates.xyxy)
    expected = torch.cat([pool_boxes(maps[stride], boxes, stride) for stride in (8, 16, 32)], 1)
    torch.testing.assert_close(perception.features, expected, atol=1e-4, rtol=1e-3)
    assert untrained.feature_width == expected.shape[1] == 64 + 128 + 256
    assert not perception.features.is_inference()


def test_a_pt_model_gives_in_a_batch_what_it_gives_one_by_one(untrained, noise):
    images = [noise, np.ascontiguousarray(noise[::-1])]
    for image, batched in zip(images, untrained.detect(images), strict=True):
        [single] = untrained.detect([image])
        assert_alike(batched, single)


def test_without_images_nothing_is_perceived(untrained):
    assert untrained.detect([]) == []


def test_a_model_without_boxes_is_rejected_with_its_task(compute, tmp_path):
    ultralytics.YOLO("yolo11n-cls.yaml").save(tmp_path / "classifier.pt")
    with pytest.raises(DetectorError, match=r"classifier\.pt' .* its task is classify, which"):
        load(compute, model=tmp_path / "classifier.pt")


@pytest.fixture(scope="module")
def segmentation_path(tmp_path_factory):
    """Save an untrained segmentation model whose masks are spots all over the image."""
    torch.manual_seed(0)
    model = ultralytics.YOLO("yolo11n-seg.yaml")
    head = model.model.model[-1]
    for layers in head.cv3:
        torch.nn.init.normal_(layers[-1].weight)
        torch.nn.init.zeros_(layers[-1].bias)
    for layers in head.cv4:
        torch.nn.init.normal_(layers[-1].bias)
    path = tmp_path_factory.mktemp("models") / "yolo11n-seg.pt"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def segmenter(compute, segmentation_path):
    """A segmentation model with spots as prototypes of masks."""
    detector = load(compute, model=segmentation_path, max_detections=20)
    spots = torch.randn((1, 32, 20, 20), generator=torch.Generator().manual_seed(0))

    def replace_prototypes(_layer, _inputs, output):
        return F.interpolate(spots, output.shape[2:], mode="bicubic").expand_as(output)

    head = detector._predictor.model.backend.model.model[-1]
    head.proto.register_forward_hook(replace_prototypes)
    return detector


def reference_masks(segmenter, image):
    """Boxes and (N, H, W) masks of the image, computed by ultralytics."""
    arguments = segmenter._predictor.args
    arguments.retina_masks = True
    [result] = segmenter._predictor([image])
    arguments.retina_masks = False
    return result.boxes.xyxy.numpy(), result.masks.data.numpy().astype(bool)


def test_each_object_of_a_segmentation_model_has_its_own_mask_in_the_image(segmenter, bus_image):
    # Wide, so that bars are above and below it in the network's input.
    image = bus_image[:500]
    [perception] = segmenter.detect([image])
    candidates = perception.candidates
    assert len(candidates) > 5
    boxes, masks = reference_masks(segmenter, image)
    for box, mask in zip(candidates.xyxy, candidates.masks, strict=True):
        whole = mask.whole((810, 500))
        same = np.abs(boxes - box).max(axis=1) < 0.1
        overlaps = [(whole & m).sum() / (whole | m).sum() for m in masks[same]]
        assert max(overlaps) > 0.9
    assert 0.2 < np.mean([mask.inside.mean() for mask in candidates.masks]) < 0.8


def test_a_mask_is_not_larger_than_its_box(segmenter, bus_image):
    [perception] = segmenter.detect([bus_image])
    for box, mask in zip(perception.candidates.xyxy, perception.candidates.masks, strict=True):
        rows, columns = mask.region
        assert (columns.start, rows.start) == tuple(np.floor(box[:2]))
        assert (columns.stop, rows.stop) == tuple(np.ceil(box[2:]))


def test_masks_are_the_same_in_a_batch(segmenter, bus_image, zidane_image):
    images = [bus_image, zidane_image]
    for image, batched in zip(images, segmenter.detect(images), strict=True):
        [single] = segmenter.detect([image])
        for one, other in zip(single.candidates.masks, batched.candidates.masks, strict=True):
            one, other = (mask.whole(image.shape[1::-1]) for mask in (one, other))
            assert (one != other).mean() < 0.01


def test_a_segmentation_model_that_finds_nothing_gives_no_masks(segmenter, noise):
    segmenter.configure(DetectorSettings(candidate_threshold=1.0, score_threshold=1.0))
    [perception] = segmenter.detect([noise])
    segmenter.configure(DetectorSettings(max_detections=20))
    assert len(perception.candidates) == 0
    assert not perception.candidates.masks


def test_an_object_with_an_empty_mask_is_dropped_with_its_label_scores(
    segmenter, bus_image, monkeypatch
):
    [before] = segmenter.detect([bus_image])
    assert_scores_agree(before)

    def make_masks(protos, coefficients, boxes, shape, upsample):
        masks = original(protos, coefficients, boxes, shape, upsample=upsample)
        masks[::2] = 0
        return masks

    original = ops.process_mask
    monkeypatch.setattr(ops, "process_mask", make_masks)
    [after] = segmenter.detect([bus_image])
    assert 0 < len(after.candidates) < len(before.candidates)
    assert_scores_agree(after)


def test_features_of_a_segmentation_model_are_those_of_its_maps(segmenter, noise):
    [perception] = segmenter.detect([noise])
    assert perception.features.shape == (len(perception.candidates), 64 + 128 + 256)


def test_an_exported_segmentation_model_says_its_task_and_has_masks_but_no_features(
    compute, segmentation_path, bus_image
):
    exported = ultralytics.YOLO(segmentation_path).export(format="onnx", simplify=False, imgsz=160)
    detector = load(compute, model=exported, max_detections=20)
    [perception] = detector.detect([bus_image])
    assert len(perception.candidates) == len(perception.candidates.masks) > 0
    assert perception.features is None


def test_a_pose_model_has_label_scores_without_its_keypoints(compute, tmp_path, noise):
    torch.manual_seed(0)
    model = ultralytics.YOLO("yolo11n-pose.yaml")
    for layers in model.model.model[-1].cv3:
        torch.nn.init.normal_(layers[-1].weight)
        torch.nn.init.zeros_(layers[-1].bias)
    model.save(tmp_path / "pose.pt")
    detector = load(compute, model=tmp_path / "pose.pt")
    [perception] = detector.detect([noise])
    assert len(perception.candidates) > 0
    assert perception.label_scores.labels == detector.labels
    assert_scores_agree(perception)


def test_a_model_that_gives_boxes_only_has_no_masks(bus, untrained, noise):
    assert bus.candidates.masks is None
    [perception] = untrained.detect([noise])
    assert perception.candidates.masks is None


@pytest.mark.parametrize("resolution_wh", [(640, 480), (300, 900), (1280, 720), (333, 77)])
@pytest.mark.parametrize("input_wh", [(640, 640), (640, 384)])
def test_a_mask_in_the_input_is_put_where_it_is_in_the_image(resolution_wh, input_wh):
    from ultralytics.data.augment import LetterBox

    width, height = resolution_wh
    whole = np.zeros((height, width), np.uint8)
    center, axes = (width // 3, height // 2), (width // 4, height // 3)
    cv2.ellipse(whole, center, axes, 20, 0, 360, 1, cv2.FILLED)
    letterbox = LetterBox(input_wh[::-1], auto=False, padding_value=0)
    in_input = letterbox(image=np.dstack([whole * 255] * 3))[..., 0] > 127
    rows, columns = np.nonzero(whole)
    box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float32)
    mask = mask_in_image(in_input.astype(np.uint8), box, resolution_wh)
    moved = mask.whole(resolution_wh)
    assert (moved & whole).sum() / (moved | whole).sum() > 0.96


def test_nothing_outside_of_the_box_or_of_the_image_is_inside():
    full = np.ones((640, 640), np.uint8)
    mask = mask_in_image(full, np.array([-5.0, 100.5, 20.2, 700]), (640, 480))
    assert (mask.left, mask.top) == (0, 100)
    assert mask.inside.shape == (380, 21)
    assert mask.inside.all()


@pytest.mark.parametrize(
    "box", [(5, 5, 5, 5), (700, 5, 800, 50), (-9, -9, -1, -1), (640, 0, 641, 9)]
)
def test_a_box_without_a_pixel_has_an_empty_mask(box):
    assert mask_in_image(np.ones((640, 640), np.uint8), np.array(box, float), (640, 480)).is_empty


OPEN_MODELS = ("yolov8n-worldv2", "yoloe-11n")


@pytest.fixture(scope="module", params=OPEN_MODELS)
def open_path(request, make_model):
    """File of an open-vocabulary model."""
    return make_model(request.param)


@pytest.fixture
def text_encoder(monkeypatch):
    """Fake of the text encoder, which is not installed."""

    def embed(_network, labels):
        seeds = [torch.Generator().manual_seed(sum(label.encode())) for label in labels]
        return F.normalize(torch.stack([torch.randn(512, generator=g) for g in seeds]))[None]

    monkeypatch.setattr(ultralytics_detector, "_check_text_encoder", lambda network: None)
    monkeypatch.setattr(WorldModel, "get_text_pe", embed)
    monkeypatch.setattr(YOLOEModel, "get_text_pe", embed)


@pytest.mark.usefixtures("text_encoder")
def test_an_open_model_starts_with_the_labels_of_the_settings(compute, open_path, noise):
    detector = load(compute, model=open_path, vocabulary="crate, forklift,")
    assert detector.labels == ("crate", "forklift")
    [perception] = detector.detect([noise])
    assert set(perception.candidates.labels) <= {"crate", "forklift"}


@pytest.mark.usefixtures("text_encoder")
@pytest.mark.parametrize("vocabulary", ["", "crate,,forklift"])
def test_an_invalid_initial_vocabulary_is_rejected(compute, open_path, vocabulary):
    with pytest.raises(DetectorError, match=r"^detector\.vocabulary: the labels"):
        load(compute, model=open_path, vocabulary=vocabulary)


@pytest.mark.usefixtures("text_encoder")
def test_an_open_model_detects_other_labels_from_the_next_image_on(compute, open_path, noise):
    detector = load(compute, model=open_path, vocabulary="crate")
    [before] = detector.detect([noise])
    assert set(before.candidates.labels) == {"crate"}
    detector.set_vocabulary([" red bus ", "door", "red bus"])
    assert detector.labels == ("red bus", "door")
    [after] = detector.detect([noise])
    assert after.label_scores.labels == ("red bus", "door")
    assert_scores_agree(after)
    assert len(after.candidates) > 0
    assert set(after.candidates.labels) <= {"red bus", "door"}
    assert after.features.shape == (len(after.candidates), detector.feature_width)


def test_an_open_model_without_its_text_encoder_keeps_its_saved_labels(
    compute, open_path, noise, monkeypatch, caplog
):
    monkeypatch.setattr(ultralytics_detector.importlib.util, "find_spec", lambda name: None)
    detector = load(compute, model=open_path)
    assert "keeps its 80 saved labels" in caplog.text
    assert len(detector.labels) == 80
    labels = detector.labels
    [before] = detector.detect([noise])
    assert len(before.candidates) > 0
    with pytest.raises(VocabularyError, match="`pip install git") as error:
        detector.set_vocabulary(["crate"])
    assert not isinstance(error.value, FixedVocabularyError)
    assert detector.labels == labels
    [after] = detector.detect([noise])
    assert_alike(after, before)


def test_a_text_encoder_without_weights_is_named_and_never_downloaded(
    compute, open_path, tmp_path, monkeypatch
):
    found = ultralytics_detector.importlib.util.find_spec("numpy")
    monkeypatch.setattr(ultralytics_detector.importlib.util, "find_spec", lambda name: found)
    monkeypatch.setattr(ultralytics_detector, "WEIGHTS_DIR", tmp_path)
    detector = load(compute, model=open_path)
    with pytest.raises(VocabularyError, match=rf"{tmp_path}/.*\.(pt|ts); .* `python3 -c"):
        detector.set_vocabulary(["crate"])


@pytest.mark.usefixtures("text_encoder")
def test_a_text_encoder_that_fails_leaves_the_labels_as_they_were(
    compute, open_path, noise, monkeypatch
):
    detector = load(compute, model=open_path, vocabulary="crate")

    def fail(_network, labels):
        raise RuntimeError("too long")

    monkeypatch.setattr(WorldModel, "get_text_pe", fail)
    monkeypatch.setattr(YOLOEModel, "get_text_pe", fail)
    with pytest.raises(VocabularyError, match="the text encoder fails on door: too long"):
        detector.set_vocabulary(["door"])
    assert detector.labels == ("crate",)
    [perception] = detector.detect([noise])
    assert set(perception.candidates.labels) == {"crate"}


def test_a_model_with_fixed_labels_says_so(detector, untrained):
    for fixed in (detector, untrained):
        with pytest.raises(FixedVocabularyError, match=r"has 80 fixed labels; .* detector\.mod"):
            fixed.set_vocabulary(["crate"])
        assert len(fixed.labels) == 80


@pytest.mark.usefixtures("detector")
def test_ultralytics_neither_installs_packages_nor_asks_the_network():
    from ultralytics import utils

    assert not utils.AUTOINSTALL
    assert not utils.ONLINE


# Output of a bad model beside a person: center, size and scores of three classes.
PERSON = (160, 160, 80, 80, 0.9, 0, 0)
BAD_COLUMNS = {
    "inverted": ((60, 60, -20, 40, 0, 0.95, 0), INVERTED),
    "doubtful": ((60, 60, 40, -20, 0, 0.1, 0), INVERTED),
    "without size": ((60, 60, 0, 40, 0, 0.95, 0), NO_SIZE),
    "NaN": ((60, 60, np.nan, 40, 0, 0.95, 0), NOT_FINITE),
    "infinite": ((60, 60, np.inf, 40, 0, 0.95, 0), NOT_FINITE),
    "outside": ((900, 60, 40, 40, 0, 0.95, 0), OUTSIDE),
    "score beyond 1": ((60, 60, 40, 40, 0, 1.5, 0), BAD_SCORE),
    "NaN score": ((60, 60, 40, 40, 0, np.nan, 0), BAD_SCORE),
}
# The same for a model without non-maximum suppression: corners, score, class.
BAD_ROWS = {
    "no such class": ((60, 60, 90, 90, 0.95, 3), UNNAMED),
    "negative class": ((60, 60, 90, 90, 0.95, -1), UNNAMED),
    "class between two": ((60, 60, 90, 90, 0.95, 0.5), UNNAMED),
    "inverted": ((90, 60, 60, 90, 0.95, 0), INVERTED),
    "NaN score": ((60, 60, 90, 90, np.nan, 0), BAD_SCORE),
}
THREE_NAMES = {0: "person", 1: "dog", 2: "cat"}


@pytest.fixture
def make_constant(tmp_path):
    """Save an ONNX model with a constant output and feature map."""

    def make(output, names=THREE_NAMES, features=True):
        # Each cell of the map holds its column and its row.
        column = np.arange(10, dtype=np.float32)
        cells = np.stack([np.tile(column, (10, 1)), np.tile(column[:, None], (1, 10))])[None]
        outputs = {"output0": np.asarray(output, np.float32)[None], "maps": cells}
        if not features:
            del outputs["maps"]
        constants = [
            onnx.helper.make_node("Constant", [], [key], value=onnx.numpy_helper.from_array(value))
            for key, value in outputs.items()
        ]
        info = onnx.helper.make_tensor_value_info
        image = info("images", onnx.TensorProto.FLOAT, [1, 3, 320, 320])
        described = [info(k, onnx.TensorProto.FLOAT, v.shape) for k, v in outputs.items()]
        graph = onnx.helper.make_graph(constants, "constant", [image], described)
        opset = [onnx.helper.make_opsetid("", 17)]
        model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
        metadata = {"task": "detect", "stride": "32", "batch": "1", "imgsz": "[320, 320]"}
        if names is not None:
            metadata["names"] = str(names)
        onnx.helper.set_model_props(model, metadata)
        onnx.save(model, tmp_path / "constant.onnx")
        return tmp_path / "constant.onnx"

    return make


@pytest.fixture
def gray():
    """(320, 640, 3): half as high as the network's input after scaling."""
    return np.full((320, 640, 3), 128, np.uint8)


def assert_only_the_person(perception, reason):
    assert perception.candidates.labels == ("person",)
    # The input's square of 320 shows the image at half its size, 80 pixels down.
    np.testing.assert_allclose(perception.candidates.xyxy, [(240, 80, 400, 240)], atol=0.01)
    assert perception.dropped == {reason: 1}
    # The middle of the person is in the middle of the map.
    torch.testing.assert_close(perception.features, torch.tensor([[4.5, 4.5]]))


def test_each_object_has_the_scores_of_all_labels(compute, make_constant, gray):
    boxes = np.transpose(
        [
            (160, 160, 80, 80, 0.6, 0.4, 0.1),
            (165, 160, 80, 80, 0.5, 0.3, 0),
            (60, 160, 40, 40, 0, 0, 0.2),
        ]
    )
    [perception] = load(compute, model=make_constant(boxes)).detect([gray])
    assert perception.candidates.labels == ("person", "cat")
    assert perception.label_scores.labels == ("person", "dog", "cat")
    expected = np.array([(0.6, 0.4, 0.1), (0, 0, 0.2)], np.float32)
    np.testing.assert_array_equal(perception.label_scores.scores, expected)


def test_equal_boxes_have_their_own_scores_if_nothing_is_suppressed(compute, make_constant, gray):
    boxes = np.transpose([(160, 160, 80, 80, 0.3, 0.1, 0), (160, 160, 80, 80, 0.3, 0.2, 0.1)])
    [perception] = load(compute, model=make_constant(boxes), iou_threshold=1.0).detect([gray])
    scores = perception.label_scores.scores
    np.testing.assert_array_equal(np.unique(scores[:, 1]), np.array([0.1, 0.2], np.float32))


def test_label_scores_stay_with_their_objects_where_others_are_dropped(
    compute, make_constant, gray
):
    columns = [(60, 60, -20, 40, 0, 0.95, 0.9), PERSON, (900, 60, 40, 40, 0, 0.8, 0.7)]
    detector = load(compute, model=make_constant(np.transpose(columns)))
    [perception] = detector.detect([gray])
    np.testing.assert_array_equal(
        perception.label_scores.scores, np.array([PERSON[4:]], np.float32)
    )


def test_label_scores_of_half_precision_are_float32(compute, make_constant, gray, monkeypatch):
    columns = np.transpose([(160, 160, 80, 80, 0.6, 0.4, 0.1)])
    detector = load(compute, model=make_constant(columns))
    inference = detector._predictor.inference
    monkeypatch.setattr(
        detector._predictor,
        "inference",
        lambda *args, **kwargs: [output.half() for output in inference(*args, **kwargs)],
    )
    [perception] = detector.detect([gray])
    assert_scores_agree(perception)
    np.testing.assert_allclose(perception.label_scores.scores, [(0.6, 0.4, 0.1)], atol=1e-3)


def test_a_model_that_gives_only_the_best_label_has_no_label_scores(compute, make_constant, gray):
    rows = [(120, 120, 200, 200, 0.9, 0), (20, 120, 60, 200, 0.8, 2)]
    [perception] = load(compute, model=make_constant(rows)).detect([gray])
    assert perception.candidates.labels == ("person", "cat")
    assert perception.label_scores is None


@pytest.mark.parametrize("count", range(4, 9))
def test_any_number_of_likely_objects_is_suppressed(count, compute, make_constant, gray):
    columns = [(60 + 30 * i, 160, 20, 80, 0.9 - 0.05 * i, 0, 0) for i in range(count)]
    # Overlaps the first object.
    columns[-1] = (62, 160, 20, 80, 0.5, 0, 0)
    unlikely = [(290, 290, 40, 40, 0.01, 0, 0)] * 20
    detector = load(compute, model=make_constant(np.transpose(columns + unlikely)))
    [perception] = detector.detect([gray])
    scores = sorted(perception.candidates.scores.tolist(), reverse=True)
    np.testing.assert_allclose(scores, [0.9 - 0.05 * i for i in range(count - 1)], rtol=1e-5)


@pytest.mark.parametrize("kind", BAD_COLUMNS)
def test_a_bad_object_is_dropped_and_the_person_keeps_its_own_features(
    kind, compute, make_constant, gray
):
    bad, reason = BAD_COLUMNS[kind]
    detector = load(compute, model=make_constant(np.transpose([bad, PERSON])), max_detections=1)
    [perception] = detector.detect([gray])
    assert_only_the_person(perception, reason)


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_bad_object_of_a_model_without_suppression_is_dropped_too(
    kind, compute, make_constant, gray
):
    bad, reason = BAD_ROWS[kind]
    person = (120, 120, 200, 200, 0.9, 0)
    detector = load(compute, model=make_constant([bad, person]), max_detections=1)
    [perception] = detector.detect([gray])
    assert_only_the_person(perception, reason)


def test_boxes_partly_outside_the_image_are_clipped_to_it(compute, make_constant, gray):
    columns = np.transpose([(0, 160, 80, 9000, 0.9, 0, 0)])
    [perception] = load(compute, model=make_constant(columns)).detect([gray])
    np.testing.assert_allclose(perception.candidates.xyxy, [(0, 0, 80, 320)], atol=0.01)
    assert not perception.dropped


@pytest.mark.parametrize(("names", "named"), [({0: "person", 1: "dog"}, 2), (None, 0)])
def test_classes_without_a_name_are_an_error_with_both_counts(
    names, named, compute, make_constant
):
    path = make_constant(np.transpose([PERSON]), names)
    match = rf"constant\.onnx' cannot be loaded: it has 3 classes, but names for {named} "
    with pytest.raises(DetectorError, match=match):
        load(compute, model=path)


def test_a_pt_model_with_fewer_names_than_classes_is_an_error_with_both_counts(
    compute, make_model, tmp_path
):
    model = ultralytics.YOLO(make_model("yolov8n"))
    model.model.names = {i: f"thing {i}" for i in range(79)}
    model.save(tmp_path / "short.pt")
    with pytest.raises(DetectorError, match=r"has 80 classes, but names for 79 "):
        load(compute, model=tmp_path / "short.pt")


def test_a_segmentation_model_with_fewer_names_than_classes_is_an_error_with_both_counts(
    compute, segmentation_path, tmp_path
):
    model = ultralytics.YOLO(segmentation_path)
    model.model.names = {i: f"thing {i}" for i in range(79)}
    model.save(tmp_path / "short.pt")
    with pytest.raises(DetectorError, match=r"has 80 classes, but names for 79 "):
        load(compute, model=tmp_path / "short.pt")


def test_names_that_are_blank_or_twice_there_or_hold_control_characters_can_be_used(
    compute, make_constant, gray
):
    names = {0: "", 1: "sign [3]", 2: "sign [3]", 3: "stop\n[7]"}
    columns = np.transpose([(160, 160, 80, 80, 0.9, 0, 0, 0), (60, 160, 40, 40, 0, 0, 0, 0.8)])
    detector = load(compute, model=make_constant(columns, names))
    assert detector.labels == ("class 0", "sign [3]", "stop [7]")
    [perception] = detector.detect([gray])
    assert perception.candidates.labels == ("class 0", "stop [7]")
    assert perception.label_scores.labels == detector.labels
    assert_scores_agree(perception)


def test_masks_stay_with_their_objects_where_others_are_dropped(segmenter, bus_image):
    [before] = segmenter.detect([bus_image])
    names = segmenter._predictor.model.backend.names
    gone = before.candidates.labels[0]
    others = {i if name != gone else 1000: name for i, name in names.items()}
    segmenter._predictor.model.backend.names = others
    [after] = segmenter.detect([bus_image])
    segmenter._predictor.model.backend.names = names
    assert after.dropped[UNNAMED] > 0
    assert gone not in after.label_scores.labels
    assert_scores_agree(after)
    kept = {box.tobytes(): mask for box, mask in _boxes_and_masks(before)}
    same = 0
    for box, mask in _boxes_and_masks(after):
        if (own := kept.get(box.tobytes())) is not None:
            np.testing.assert_array_equal(mask.inside, own.inside)
            same += 1
    assert gone not in after.candidates.labels
    assert same > 0


def _boxes_and_masks(perception):
    return zip(perception.candidates.xyxy, perception.candidates.masks, strict=True)
