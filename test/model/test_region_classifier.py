# SPDX-License-Identifier: Apache-2.0
import math
from contextlib import contextmanager

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tiny_vlm import make_tokenizer
from transformers import (
    BitImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from mrmllm_ros.compute import Compute
from mrmllm_ros.model.model_settings import VisualEncoderSettings
from mrmllm_ros.model.region_classifier import (
    BATCH_SIZE,
    CPU_BATCH_SIZE,
    ImageNetClassifier,
    ZeroShotClassifier,
    region_classifier,
    square_crops,
)
from mrmllm_ros.model.visual_encoder import NetworkInput, VisualEncoder, VisualEncoderError

BUS = (20, 230, 805, 750)
PERSON = (220, 405, 345, 860)
TIE = (435, 430, 530, 715)  # of zidane.jpg
BFLOAT16 = Compute(torch.device("cpu"), torch.bfloat16, 0)

# Random weights so large that texts and images differ.
LAYERS = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.3,
}
VISION = LAYERS | {"image_size": 32, "patch_size": 8}
SQUARE = {"height": 32, "width": 32}
NAMES = ("bus", "person", "Traffic Light", "thing with a name too long for the text encoder")
LONG = f"a photo of a {NAMES[-1]}"


def clip():
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={p: i for i, p in enumerate(pieces)}, merges=[])
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    text = LAYERS | {
        **{"vocab_size": len(pieces), "max_position_embeddings": 40, "projection_dim": 8},
        **{"bos_token_id": bos, "eos_token_id": eos, "pad_token_id": eos},
    }
    model = CLIPModel(CLIPConfig(vision_config=VISION, text_config=text, projection_dim=8))
    return model, CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SQUARE), tokenizer


def siglip():
    tokenizer = make_tokenizer()
    text = LAYERS | {"vocab_size": len(tokenizer), "max_position_embeddings": 24}
    model = SiglipModel(SiglipConfig(vision_config=VISION, text_config=text))
    torch.nn.init.constant_(model.logit_scale, 2.0)
    torch.nn.init.constant_(model.logit_bias, -10.0)
    return model, SiglipImageProcessor(size=SQUARE), tokenizer


def siglip_vision():
    return SiglipVisionModel(SiglipVisionConfig(**VISION)), SiglipImageProcessor(size=SQUARE)


def dinov2():
    processor = BitImageProcessor(size={"shortest_edge": 32}, crop_size=SQUARE)
    return Dinov2Model(Dinov2Config(**VISION)), processor


def vit():
    return ViTForImageClassification(ViTConfig(**VISION)), ViTImageProcessor(size=SQUARE)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of randomly initialized models, by the name of their factory."""
    folders = {}
    for make in (clip, siglip, siglip_vision, dinov2, vit):
        torch.manual_seed(0)
        folder = folders[make.__name__] = tmp_path_factory.mktemp(make.__name__)
        for part in make():
            part.save_pretrained(folder)
    return folders


def load_encoder(folder, compute):
    return VisualEncoder.load(VisualEncoderSettings(model=str(folder)), compute)


@pytest.fixture(scope="module")
def imagenet(visual_encoder):
    return region_classifier(visual_encoder)


@pytest.fixture
def load_zero_shot(folders, compute):
    """Function that loads the classifier of a model with a text encoder."""

    def load(make, names=NAMES, compute=compute):
        classifier = region_classifier(load_encoder(folders[make.__name__], compute))
        classifier.set_names(names)
        return classifier

    return load


def boxes(*xyxy):
    return np.array(xyxy, np.float32).reshape(-1, 4)


def best(classifier, probabilities):
    return [classifier.names[i] for i in probabilities.argmax(axis=1)]


def crop_of(image, box):
    [(left, top, right, bottom)] = square_crops(boxes(box), image.shape[1::-1])
    return image[top:bottom, left:right]


def test_a_crop_is_a_square_with_context_around_the_middle_of_the_box():
    crops = square_crops(boxes((100, 200, 200, 250), (300, 100, 320, 300)), (640, 480))
    assert crops.dtype == np.int64
    assert crops.tolist() == [[95, 170, 205, 280], [200, 90, 420, 310]]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 100, 100, 200), [0, 95, 105, 205]),
        ((540, 100, 640, 200), [535, 95, 640, 205]),
        ((100, 0, 200, 100), [95, 0, 205, 105]),
        ((100, 380, 200, 480), [95, 375, 205, 480]),
        ((0, 0, 640, 480), [0, 0, 640, 480]),
    ],
)
def test_a_crop_is_clipped_at_the_border_of_the_image(box, expected):
    assert square_crops(boxes(box), (640, 480)).tolist() == [expected]


@pytest.mark.parametrize("size", [1, 0.25, 0])
@pytest.mark.parametrize(("width", "height"), [(640, 480), (641, 481), (1, 1)])
def test_the_crop_of_a_tiny_box_has_pixels(size, width, height):
    starts = [(x, y) for x in (0, width - size) for y in (0, height - size)]
    tiny = boxes(*((x, y, x + size, y + size) for x, y in starts))
    left, top, right, bottom = square_crops(tiny, (width, height)).T
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (right > left).all()
    assert (bottom > top).all()
    assert (right <= width).all()
    assert (bottom <= height).all()
    assert (right - left <= 2).all()


def test_the_part_of_a_box_outside_the_image_is_ignored():
    inside, beyond = boxes((540, 100, 640, 200), (540, 100, 900, 200))
    crops = square_crops(np.stack([inside, beyond]), (640, 480))
    assert crops[0].tolist() == crops[1].tolist()
    [(left, top, right, bottom)] = square_crops(boxes((700, 500, 800, 600)), (640, 480))
    assert (left, top, right, bottom) == (639, 479, 640, 480)


def test_no_boxes_have_no_crops():
    assert square_crops(boxes(), (640, 480)).shape == (0, 4)


def test_the_embedded_encoder_names_imagenet_classes_with_synonyms(imagenet):
    assert isinstance(imagenet, ImageNetClassifier)
    assert len(imagenet.names) == 1000
    assert imagenet.names[8] == "hen"
    assert imagenet.names[414].startswith("backpack, back pack, knapsack")


def test_a_bus_is_a_kind_of_bus_and_a_tie_a_kind_of_tie(imagenet, bus_image, zidane_image):
    of_bus, of_zidane = imagenet.classify([bus_image, zidane_image], [boxes(BUS), boxes(TIE)])
    [name] = best(imagenet, of_bus)
    assert name.split(", ")[0] in {"minibus", "trolleybus", "school bus"}
    clothing = [
        of_zidane[0, i]
        for i, name in enumerate(imagenet.names)
        if name.split(", ")[0] in {"suit", "Windsor tie", "bow tie", "groom"}
    ]
    assert sum(clothing) > 0.8


def test_probabilities_sum_to_one(imagenet, bus_image):
    [probabilities] = imagenet.classify([bus_image], [boxes(BUS, PERSON)])
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (2, 1000)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_images_in_a_batch_get_the_names_that_they_get_alone(imagenet, bus_image, zidane_image):
    images, regions = [bus_image, zidane_image], [boxes(BUS, PERSON), boxes(TIE)]
    together = imagenet.classify(images, regions)
    alone = [
        imagenet.classify([image], [boxes])[0]
        for image, boxes in zip(images, regions, strict=True)
    ]
    assert [len(probabilities) for probabilities in together] == [2, 1]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_images_without_regions_have_no_names(imagenet, bus_image, zidane_image):
    images = [zidane_image, bus_image, zidane_image]
    before, bus, behind = imagenet.classify(images, [boxes(), boxes(BUS), boxes()])
    assert before.shape == behind.shape == (0, 1000)
    [expected] = imagenet.classify([bus_image], [boxes(BUS)])
    np.testing.assert_array_equal(bus, expected)
    assert imagenet.classify([], []) == []


def test_more_regions_than_a_batch_keep_their_order(imagenet, bus_image):
    count = BATCH_SIZE + 3
    regions = boxes(*((200, top, 500, top + 300) for top in np.linspace(0, 600, count)))
    [many] = imagenet.classify([bus_image], [regions])
    [ends] = imagenet.classify([bus_image], [regions[[0, -1]]])
    assert many.shape == (count, 1000)
    np.testing.assert_allclose(many[[0, -1]], ends, atol=1e-4)
    assert not np.allclose(*ends, atol=0.1)


def test_on_a_cpu_steps_are_small_and_do_not_change_the_names(imagenet, bus_image):
    steps = []

    @contextmanager
    def step(name):
        steps.append(name)
        yield

    regions = boxes(*((200, top, 500, top + 300) for top in range(0, 500, 100)))
    [cut] = imagenet.classify([bus_image], [regions], step)
    [whole] = imagenet.classify([bus_image], [regions])
    assert steps == ["crops"] * math.ceil(len(regions) / CPU_BATCH_SIZE)
    np.testing.assert_array_equal(cut, whole)


def test_pixels_outside_the_crop_do_not_matter(imagenet, bus_image):
    changed = np.zeros_like(bus_image)
    [(left, top, right, bottom)] = square_crops(boxes(PERSON), (810, 1080))
    changed[top:bottom, left:right] = bus_image[top:bottom, left:right]
    before, after = imagenet.classify([bus_image, changed], [boxes(PERSON)] * 2)
    np.testing.assert_allclose(before, after, atol=1e-4)


def test_images_without_an_array_of_regions_are_rejected(imagenet, bus_image):
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        imagenet.classify([bus_image, bus_image], [boxes(BUS)])


def test_half_precision_gives_about_the_same_probabilities(imagenet, bus_image):
    half = region_classifier(load_encoder("efficientnet-lite0", BFLOAT16))
    [expected] = imagenet.classify([bus_image], [boxes(BUS)])
    [probabilities] = half.classify([bus_image], [boxes(BUS)])
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected, atol=0.05)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("make", [clip, siglip])
def test_names_are_as_likely_as_the_whole_model_says(
    make, load_zero_shot, folders, compute, bus_image, zidane_image
):
    classifier = load_zero_shot(make)
    found = classifier.classify([bus_image, zidane_image], [boxes(BUS, PERSON), boxes(TIE)])
    model, _, tokenizer = make()
    model = type(model).from_pretrained(folders[make.__name__])
    crops = [crop_of(bus_image, BUS), crop_of(bus_image, PERSON), crop_of(zidane_image, TIE)]
    inputs = tokenizer(
        ["a photo of a bus", "a photo of a person", "a photo of a traffic light", LONG],
        padding="max_length",
        truncation=True,
        max_length=model.config.text_config.max_position_embeddings,
        return_tensors="pt",
        return_attention_mask=make is clip,
    )
    inputs["pixel_values"] = load_encoder(folders[make.__name__], compute).preprocess(crops)
    with torch.no_grad():
        expected = model(**inputs).logits_per_image.softmax(dim=1)
    assert isinstance(classifier, ZeroShotClassifier)
    assert classifier.names == NAMES
    assert [probabilities.shape for probabilities in found] == [(2, 4), (1, 4)]
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-5)
    assert expected.std(dim=1).min() > 0.01


@pytest.mark.parametrize("make", [clip, siglip])
def test_a_name_does_not_depend_on_the_others_of_its_batch(make, load_zero_shot, bus_image):
    many = [f"{letter}us" for letter in "abcdefghijklmnopqrstuvwxyz"] * 2
    assert len(many) > BATCH_SIZE
    [of_many] = load_zero_shot(make, many).classify([bus_image], [boxes(BUS)])
    pair = load_zero_shot(make, ["bus", "zus"])
    [of_pair] = pair.classify([bus_image], [boxes(BUS)])
    np.testing.assert_allclose(of_many[:, :26], of_many[:, 26:], rtol=1e-4)
    assert of_many[0, 1] / of_many[0, 25] == pytest.approx(of_pair[0, 0] / of_pair[0, 1], rel=1e-3)


def test_names_can_be_set_again(load_zero_shot, bus_image):
    classifier = load_zero_shot(clip)
    [before] = classifier.classify([bus_image], [boxes(BUS)])
    classifier.set_names(["bus"])
    [one] = classifier.classify([bus_image], [boxes(BUS)])
    assert one.tolist() == [[1.0]]
    classifier.set_names(NAMES)
    [after] = classifier.classify([bus_image], [boxes(BUS)])
    np.testing.assert_array_equal(before, after)


def test_without_names_nothing_can_be_classified(folders, compute, bus_image):
    classifier = region_classifier(load_encoder(folders["clip"], compute))
    assert classifier.names == ()
    with pytest.raises(ValueError, match="call set_names first"):
        classifier.classify([bus_image], [boxes(BUS)])
    with pytest.raises(ValueError, match="no names to choose from"):
        classifier.set_names([])


@pytest.mark.parametrize("make", [clip, siglip])
def test_zero_shot_computes_in_half_precision(make, load_zero_shot, bus_image):
    [expected] = load_zero_shot(make).classify([bus_image], [boxes(BUS, PERSON)])
    half = load_zero_shot(make, compute=BFLOAT16)
    [probabilities] = half.classify([bus_image], [boxes(BUS, PERSON)])
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected, atol=0.05)


def test_the_tokens_of_an_encoder_stay_the_same_with_a_classifier(folders, compute, bus_image):
    encoder = load_encoder(folders["clip"], compute)
    pixel_values = encoder.preprocess([bus_image])
    before = encoder(pixel_values)
    region_classifier(encoder).set_names(NAMES)
    assert encoder(pixel_values).equal(before)


@pytest.mark.parametrize("name", ["siglip_vision", "dinov2", "vit"])
def test_an_encoder_without_text_encoder_has_no_classifier(name, folders, compute):
    assert region_classifier(load_encoder(folders[name], compute)) is None


def test_a_network_with_other_classes_has_no_classifier():
    network = timm.create_model("tf_efficientnet_lite0", num_classes=10)
    inputs = NetworkInput((64, 64), (0.5,) * 3, (0.5,) * 3)
    assert region_classifier(VisualEncoder(network, inputs, "ten", "")) is None


@pytest.mark.parametrize("make", [clip, siglip])
def test_a_model_without_tokenizer_is_named_with_the_parameter(make, tmp_path, compute):
    model, processor, _ = make()
    for part in (model, processor):
        part.save_pretrained(tmp_path)
    assert_rejected(tmp_path, compute, "tokenizer")


def test_a_model_without_text_weights_is_named_with_the_parameter(tmp_path, compute):
    for part in clip():
        part.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    stored = load_file(file)
    del stored["text_projection.weight"]
    save_file(stored, file, metadata={"format": "pt"})
    assert_rejected(tmp_path, compute, "no weights for text_projection.weight")


def assert_rejected(folder, compute, reason=None):
    encoder = load_encoder(folder, compute)
    with pytest.raises(VisualEncoderError, match=reason) as error:
        region_classifier(encoder)
    message = str(error.value)
    assert message.startswith(f"the text encoder '{folder}' cannot be loaded: ")
    assert message.endswith(". Name another with the parameter visual_encoder.model")
