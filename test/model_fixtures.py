# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests of model and answering."""

import pytest
import torch
from making import PERCEPTION_WIDTH, detector_stub, open_up, tiny_llama

from mrmllm_ros import environment
from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.model_settings import VisualEncoderSettings
from mrmllm_ros.model.modeling_mrmllm import MrMllm
from mrmllm_ros.model.prompt import PromptSettings
from mrmllm_ros.model.visual_encoder import VisualEncoder


@pytest.fixture(scope="session")
def visual_encoder(compute):
    """The embedded visual encoder."""
    return VisualEncoder.load(VisualEncoderSettings(), compute)


@pytest.fixture(scope="session")
def backbones(language_model, visual_encoder):
    """The embedded language model and visual encoder."""
    return Backbones(language_model, detector_stub(), visual_encoder)


@pytest.fixture
def tiny_backbones(language_model, visual_encoder):
    """Function that makes backbones with a small random language model."""

    def make(family=tiny_llama, width=PERCEPTION_WIDTH):
        torch.manual_seed(1)
        tokenizer = language_model.tokenizer
        model = family(len(tokenizer))
        model.name_or_path = "tiny"
        return Backbones(
            LanguageModel(model, tokenizer, "1"), detector_stub(width), visual_encoder
        )

    return make


@pytest.fixture
def make_model():
    """Function that makes a model without zero-initialized parts, as after training."""

    def make(backbones, opened=True, **choices):
        torch.manual_seed(2)
        model = MrMllm(MrMllm.configure(backbones, **choices), backbones)
        if opened:
            open_up(model)
        return model

    return make


@pytest.fixture
def make_answerer(make_model):
    """Function that makes an answerer with such a model."""

    def make(backbones, opened=True, **choices):
        model = make_model(backbones, opened, **choices)
        return MrMllmAnswerer(model, backbones, PromptSettings())

    return make


@pytest.fixture
def tiny_language_model(tiny_backbones):
    return tiny_backbones().language_model


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Folder of the cached scores of labels, in a home of the test."""
    monkeypatch.setenv("MRMLLM_HOME", str(tmp_path))
    environment.cache_folder.cache_clear()
    yield tmp_path / "cache" / "label_scores"
    environment.cache_folder.cache_clear()
