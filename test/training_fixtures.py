# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests of training, datasets and evaluation."""

import pytest
import torch
from making import detector_stub, open_up, tiny_llama

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.datasets.synthetic import synthetic_example
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.model.modeling_mrmllm import MrMllm
from mrmllm_ros.model.processing_mrmllm import MrMllmProcessor
from mrmllm_ros.model.prompt import PromptSettings
from mrmllm_ros.training.collator import Collator
from mrmllm_ros.training.mixture import Batches, Source


@pytest.fixture(scope="session")
def load_tiny(language_model):
    """Function that makes a small random language model, always the same."""

    def load():
        torch.manual_seed(1)
        tokenizer = language_model.tokenizer
        model = tiny_llama(len(tokenizer))
        model.name_or_path = "tiny"
        return LanguageModel(model, tokenizer, "1")

    return load


@pytest.fixture(scope="session")
def tiny(load_tiny):
    """Backbones around it, without a visual encoder."""
    return Backbones(load_tiny(), detector_stub())


@pytest.fixture(scope="session")
def make_answerer(tiny):
    """Function that makes an answerer without zero-initialized parts, as after training."""

    def make(backbones=tiny, **choices):
        torch.manual_seed(2)
        config = MrMllm.configure(backbones, **{"query_fusion": False, **choices})
        model = MrMllm(config, backbones)
        open_up(model)
        return MrMllmAnswerer(model, backbones, PromptSettings())

    return make


@pytest.fixture
def make_batches(load_tiny):
    """Function that makes a small model, its collator, and batches of synthetic scenes."""

    def make(settings, **choices):
        # Its own: adapters are put into it.
        tiny = Backbones(load_tiny(), detector_stub())
        torch.manual_seed(settings.seed)
        switches = {"query_fusion": False, "doubtful_objects": True}
        config = MrMllm.configure(tiny, **switches, **choices)
        processor = MrMllmProcessor(config, tiny, PromptSettings())
        collate = Collator(processor, tiny.language_model, config.attributes)
        batches = Batches(
            {"synthetic": Source(1.0, lambda n: synthetic_example(n % 20, "train", 3), False)},
            collate,
            settings.drop,
            batch_size=settings.batch_size,
            perception_batch_size=settings.perception_batch_size,
            seed=settings.seed,
        )
        return MrMllm(config, tiny), collate, batches

    return make
