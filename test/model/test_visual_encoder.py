# SPDX-License-Identifier: Apache-2.0
import shutil

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from transformers import (
    BitImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    SwinConfig,
    SwinModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from mrmllm_ros import weights
from mrmllm_ros.compute import Compute
from mrmllm_ros.model.model_settings import VisualEncoderSettings
from mrmllm_ros.model.visual_encoder import (
    VisualEncoder,
    VisualEncoderError,
    fold_normalization,
)
from mrmllm_ros.weights.catalog import CATALOG

LAYERS = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
VISION = LAYERS | {"image_size": 32, "patch_size": 8}
TEXT = LAYERS | {"vocab_size": 50}
SQUARE = {"height": 32, "width": 32}


def clip():
    return CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT)), CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size=SQUARE
    )


def siglip():
    model = SiglipModel(SiglipConfig(vision_config=VISION, text_config=TEXT))
    return model, SiglipImageProcessor(size=SQUARE)


def siglip_vision():
    return SiglipVisionModel(SiglipVisionConfig(**VISION)), SiglipImageProcessor(size=SQUARE)


def dinov2():
    # Trained on larger images than its image processor makes, as the published ones are.
    model = Dinov2Model(Dinov2Config(**VISION | {"image_size": 64}))
    return model, BitImageProcessor(size={"shortest_edge": 40}, crop_size=SQUARE)


def dinov2_with_registers():
    model = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**VISION, num_register_tokens=4))
    return model, BitImageProcessor(size={"shortest_edge": 40}, crop_size=SQUARE)


def vit():
    return ViTForImageClassification(ViTConfig(**VISION)), ViTImageProcessor(size=SQUARE)


def oblong_vit():
    size = (16, 32)
    processor = ViTImageProcessor(size=dict(zip(("height", "width"), size, strict=True)))
    return ViTForImageClassification(ViTConfig(**VISION | {"image_size": size})), processor


def swin():
    config = SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=4
    )
    return SwinModel(config), ViTImageProcessor(size=SQUARE)


TRANSFORMERS = {
    function.__name__: function
    for function in (clip, siglip, siglip_vision, dinov2, dinov2_with_registers, vit)
}


@pytest.fixture
def save(tmp_path):
    """Saves a randomly initialized model with its image processor, and gives the folder."""

    def save(make):
        torch.manual_seed(0)
        folder = tmp_path / make.__name__
        for part in make():
            part.save_pretrained(folder)
        return folder

    return save


def load(model, compute):
    return VisualEncoder.load(VisualEncoderSettings(model=str(model)), compute)


@pytest.fixture(scope="module")
def encoder(compute):
    return VisualEncoder.load(VisualEncoderSettings(), compute)


@pytest.fixture(scope="module")
def bus_tokens(encoder, bus_image):
    return encoder(encoder.preprocess([bus_image]))


def test_the_embedded_encoder_says_who_it_is(encoder):
    assert encoder.name == "efficientnet-lite0"
    assert encoder.revision == CATALOG["efficientnet-lite0"].revision == "0.1.0.1"


def test_an_image_becomes_a_grid_of_tokens(encoder, bus_tokens):
    assert (encoder.grid, encoder.width) == ((7, 7), 1280)
    assert bus_tokens.shape == (1, 49, 1280)
    assert bus_tokens.isfinite().all()
    assert not bus_tokens[0, 0].allclose(bus_tokens[0, -1])


def test_images_in_a_batch_get_the_tokens_that_they_get_alone(
    encoder, bus_image, zidane_image, bus_tokens
):
    both = encoder(encoder.preprocess([bus_image, zidane_image]))
    alone = encoder(encoder.preprocess([zidane_image]))
    torch.testing.assert_close(both, torch.cat([bus_tokens, alone]), rtol=1e-3, atol=1e-3)
    assert not both[0].allclose(both[1], atol=0.1)


def test_no_images_have_no_tokens(encoder):
    pixels = encoder.preprocess([])
    assert pixels.shape == (0, 3, 224, 224)
    assert encoder(pixels).shape == (0, 49, 1280)


def test_colors_are_red_green_blue_and_normalized(encoder):
    blue = np.zeros((20, 30, 3), np.uint8)
    blue[..., 0] = 255
    [pixels] = encoder.preprocess([blue])
    low, high = -127 / 128, 1.0
    expected = torch.tensor([low, low, high]).reshape(3, 1, 1).expand(3, 224, 224)
    torch.testing.assert_close(pixels, expected)


@pytest.mark.parametrize("shape", [(2240, 448), (56, 448), (112, 56)])
def test_a_box_keeps_its_share_of_the_image(encoder, shape):
    height, width = shape
    image = np.zeros((height, width, 3), np.uint8)
    image[height // 4 : height // 2, : width // 2] = 255
    bright = encoder.preprocess([image])[0, 0] > 0
    rows, columns = (bright.any(axis).nonzero() for axis in (1, 0))
    assert rows.min() == pytest.approx(56, abs=1)
    assert rows.max() == pytest.approx(111, abs=1)
    assert (columns.min(), columns.max()) == (0, pytest.approx(111, abs=1))


def test_fine_patterns_are_averaged_when_an_image_shrinks(encoder):
    # Eight pixels become one. The four in the middle, all black, do not stand for all of them.
    stripes = np.zeros((224, 224 * 8, 3), np.uint8)
    stripes.reshape(224, 224, 8, 3)[:, :, [0, 1, 6, 7]] = 255
    pixels = encoder.preprocess([stripes])
    assert pixels.abs().max() < 0.1


def test_tokens_stand_row_by_row(encoder):
    image = np.zeros((224, 224, 3), np.uint8)
    changed = image.copy()
    changed[100:124, 196:220] = 255  # around the middle of row 3, column 6 of the grid
    before, after = encoder(encoder.preprocess([image, changed]))
    distances = (after - before).norm(dim=1).reshape(encoder.grid)
    row, column = divmod(int(distances.argmax()), 7)
    assert row == 3
    assert column >= 5


def test_the_encoder_is_frozen_within_a_module_that_trains(encoder, bus_image, bus_tokens):
    whole = torch.nn.Sequential(encoder).train()
    assert whole.training
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in whole.parameters())
    pixels = encoder.preprocess([bus_image]).requires_grad_()
    tokens = encoder(pixels)
    assert not tokens.requires_grad
    assert tokens.equal(bus_tokens)


def test_it_computes_in_the_precision_that_is_asked_for(bus_image, bus_tokens):
    compute = Compute(torch.device("cpu"), torch.bfloat16, 0)
    encoder = VisualEncoder.load(VisualEncoderSettings(), compute)
    pixels = encoder.preprocess([bus_image])
    tokens = encoder(pixels)
    assert pixels.dtype == tokens.dtype == torch.bfloat16
    similarity = torch.cosine_similarity(tokens.float(), bus_tokens, dim=-1)
    assert similarity.mean() > 0.95


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_vision_transformer_gives_its_patches_only(name, save, compute, bus_image):
    encoder = load(save(TRANSFORMERS[name]), compute)
    assert (encoder.name, encoder.revision) == (name, "")
    assert (encoder.grid, encoder.width) == ((4, 4), 16)
    pixels = encoder.preprocess([bus_image])
    assert pixels.shape == (1, 3, 32, 32)
    tokens = encoder(pixels)
    assert tokens.shape == (1, 16, 16)
    assert not tokens.requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize(
    ("make", "others"),
    [(clip, 1), (siglip, 0), (dinov2, 1), (dinov2_with_registers, 5), (vit, 1)],
)
def test_class_and_register_tokens_are_left_out(make, others, save, compute, bus_image):
    folder = save(make)
    encoder = load(folder, compute)
    pixels = encoder.preprocess([bus_image])
    torch.manual_seed(0)
    model, _ = make()
    model = model.eval().from_pretrained(folder)
    tower = getattr(model, "vision_model", getattr(model, "vit", model))
    with torch.no_grad():
        everything = tower(pixel_values=pixels).last_hidden_state
    assert everything.shape[1] == 16 + others
    torch.testing.assert_close(encoder(pixels), everything[:, others:])


def test_mean_and_deviation_are_those_of_the_image_processor(save, compute):
    image = np.full((32, 32, 3), 255, np.uint8)
    _, processor = clip()
    [expected] = processor(image, return_tensors="pt")["pixel_values"]
    [pixels] = load(save(clip), compute).preprocess([image])
    torch.testing.assert_close(pixels, expected)


def test_an_image_processor_that_does_not_normalize_is_followed(save, compute):
    def plain_vit():
        return vit()[0], ViTImageProcessor(size=SQUARE, do_normalize=False)

    image = np.zeros((32, 32, 3), np.uint8)
    assert load(save(plain_vit), compute).preprocess([image]).unique().tolist() == [0.0]


def test_a_grid_has_as_many_rows_and_columns_as_the_input_has_patches(save, compute, bus_image):
    encoder = load(save(oblong_vit), compute)
    assert encoder.grid == (2, 4)
    assert encoder(encoder.preprocess([bus_image])).shape == (1, 8, 16)


def test_a_model_of_the_hub_is_known_by_its_commit(save, compute, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--mrmllm-test--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    shutil.copytree(save(vit), repository / "snapshots" / commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    encoder = load("mrmllm-test/tiny", compute)
    assert (encoder.name, encoder.revision) == ("tiny", commit)


@pytest.mark.parametrize("name", ["/nowhere/model", "./nowhere", "~/nowhere"])
def test_a_missing_folder_is_named(name, compute, monkeypatch):
    monkeypatch.setenv("HOME", "/root-of-nobody")
    expected = name.replace("~", "/root-of-nobody").removeprefix("./")
    with pytest.raises(VisualEncoderError) as error:
        load(name, compute)
    assert str(error.value) == f"visual_encoder.model: the folder {expected} does not exist"


def test_an_embedded_model_of_another_kind_is_refused(compute):
    with pytest.raises(
        VisualEncoderError, match=r"visual_encoder\.model: nanodet-g is a detector"
    ):
        load("nanodet-g", compute)


def test_an_embedded_model_that_is_not_fetched_is_named_with_the_command(
    compute, tmp_path, monkeypatch
):
    monkeypatch.setenv("MRMLLM_HOME", str(tmp_path))
    with pytest.raises(weights.WeightsError, match="run `mrmllm models fetch efficientnet-lite0"):
        load("efficientnet-lite0", compute)


def assert_refused(model, compute, reason=None):
    with pytest.raises(VisualEncoderError, match=reason) as error:
        load(model, compute)
    message = str(error.value)
    assert message.startswith(f"the visual encoder '{model}' cannot be loaded: ")
    assert message.endswith(". Name another with the parameter visual_encoder.model")
    assert "\n" not in message


def test_a_model_that_cannot_be_had_is_named_with_the_parameter(compute):
    assert_refused("mrmllm-test/nowhere", compute, "mrmllm-test/nowhere")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.json", None),
        ("config.json", "{"),
        ("preprocessor_config.json", None),
        ("model.safetensors", None),
        ("model.safetensors", "not weights"),
    ],
)
def test_a_folder_that_lacks_a_file_or_has_a_damaged_one_is_named(file, text, save, compute):
    folder = save(vit)
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text)
    assert_refused(folder, compute)


def test_pickled_weights_are_not_read(save, compute):
    folder = save(vit)
    (folder / "model.safetensors").unlink()
    model, _ = vit()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert_refused(folder, compute, "safetensors")


def test_a_model_that_lacks_weights_is_not_filled_up_with_random_ones(save, compute):
    from safetensors.torch import load_file, save_file

    file = save(vit) / "model.safetensors"
    stored = load_file(file)
    del stored["vit.layernorm.weight"]
    save_file(stored, file, metadata={"format": "pt"})
    assert_refused(file.parent, compute, "no weights for .*layernorm.weight")


def test_a_model_without_a_token_for_each_patch_is_refused(save, compute):
    assert_refused(save(swin), compute, "16 tokens are less than the 8 x 8 patches")


def test_a_model_that_takes_other_sizes_than_its_image_processor_makes_is_refused(save, compute):
    def unfit():
        return vit()[0], ViTImageProcessor(size={"height": 48, "width": 48})

    assert_refused(save(unfit), compute, "48")


def normalize_randomly(network):
    """Give batch normalizations random statistics and weights."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                torch.nn.init.uniform_(tensor, 0.5, 1.5)


def test_folded_normalization_gives_the_same_output_and_keeps_activations():
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    with torch.no_grad():
        normalize_randomly(network)
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        expected = network.forward_features(images)
        fold_normalization(network)
        found = network.forward_features(images)
    assert not [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.std()))


def test_normalization_without_a_convolution_before_it_stays():
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Conv2d(3, 4, 1)).eval()
    fold_normalization(network)
    assert [type(layer) for layer in network] == [torch.nn.BatchNorm2d, torch.nn.Conv2d]


def test_the_embedded_network_has_the_layout_of_the_processors_kernels(compute):
    network = VisualEncoder.load(VisualEncoderSettings(), compute).network
    weights = [m.weight for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)


@pytest.fixture(scope="module")
def plain_network():
    """The embedded network as timm loads it."""
    folder = weights.locate(VisualEncoderSettings().model)
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


def test_the_embedded_network_agrees_with_that_of_timm(compute, plain_network, bus_image):
    encoder = VisualEncoder.load(VisualEncoderSettings(), compute)
    crops = encoder.preprocess([bus_image, bus_image[::2, :400]], (160, 160))
    with torch.inference_mode():
        found = encoder.network(crops).softmax(1)
        expected = plain_network(crops).softmax(1)
        tokens = plain_network.forward_features(encoder.preprocess([bus_image]))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(
        encoder(encoder.preprocess([bus_image])),
        tokens.flatten(2).transpose(1, 2),
        rtol=1e-3,
        atol=1e-3,
    )
