# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch
import torch.nn.functional as F

from mrmllm_ros.weights import efficientnet, locate


@pytest.mark.parametrize(
    ("origin", "timm"),
    [
        ("_conv_stem.weight", "conv_stem.weight"),
        ("_bn0.running_mean", "bn1.running_mean"),
        ("_blocks.0._depthwise_conv.weight", "blocks.0.0.conv_dw.weight"),
        ("_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
        ("_blocks.1._bn0.weight", "blocks.1.0.bn1.weight"),
        ("_blocks.4._project_conv.weight", "blocks.2.1.conv_pwl.weight"),
        ("_blocks.15._bn2.bias", "blocks.6.0.bn3.bias"),
        ("_conv_head.weight", "conv_head.weight"),
        ("_fc.bias", "classifier.bias"),
    ],
)
def test_names_are_translated_to_those_of_timm(origin, timm):
    assert efficientnet.timm_name(origin) == timm


def test_a_state_dictionary_is_converted(tmp_path):
    from safetensors.torch import load_file

    weights = torch.arange(6.0).reshape(2, 3).T
    torch.save({"_fc.weight": weights}, tmp_path / "origin.pth")
    efficientnet.convert({"origin.pth": tmp_path / "origin.pth"}, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    torch.testing.assert_close(stored, {"classifier.weight": weights})


def test_a_pickle_that_could_run_code_is_rejected(tmp_path):
    import pickle

    torch.save({"_fc.weight": print}, tmp_path / "origin.pth")
    with pytest.raises(pickle.UnpicklingError):
        efficientnet.convert({"origin.pth": tmp_path / "origin.pth"}, tmp_path)


@pytest.fixture(scope="module")
def folder():
    return locate("efficientnet-lite0")


@pytest.fixture(scope="module")
def model(folder):
    import timm

    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


@pytest.fixture(scope="module")
def images(folder):
    """(1, 3, 224, 224) bus picture, normalized as in the configuration."""
    import cv2
    from ultralytics.utils import ASSETS

    config = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    picture = cv2.cvtColor(cv2.imread(str(ASSETS / "bus.jpg")), cv2.COLOR_BGR2RGB)
    square = torch.from_numpy(picture[135:945]).permute(2, 0, 1)[None] / 255
    resized = F.interpolate(square, config["input_size"][1:], mode="bilinear", antialias=True)
    mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))
    return (resized - mean) / std


def test_timm_loads_every_weight_by_its_name(folder):
    import timm
    from safetensors.torch import load_file

    model = timm.create_model(efficientnet.ARCHITECTURE, pretrained=False)
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)


@torch.inference_mode()
def test_features_are_a_grid_of_1280_channels(model, images):
    assert model.forward_features(images).shape == (1, 1280, 7, 7)


@torch.inference_mode()
def test_the_classifier_calls_the_bus_a_bus(model, images):
    from timm.data import ImageNetInfo

    best = model(images).softmax(1)[0].topk(3).indices.tolist()
    names = [ImageNetInfo().index_to_description(index) for index in best]
    assert any("bus" in name for name in names), names


def test_the_configuration_scales_bytes_by_127_and_128(model):
    assert model.pretrained_cfg["architecture"] == "tf_efficientnet_lite0"
    mean, std = (model.pretrained_cfg[name][0] * 255 for name in ("mean", "std"))
    assert (mean, std) == (pytest.approx(127), pytest.approx(128))
