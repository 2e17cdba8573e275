# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys
from dataclasses import replace
from threading import Event
from types import SimpleNamespace

import pytest
import timm
import torch
from fakes import FakeAnswerer
from making import LABELS, detector_stub, tiny_llama

from mrmllm_ros.engine import answerer_loading
from mrmllm_ros.engine.answerer_loading import load_backbones, load_label_fusion
from mrmllm_ros.engine.engine_settings import Settings
from mrmllm_ros.engine.loading_answerer import LoadingAnswerer
from mrmllm_ros.engine.models import Models
from mrmllm_ros.model import label_fusion
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.label_fusion import LabelFusion
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

    def record(self, detector, classifier, knowledge, max_crops, context):
        vars(self).update(locals())
        created.append(self)

    monkeypatch.setattr(LabelFusion, "__init__", record)
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
    monkeypatch.setattr(LanguageModel, "load", lambda settings, *_: settings.model)
    monkeypatch.setattr(VisualEncoder, "load", lambda settings, compute: settings.model)
    settings = Settings.from_dotted({"mrmllm.checkpoint": ""} | switch)
    lines = []
    backbones = load_backbones(settings, compute, detector_stub(), lines.append)
    assert backbones.language_model == settings.language_model.model
    assert backbones.visual_encoder == (settings.visual_encoder.model if loaded else None)
    assert len(lines) == 1 + loaded
    assert lines[0].startswith(f"loaded language model {settings.language_model.model} in ")


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
        label_fusion, "region_classifier", lambda encoder: FakeZeroShotClassifier()
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
    ("has_adapters", "copies"), [(False, 0), (True, 1)], ids=["untrained", "with adapters"]
)
def test_labels_are_learned_from_the_float_language_model_without_adapters(
    has_adapters, copies, backbones, created, make_language_model, monkeypatch
):
    loaded = []

    def load(settings, compute):
        assert settings.quantization == "none"
        loaded.append(settings.model)
        return make_language_model()

    monkeypatch.setattr(LanguageModel, "load", load)
    settings = Settings.from_dotted({"compute.device": "cpu"})
    changed = make_language_model()
    changed.has_adapters = has_adapters
    fusion = load_label_fusion(settings, replace(backbones, language_model=changed))
    assert loaded == []
    stop = Event()
    stop.set()
    for knowledge in (fusion.knowledge, fusion.context.make_knowledge("a ward")):
        loaded.clear()
        knowledge.learn(["forklift"], stop)
        assert loaded == [settings.language_model.model] * copies
    assert fusion.context.make_knowledge("a ward").names[0] == "a ward"


def test_the_context_of_the_settings_is_known_once_the_answerer_is_loaded(
    backbones, monkeypatch, compute
):
    calls = []
    context = SimpleNamespace(
        set_context=lambda text: calls.append(text), wait=lambda: calls.append("waited")
    )
    fusion = SimpleNamespace(context=context)
    monkeypatch.setattr(answerer_loading, "load_backbones", lambda *_: backbones)
    monkeypatch.setattr(answerer_loading, "load_label_fusion", lambda *_: fusion)
    settings = Settings.from_dotted({"mrmllm.context": "a ward", "mrmllm.checkpoint": ""})
    length = answerer_loading.load_answerer(settings, compute, None).system_prompt_length
    assert calls == ["a ward", "waited"]
    settings = Settings.from_dotted({"mrmllm.checkpoint": ""})
    assert answerer_loading.load_answerer(settings, compute, None).system_prompt_length < length


def test_the_answerer_of_the_embedded_models_corrects_labels():
    loaded = Models.load(Settings.from_dotted({"compute.device": "cpu"}))
    fusion = loaded.answerer.label_fusion
    assert fusion.labels == loaded.detector.labels == loaded.answerer.labels
    # Known from the package.
    assert fusion.knowledge.missing(fusion.labels) == ()


DETECTOR_ONLY = """
import json, sys
import numpy as np
from mrmllm_ros.engine.engine import Engine
from mrmllm_ros.engine.engine_settings import Settings
from mrmllm_ros.engine.models import Models

def loaded():
    return [name for name in json.loads(sys.argv[1]) if name in sys.modules]

before = loaded()
models = Models.load(Settings.from_dotted({"answerer": "none", "compute.device": "cpu"}))
[perception] = models.detector.detect([np.zeros((48, 64, 3), np.uint8)])
assert perception.features is not None
print(json.dumps([models.answerer is None, before, loaded()]))
"""
# Each takes up to seconds and 150 MiB.
HEAVY = (
    *("transformers", "timm", "peft", "torchvision", "huggingface_hub", "accelerate"),
    *("torch._dynamo", "sympy", "matplotlib", "pandas", "polars", "onnx"),
)


def test_a_detector_without_an_answerer_loads_none_of_the_answerers_libraries():
    result = subprocess.run(
        [sys.executable, "-c", DETECTOR_ONLY, json.dumps([*HEAVY, "torch", "ultralytics"])],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr
    without_answerer, before, after = json.loads(result.stdout.splitlines()[-1])
    assert without_answerer
    assert before == []
    assert after == ["torch", "ultralytics"]


def test_an_answerer_is_loaded_in_the_background_if_asked_for(monkeypatch):
    loaded, release = FakeAnswerer(), Event()

    def load_answerer(settings, compute, detector, progress):
        assert release.wait(60)
        progress("loaded")
        return loaded

    monkeypatch.setattr(answerer_loading, "load_answerer", load_answerer)
    lines = []
    settings = Settings.from_dotted({"compute.device": "cpu"})
    models = Models.load(settings, lines.append, in_background=True)
    assert isinstance(models.answerer, LoadingAnswerer)
    assert models.answerer.name == "smollm2-135m-instruct"
    assert [line.split(" in ")[0] for line in lines] == ["loaded detector nanodet-g"]
    release.set()
    models.wait()
    assert models.answerer.name == loaded.name
    assert lines[1:] == ["loaded"]
    assert Models.load(settings).answerer is loaded
