# SPDX-License-Identifier: Apache-2.0
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPTokenizer,
    ConditionalDetrConfig,
    ConditionalDetrForObjectDetection,
    ConditionalDetrImageProcessor,
    DetrConfig,
    DetrForObjectDetection,
    DetrImageProcessor,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    OmDetTurboConfig,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    ResNetConfig,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessor,
    RTDetrResNetConfig,
    SwinConfig,
    YolosConfig,
    YolosForObjectDetection,
    YolosImageProcessor,
)

from mrmllm_ros.detection.detector import (
    DetectorError,
    DetectorSettings,
    FixedVocabularyError,
    VocabularyError,
    load_detector,
)
from mrmllm_ros.detection.raw_objects import BAD_SCORE, INVERTED, NO_SIZE, NOT_FINITE, OUTSIDE

QUERIES = 12
NAMES = {"id2label": {0: "cup", 1: "bus", 2: "door"}}
STAGES = {"embedding_size": 8, "hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1]}
SMALL = {
    "d_model": 16,
    "encoder_layers": 1,
    "encoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "decoder_layers": 2,
    "decoder_ffn_dim": 16,
    "decoder_attention_heads": 2,
    "num_queries": QUERIES,
}
TRANSFORMER = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
SHAPE_KEPT = {"shortest_edge": 96, "longest_edge": 160}
SQUARE = {"height": 96, "width": 96}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, ".", "red", "bus", "cup", "traffic", "light", "cone"]
VOCABULARY = "red bus, cup, traffic light"


def detr():
    """Softmax over the labels and none; the shape of an image is kept."""
    backbone = ResNetConfig(**STAGES, layer_type="basic", out_features=["stage4"])
    config = DetrConfig(backbone_config=backbone, **SMALL, **NAMES)
    return DetrForObjectDetection(config), DetrImageProcessor(size=SHAPE_KEPT)


def conditional_detr():
    """A probability for each label, so that a query may give several."""
    backbone = ResNetConfig(**STAGES, layer_type="basic", out_features=["stage4"])
    config = ConditionalDetrConfig(backbone_config=backbone, **SMALL, **NAMES)
    processor = ConditionalDetrImageProcessor(size=SHAPE_KEPT)
    return ConditionalDetrForObjectDetection(config), processor


def rt_detr():
    """A probability for each label, queries from the image; the image is stretched."""
    backbone = RTDetrResNetConfig(
        **STAGES, layer_type="basic", out_features=["stage2", "stage3", "stage4"]
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=16,
        encoder_in_channels=[12, 16, 20],
        decoder_in_channels=[16] * 3,
        **SMALL,
        **NAMES,
    )
    return RTDetrForObjectDetection(config), RTDetrImageProcessor(size=SQUARE)


def yolos():
    """Queries behind the patches of the image."""
    config = YolosConfig(
        **TRANSFORMER, image_size=[96, 128], num_detection_tokens=QUERIES, **NAMES
    )
    model = YolosForObjectDetection(config)
    torch.nn.init.normal_(model.vit.embeddings.detection_tokens)
    return model, YolosImageProcessor(size=SHAPE_KEPT)


def grounding_dino():
    """Scores for the tokens of a text."""
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)})
    swin = SwinConfig(
        image_size=96,
        embed_dim=8,
        depths=[1, 1, 1],
        num_heads=[1, 1, 1],
        window_size=3,
        out_features=["stage2", "stage3"],
    )
    config = GroundingDinoConfig(
        backbone_config=swin,
        text_config=BertConfig(**TRANSFORMER, vocab_size=len(WORDS), max_position_embeddings=64),
        num_feature_levels=2,
        max_text_len=24,
        # Its group norms are of 32 channels.
        **{**SMALL, "d_model": 32},
    )
    processor = GroundingDinoProcessor(GroundingDinoImageProcessor(size=SHAPE_KEPT), tokenizer)
    return GroundingDinoForObjectDetection(config), processor


def owlv2():
    """Scores for the patches of an image that is padded to a square."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["!", *letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={p: i for i, p in enumerate(pieces)}, merges=[], pad_token="!")
    text = {
        **TRANSFORMER,
        "vocab_size": len(pieces),
        "max_position_embeddings": 40,
        "bos_token_id": len(pieces) - 2,
        "eos_token_id": len(pieces) - 1,
    }
    vision = {**TRANSFORMER, "image_size": 48, "patch_size": 8}
    config = Owlv2Config(text_config=text, vision_config=vision, projection_dim=16)
    processor = Owlv2Processor(Owlv2ImageProcessor(size={"height": 48, "width": 48}), tokenizer)
    return Owlv2ForObjectDetection(config), processor


CLOSED = (detr, conditional_detr, rt_detr, yolos)
OPEN = (grounding_dino, owlv2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of untrained models, by the name of their factory."""
    folders = {}
    for make in CLOSED + OPEN:
        torch.manual_seed(0)
        folder = folders[make.__name__] = tmp_path_factory.mktemp(make.__name__)
        for part in make():
            part.save_pretrained(folder)
    return folders


def settings_for(folder, **values):
    # By default every object of the model is a candidate.
    defaults = {
        "candidate_threshold": 0.01,
        "iou_threshold": 1.0,
        "max_detections": 300,
        "vocabulary": VOCABULARY,
    }
    return DetectorSettings(backend="transformers", model=str(folder), **{**defaults, **values})


@pytest.fixture(scope="module")
def detectors(folders, compute):
    return {name: load_detector(settings_for(folder), compute) for name, folder in folders.items()}


@pytest.fixture(params=[make.__name__ for make in CLOSED + OPEN])
def tiny(request, detectors, folders):
    """A detector of each family, with its initial settings."""
    detector = detectors[request.param]
    yield detector
    detector.configure(settings_for(folders[request.param]))


@pytest.fixture(params=[make.__name__ for make in CLOSED])
def closed(request, detectors):
    return detectors[request.param]


@pytest.fixture(params=[make.__name__ for make in OPEN])
def open_vocabulary(request, detectors):
    detector = detectors[request.param]
    yield detector
    detector.set_vocabulary(VOCABULARY.split(","))


@pytest.fixture(scope="module")
def image():
    """Read-only (90, 160, 3) image of colored squares."""
    squares = np.random.default_rng(0).integers(0, 256, (9, 16, 3), np.uint8)
    image = squares.repeat(10, axis=0).repeat(10, axis=1)
    image.flags.writeable = False
    return image


@torch.no_grad()
def outputs_of(detector, image):
    """Objects of the model, computed as in the documentation of its processor."""
    rgb = np.ascontiguousarray(image[..., ::-1])
    inputs = dict(detector._processor(images=rgb, return_tensors="pt"))
    if detector._tokenizer is not None:
        inputs |= detector._prompt.inputs
    return detector._model(**inputs)


def by_score(xyxy, scores, labels):
    """Objects in a canonical order."""
    return sorted(
        (round(float(score), 4), label, *np.round(box, 2).tolist())
        for box, score, label in zip(xyxy, scores, labels, strict=True)
    )


def test_a_closed_model_returns_the_objects_of_its_processor(closed, image):
    [expected] = closed._processor.post_process_object_detection(
        outputs_of(closed, image), threshold=0.01, target_sizes=[image.shape[:2]]
    )
    [perception] = closed.detect([image])
    found = perception.candidates
    boxes = expected["boxes"].clamp(min=0).minimum(torch.tensor([160, 90, 160, 90]))
    labels = [NAMES["id2label"][int(i)] for i in expected["labels"]]
    assert len(found) == len(labels) >= QUERIES
    assert [row[1] for row in by_score(found.xyxy, found.scores, found.labels)] == [
        row[1] for row in by_score(boxes.numpy(), expected["scores"], labels)
    ]
    np.testing.assert_allclose(
        np.sort(found.xyxy, axis=0), np.sort(boxes.numpy(), axis=0), atol=0.01
    )
    np.testing.assert_allclose(
        np.sort(found.scores), np.sort(expected["scores"].numpy()), atol=1e-5
    )


def test_a_query_text_model_returns_the_objects_of_its_processor(detectors, image):
    detector = detectors["owlv2"]
    [expected] = detector._processor.post_process_object_detection(
        outputs_of(detector, image), threshold=0.01, target_sizes=[image.shape[:2]]
    )
    [perception] = detector.detect([image])
    found = perception.candidates
    pairs = zip(expected["scores"], expected["labels"], strict=True)
    scores = {round(float(score), 5): int(label) for score, label in pairs}
    assert 0 < len(found) <= len(scores)
    for score, label in zip(found.scores, found.labels, strict=True):
        assert detector.labels[scores[round(float(score), 5)]] == label
    # The image is the upper 9 of 16 parts of the square that the model sees.
    assert found.xyxy[:, [1, 3]].max() <= 90
    assert (found.xyxy[:, 2:] > found.xyxy[:, :2]).all()
    sides = expected["boxes"][:, [0, 2]].clamp(0, 160).numpy()
    for box in found.xyxy[:, [0, 2]]:
        assert np.abs(sides - box).sum(axis=1).min() < 0.01


def test_a_label_of_several_words_has_the_mean_score_of_its_tokens(detectors, image):
    detector = detectors["grounding_dino"]
    outputs = outputs_of(detector, image)
    # [CLS] red bus . cup . traffic light . [SEP]
    assert outputs.input_ids[0].tolist() == [2, 6, 7, 5, 8, 5, 9, 10, 5, 3]
    tokens = outputs.logits[0].sigmoid()
    by_label = torch.stack([tokens[:, 1:3].mean(1), tokens[:, 4], tokens[:, 6:8].mean(1)], 1)
    scores, labels = by_label.max(1)
    center, size = outputs.pred_boxes[0].split(2, dim=1)
    corners = torch.cat([center - size / 2, center + size / 2], 1).clamp(0, 1)

    [perception] = detector.detect([image])
    found = perception.candidates
    assert len(found) == (scores > 0.01).sum() > 5
    for box, score, label in zip(found.xyxy, found.scores, found.labels, strict=True):
        query = int((scores - float(score)).abs().argmin())
        assert scores[query].item() == pytest.approx(score, abs=1e-5)
        assert detector.labels[labels[query]] == label
        expected = corners[query] * torch.tensor([160, 90, 160, 90])
        np.testing.assert_allclose(box, expected.numpy(), atol=0.01)


def test_each_candidate_has_the_state_of_the_query_that_found_it(tiny, image):
    outputs = outputs_of(tiny, image)
    states = outputs["class_embeds" if "class_embeds" in outputs else "last_hidden_state"]
    [perception] = tiny.detect([image])
    found, count = perception.candidates, outputs.pred_boxes.shape[1]
    center, size = outputs.pred_boxes[0].split(2, dim=1)
    # OWLv2 pads the image to a square.
    scale = torch.tensor([160, 160] if "class_embeds" in outputs else [160, 90])
    corners = torch.cat([(center - size / 2) * scale, (center + size / 2) * scale], 1)
    corners = corners.clamp(min=0).minimum(torch.tensor([160, 90, 160, 90]))
    assert perception.features.shape == (len(found), tiny.feature_width)
    assert len(found) > 5
    for box, feature in zip(found.xyxy, perception.features, strict=True):
        matches = (states[0, -count:] - feature).abs().sum(1) < 1e-4
        assert matches.any()
        distances = (corners[matches] - torch.from_numpy(box)).abs().sum(1)
        assert distances.min() < 0.02
    assert len(states[0, -count:].unique(dim=0)) > 1
    assert not perception.features.is_inference()


def test_the_reported_come_first_and_candidates_above_their_threshold(tiny, image):
    scores = np.sort(tiny.detect([image])[0].candidates.scores)
    middle, low = float(scores[len(scores) // 2]), float(scores[2])
    tiny.configure(
        replace(tiny._settings, score_threshold=middle, candidate_threshold=max(0.01, low))
    )
    [perception] = tiny.detect([image])
    found = perception.candidates
    assert 0 < perception.reported <= len(found) < len(scores)
    assert (found.scores[: perception.reported] >= np.float32(middle)).all()
    assert (found.scores[perception.reported :] < np.float32(middle)).all()
    assert (np.diff(perception.detections.areas) <= 0).all()
    assert found.scores.min() >= low - 1e-6


def test_without_candidates_features_have_the_right_width(tiny, image):
    tiny.configure(replace(tiny._settings, score_threshold=1.0, candidate_threshold=1.0))
    [perception] = tiny.detect([image])
    assert len(perception.candidates) == 0
    assert perception.features.shape == (0, tiny.feature_width)


def test_the_highest_scores_are_kept_of_too_many(tiny, image):
    [every] = tiny.detect([image])
    tiny.configure(replace(tiny._settings, max_detections=2))
    [two] = tiny.detect([image])
    surest = np.sort(every.candidates.scores)[-2:]
    np.testing.assert_allclose(np.sort(two.candidates.scores), surest, atol=1e-6)
    assert two.features.shape == (2, tiny.feature_width)


@pytest.mark.parametrize("name", ["detr", "yolos", "owlv2"])
def test_overlapping_boxes_of_one_label_are_suppressed(name, detectors, image):
    detector = detectors[name]
    settings = detector._settings
    [every] = detector.detect([image])
    detector.configure(replace(settings, iou_threshold=0.0))
    [apart] = detector.detect([image])
    detector.configure(settings)
    assert len(apart.candidates) < len(every.candidates)
    assert set(apart.candidates.labels) == set(every.candidates.labels)
    assert apart.candidates.scores.max() == pytest.approx(every.candidates.scores.max())


def test_each_label_of_a_query_has_the_scores_of_all_labels(detectors, image):
    detector = detectors["conditional_detr"]
    expected = outputs_of(detector, image).logits[0].sigmoid()
    [every] = detector.detect([image])
    assert len(every.candidates) == expected.numel()
    for scores in every.label_scores.scores:
        assert np.abs(expected.numpy() - scores).max(axis=1).min() < 1e-4


def assert_scores_agree(perception):
    """Compare label scores with candidates; a query may have a candidate of each label."""
    scores, candidates = perception.label_scores, perception.candidates
    assert scores.scores.shape == (len(candidates), len(scores.labels))
    assert scores.scores.dtype == np.float32
    own = [scores.labels.index(label) for label in candidates.labels]
    found = scores.scores[np.arange(len(own)), own]
    np.testing.assert_allclose(found, candidates.scores, atol=1e-5)


def test_each_candidate_has_the_scores_of_all_labels_of_its_query(tiny, image):
    tiny.configure(replace(tiny._settings, iou_threshold=0.99))
    images = [image, np.ascontiguousarray(image[::-1])]
    for perception in tiny.detect(images):
        assert len(perception.candidates) > 0
        assert perception.label_scores.labels == tiny.labels
        assert_scores_agree(perception)
        assert (perception.label_scores.scores > 0).all()


@pytest.mark.parametrize("name", ["detr", "yolos"])
def test_label_scores_are_without_the_class_for_no_object(name, detectors, image):
    expected = outputs_of(detectors[name], image).logits[0].softmax(-1)[:, :3].numpy()
    [perception] = detectors[name].detect([image])
    for scores in perception.label_scores.scores:
        assert np.abs(expected - scores).max(axis=1).min() < 1e-5


def test_without_candidates_there_are_no_label_scores(tiny, image):
    tiny.configure(replace(tiny._settings, score_threshold=1.0, candidate_threshold=1.0))
    [perception] = tiny.detect([image])
    assert perception.label_scores.scores.shape == (0, 3)


def test_label_scores_are_unknown_if_the_processor_computes_scores_in_another_way(
    detectors, image, monkeypatch
):
    processor = detectors["rt_detr"]._processor
    original = processor.post_process_object_detection

    def halve(*args, **kwargs):
        return [{**r, "scores": r["scores"] / 2} for r in original(*args, **kwargs)]

    monkeypatch.setattr(processor, "post_process_object_detection", halve)
    [perception] = detectors["rt_detr"].detect([image])
    assert len(perception.candidates) > 0
    assert perception.label_scores is None


def assert_alike(one, other):
    assert one.candidates.labels == other.candidates.labels
    assert one.reported == other.reported
    np.testing.assert_allclose(one.candidates.xyxy, other.candidates.xyxy, atol=0.05)
    np.testing.assert_allclose(one.candidates.scores, other.candidates.scores, atol=1e-4)
    torch.testing.assert_close(one.features, other.features, atol=1e-3, rtol=1e-3)


def test_a_batch_gives_what_its_images_give_one_by_one(tiny, image):
    images = [image, np.ascontiguousarray(image[::-1]), image]
    together = tiny.detect(images)
    assert len(together) == 3
    for single, batched in zip(images, together, strict=True):
        assert_alike(batched, tiny.detect([single])[0])


@pytest.mark.parametrize("name", ["rt_detr", "owlv2"])
def test_images_of_several_sizes_make_a_batch(name, detectors, image):
    images = [image, np.ascontiguousarray(image[:50, :40])]
    for single, batched in zip(images, detectors[name].detect(images), strict=True):
        assert batched.candidates.resolution_wh == single.shape[1::-1]
        assert_alike(batched, detectors[name].detect([single])[0])


def test_without_images_nothing_is_perceived(tiny):
    assert tiny.detect([]) == []


@pytest.mark.parametrize("size", [(3, 5), (1, 1), (40, 200)])
def test_images_of_any_size_are_processed(size, tiny):
    [perception] = tiny.detect([np.full((*size, 3), 200, np.uint8)])
    assert perception.candidates.resolution_wh == size[::-1]
    assert (perception.candidates.xyxy <= np.tile(size[::-1], 2)).all()


def test_names_and_labels_are_those_of_the_model(detectors, folders):
    for name, detector in detectors.items():
        closed = name in {make.__name__ for make in CLOSED}
        expected = ("cup", "bus", "door") if closed else ("red bus", "cup", "traffic light")
        assert detector.labels == expected
        assert detector.name == folders[name].name
        assert detector.revision == ""


def test_an_open_vocabulary_model_detects_other_labels_from_the_next_image_on(
    open_vocabulary, image
):
    [before] = open_vocabulary.detect([image])
    open_vocabulary.set_vocabulary(["traffic cone", " Red "])
    assert open_vocabulary.labels == ("traffic cone", "Red")
    [after] = open_vocabulary.detect([image])
    assert set(after.candidates.labels) <= {"traffic cone", "Red"}
    assert after.features.shape[1] == open_vocabulary.feature_width
    assert not np.array_equal(after.candidates.scores, before.candidates.scores)


@pytest.mark.parametrize("labels", [[], ["cup", ""]])
def test_an_empty_vocabulary_changes_nothing(labels, open_vocabulary, image):
    before = open_vocabulary.labels
    with pytest.raises(VocabularyError, match="name at least one"):
        open_vocabulary.set_vocabulary(labels)
    assert open_vocabulary.labels == before


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["st. bernard"], "'st. bernard' contains a full stop"),
        (
            ["cup"] + [f"cup {'red ' * i}" for i in range(1, 8)],
            r"tokens, but .* at most 24",
        ),
    ],
)
def test_labels_that_do_not_fit_one_text_are_rejected(labels, message, detectors, image):
    detector = detectors["grounding_dino"]
    [before] = detector.detect([image])
    with pytest.raises(VocabularyError, match=message):
        detector.set_vocabulary(labels)
    assert detector.labels == ("red bus", "cup", "traffic light")
    assert_alike(detector.detect([image])[0], before)


def test_a_label_longer_than_the_text_encoder_takes_is_cut(detectors, image):
    detector = detectors["owlv2"]
    detector.set_vocabulary(["a very long description of a thing that nobody has seen", "cup"])
    assert len(detector.detect([image])) == 1
    detector.set_vocabulary(VOCABULARY.split(","))


def test_a_model_with_fixed_labels_says_so(closed):
    with pytest.raises(FixedVocabularyError, match=r"has 3 fixed labels; .* detector\.model"):
        closed.set_vocabulary(["crate"])
    assert closed.labels == ("cup", "bus", "door")


@pytest.mark.parametrize("name", ["detr", "rt_detr", "grounding_dino", "owlv2"])
def test_a_model_runs_in_a_shorter_precision(name, folders, compute, image):
    short = replace(compute, dtype=torch.bfloat16)
    [perception] = load_detector(settings_for(folders[name]), short).detect([image])
    assert perception.features.dtype is torch.bfloat16
    assert perception.features.isfinite().all()
    assert perception.candidates.xyxy.dtype == np.float32
    assert len(perception.candidates) > 0


def test_an_unsupported_initial_vocabulary_names_its_parameter(folders, compute):
    for vocabulary in ("", "cup,,bus", "st. bernard"):
        with pytest.raises(DetectorError, match=r"^detector\.vocabulary: "):
            load_detector(settings_for(folders["grounding_dino"], vocabulary=vocabulary), compute)


def test_a_missing_folder_is_named(compute, tmp_path):
    with pytest.raises(
        DetectorError, match=f"^detector.model: the folder {tmp_path}/no does not exist"
    ):
        load_detector(settings_for(tmp_path / "no"), compute)


@pytest.mark.parametrize("model", ["nobody/nothing", "", "not a name"])
def test_an_unavailable_model_is_named_with_the_parameter(model, compute):
    message = rf"the detector '{model}' cannot be loaded: .* parameter detector\.model$"
    with pytest.raises(DetectorError, match=message):
        load_detector(settings_for(model), compute)


@pytest.mark.parametrize("config", [BertConfig(), OmDetTurboConfig()])
def test_a_model_of_another_kind_is_rejected_with_its_kind(config, compute, tmp_path):
    config.save_pretrained(tmp_path)
    with pytest.raises(DetectorError, match=f"the model type {config.model_type} is not"):
        load_detector(settings_for(tmp_path), compute)


@pytest.fixture
def copied(folders, tmp_path):
    """Folder of a model that a test may change."""
    return shutil.copytree(folders["detr"], tmp_path / "copied")


def test_a_damaged_model_is_named(copied, compute):
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(DetectorError, match=r"the detector '.*/copied' cannot be loaded"):
        load_detector(settings_for(copied), compute)


def test_pickled_weights_are_not_read(copied, compute):
    (copied / "model.safetensors").unlink()
    torch.save({}, copied / "pytorch_model.bin")
    with pytest.raises(DetectorError, match="safetensors"):
        load_detector(settings_for(copied), compute)


def test_a_model_without_the_weights_of_its_head_is_rejected(copied, compute):
    model = DetrForObjectDetection.from_pretrained(copied)
    state = {k: v for k, v in model.state_dict().items() if "class_labels_classifier" not in k}
    model.save_pretrained(copied, state_dict=state)
    with pytest.raises(DetectorError, match=r"no weights for class_labels_classifier\.bias and 1"):
        load_detector(settings_for(copied), compute)


NAN, INF = float("nan"), float("inf")
# Center and size as shares of the image.
BAD_BOXES = {
    "inverted": ((0.5, 0.5, -0.2, 0.2), INVERTED),
    "without size": ((0.5, 0.5, 0.0, 0.2), NO_SIZE),
    "NaN": ((0.5, NAN, 0.2, 0.2), NOT_FINITE),
    "infinite": ((0.5, 0.5, INF, 0.2), NOT_FINITE),
    "outside": ((1.5, 0.5, 0.2, 0.2), OUTSIDE),
}


@pytest.fixture
def spoil(monkeypatch):
    """Change the outputs of a detector's network before post-processing."""

    def spoil(detector, change):
        model = detector._model

        class Spoilt:
            config = model.config

            def __call__(self, **inputs):
                outputs = model(**inputs)
                change(outputs)
                return outputs

        monkeypatch.setattr(detector, "_model", Spoilt())

    return spoil


def boxes_with_features(perception):
    """(K, 4 + d_p) boxes and features, side by side."""
    return torch.cat([torch.from_numpy(perception.candidates.xyxy), perception.features], 1)


@pytest.mark.parametrize("kind", BAD_BOXES)
def test_a_bad_box_is_dropped_and_the_others_keep_their_features(kind, tiny, image, spoil):
    box, reason = BAD_BOXES[kind]
    [before] = tiny.detect([image])

    def change(outputs):
        outputs.pred_boxes[:, ::2] = torch.tensor(box)

    spoil(tiny, change)
    [after] = tiny.detect([image])
    assert after.dropped[reason] > 0
    assert 0 < len(after.candidates) < len(before.candidates)
    differences = boxes_with_features(after)[:, None] - boxes_with_features(before)
    assert differences.abs().amax(-1).amin(1).max() < 0.01


def test_nan_scores_are_counted_and_do_not_affect_other_objects(tiny, image, spoil):
    def change(outputs):
        outputs.logits[:, 1:4] = NAN

    spoil(tiny, change)
    [perception] = tiny.detect([image])
    assert perception.dropped[BAD_SCORE] == 3
    assert len(perception.candidates) > 0
    assert len(perception.features) == len(perception.candidates)


def test_bad_boxes_do_not_replace_good_ones(tiny, image, spoil):
    def change(outputs):
        worst = outputs.logits.max(-1).values.max(-1).values[0]
        outputs.pred_boxes[0, 0] = NAN
        outputs.logits[0, 0] = worst

    spoil(tiny, change)
    tiny.configure(replace(tiny._settings, max_detections=1))
    [perception] = tiny.detect([image])
    assert len(perception.candidates) == 1


def rename(folder, id2label):
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = id2label
    config.pop("label2id", None)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("name", [make.__name__ for make in CLOSED])
@pytest.mark.parametrize("id2label", [{0: "cup", 1: "bus"}, {0: "cup", 1: "bus", 7: "door"}])
def test_fewer_names_than_classes_are_an_error_with_both_counts(
    name, id2label, folders, compute, tmp_path
):
    folder = shutil.copytree(folders[name], tmp_path / "renamed")
    rename(folder, id2label)
    with pytest.raises(DetectorError, match="has 3 classes, but names for 2"):
        load_detector(settings_for(folder), compute)


def test_default_names_of_transformers_are_used_with_a_warning(copied, compute, caplog):
    rename(copied, {i: f"LABEL_{i}" for i in range(3)})
    detector = load_detector(settings_for(copied), compute)
    assert detector.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert "has no names for its 3 classes, only defaults such as LABEL_0" in caplog.text


def test_names_that_are_blank_or_twice_there_or_hold_control_characters_can_be_used(
    copied, compute, image
):
    rename(copied, {0: "", 1: "sign [3]", 2: "stop\n[7]"})
    detector = load_detector(settings_for(copied), compute)
    assert detector.labels == ("class 0", "sign [3]", "stop [7]")
    [perception] = detector.detect([image])
    assert set(perception.candidates.labels) <= set(detector.labels)
    rename(copied, dict.fromkeys(range(3), "N/A"))
    detector = load_detector(settings_for(copied), compute)
    assert detector.labels == ("N/A",)
    [perception] = detector.detect([image])
    assert_scores_agree(perception)
