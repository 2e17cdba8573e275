# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from threading import Event
from types import SimpleNamespace

import pytest
import timm
import torch
from making import LABELS, detector_stub, tiny_llama

from mrmllm_ros.engine import answerer_loading
from mrmllm_ros.engine.answerer_loading import load_backbones, load_label_fusion
from mrmllm_ros.engine.engine_settings import Settings
from mrmllm_ros.engine.models import Models
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.model_settings import VisualEncoderSettings
from mrmllm_ros.model.region_classifier import ImageNetClassifier, ZeroShotClassifier
from mrmllm_ros.model.visual_encoder import NetworkInput, VisualEncoder
from mrmllm_ros.settings import SettingsError

DETECTOR = {"detector.model": "yolo.onnx"}
ENCODER = {"visual_encoder.model": "google/siglip-base-patch16-224"}
LANGUAGE_MODEL = {"language_model.model": "Qwen/Qwen2.5-0.5B-Instruct"}
ALWAYS, NEVER = {"evidence.visual_labels": "always"}, {"evidence.visual_labels": "never"}


class FakeZeroShotClassifier(ZeroShotClassifier):
    """Has names only."""

    def __init__(self):
        self.names = ()

    def set_names(self, names):
        self.names = tuple(names)


@pytest.fixture
def make_language_model(language_model):
    """Function that makes a small random language model."""

    def make():
        torch.manual_seed(1)
        model = tiny_llama(len(language_model.tokenizer))
        model.name_or_path = "tiny"
        return LanguageModel(model, language_model.tokenizer, "1")

    return make


@pytest.fixture
def backbones(make_language_model, compute):
    """The embedded visual encoder, and a small language model."""
    encoder = VisualEncoder.load(VisualEncoderSettings(), compute)
    return Backbones(make_language_model(), detector_stub(), encoder)


@pytest.fixture
def created(monkeypatch):
    """Arguments of the created label fusions, which learn nothing."""
    created = []

    def create(detector, classifier, knowledge, max_crops):
        created.append(SimpleNamespace(**locals()))
        return created[-1]

    monkeypatch.setattr(answerer_loading, "LabelFusion", create)
    return created


@pytest.mark.parametrize(
    ("values", "used"),
    [
        ({}, True),
        (LANGUAGE_MODEL, True),
        (DETECTOR, False),
        (ENCODER, False),
        (NEVER, False),
        (DETECTOR | ENCODER | ALWAYS, True),
        ({"answerer": "hf_vlm"}, False),
        ({"answerer": "hf_vlm"} | ALWAYS, False),
    ],
)
def test_visual_labels_are_used_with_the_models_that_they_were_fitted_with_or_on_demand(
    values, used
):
    assert Settings.from_dotted(values).uses_visual_labels is used


def test_other_values_of_visual_labels_are_rejected():
    with pytest.raises(SettingsError, match="is not one of auto, always, never"):
        Settings.from_dotted({"evidence.visual_labels": "on"})
    with pytest.raises(SettingsError, match="max_crops: -1 is below the minimum of 0"):
        Settings.from_dotted({"evidence.max_crops": -1})


@pytest.mark.parametrize(("switch", "loaded"), [(ALWAYS, True), (NEVER, False)])
def test_the_visual_encoder_is_loaded_only_if_something_needs_it(
    switch, loaded, monkeypatch, compute
):
    monkeypatch.setattr(
        Backbones, "load", lambda detector, language, encoder, compute: encoder is not None
    )
    settings = Settings.from_dotted({"mrmllm.checkpoint": ""} | switch)
    assert load_backbones(settings, compute, detector_stub()) is loaded


def test_labels_are_corrected_with_the_names_of_the_encoder(backbones, created):
    settings = Settings.from_dotted({"evidence.max_crops": 5})
    fusion = load_label_fusion(settings, backbones)
    assert created == [fusion]
    assert fusion.detector is backbones.detector
    assert isinstance(fusion.classifier, ImageNetClassifier)
    assert fusion.knowledge.names == fusion.classifier.names
    assert fusion.max_crops == 5


@pytest.mark.usefixtures("created")
def test_labels_are_not_corrected_if_visual_labels_are_off(backbones):
    assert load_label_fusion(Settings.from_dotted(NEVER), backbones) is None


def test_the_names_of_an_encoder_with_text_encoder_are_the_labels(backbones, monkeypatch):
    monkeypatch.setattr(
        answerer_loading, "region_classifier", lambda encoder: FakeZeroShotClassifier()
    )
    fusion = load_label_fusion(Settings.from_dotted(ENCODER | ALWAYS), backbones)
    assert fusion.knowledge is None
    assert fusion.classifier.names == fusion.labels == LABELS


def test_an_encoder_that_cannot_name_regions_is_an_error_that_names_the_fix(backbones):
    network = timm.create_model("tf_efficientnet_lite0", num_classes=10)
    inputs = NetworkInput((64, 64), (0.5,) * 3, (0.5,) * 3)
    encoder = VisualEncoder(network, inputs, "ten-classes", "")
    with pytest.raises(SettingsError) as error:
        load_label_fusion(Settings(), replace(backbones, visual_encoder=encoder))
    message = str(error.value)
    assert "the visual encoder ten-classes cannot name regions" in message
    for fix in ("evidence.visual_labels to never", "visual_encoder.model to efficientnet-lite0"):
        assert fix in message


@pytest.mark.parametrize(
    ("checkpoint", "copies"), [("", 0), ("embedded", 1)], ids=["untrained", "with adapters"]
)
def test_labels_are_learned_from_the_language_model_without_adapters(
    checkpoint, copies, backbones, created, make_language_model, monkeypatch
):
    loaded = []

    def load(settings, compute):
        loaded.append(settings.model)
        return make_language_model()

    monkeypatch.setattr(LanguageModel, "load", load)
    settings = Settings.from_dotted({"mrmllm.checkpoint": checkpoint, "compute.device": "cpu"})
    fusion = load_label_fusion(settings, backbones)
    assert loaded == []
    stop = Event()
    stop.set()
    fusion.knowledge.learn(["forklift"], stop)
    assert loaded == [settings.language_model.model] * copies


def test_the_answerer_of_the_embedded_models_corrects_labels():
    loaded = Models.load(Settings.from_dotted({"compute.device": "cpu"}))
    fusion = loaded.answerer.label_fusion
    assert fusion.labels == loaded.detector.labels == loaded.answerer.labels
    # Known from the package.
    assert fusion.knowledge.missing(fusion.labels) == ()
