# SPDX-License-Identifier: Apache-2.0
import logging

import pytest
import torch
from int8_models import tiny

from mrmllm_ros.model import quantization
from mrmllm_ros.model.quantization import load_int8

TOKENS = torch.arange(8)[None]


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Names of the models that have been loaded in float32; the cache is an empty folder."""
    monkeypatch.setattr(quantization, "cache_folder", lambda: tmp_path)
    return []


@pytest.fixture
def load(made):
    """Function that loads the int8 copy of a small model."""

    def make(key="1", name="tiny"):
        def load_float():
            made.append(name)
            return tiny("llama")

        return load_int8(name, key, 1, load_float)

    return make


def logits(model):
    with torch.inference_mode():
        return model(input_ids=TOKENS).logits


def test_a_copy_is_made_once(load, made, caplog):
    caplog.set_level(logging.INFO)
    first, second = load(), load()
    assert made == ["tiny"]
    assert torch.equal(logits(first), logits(second))
    assert caplog.text.count("quantizing tiny to int8, once") == 1


def test_other_weights_get_another_copy(load, made):
    load("1")
    load("2")
    assert made == ["tiny", "tiny"]


@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_a_damaged_copy_is_made_again(load, made, tmp_path, caplog, damage):
    before = logits(load())
    [weights] = tmp_path.rglob("decoder.onnx.data")
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:100])
    else:
        weights.unlink()
    assert torch.equal(logits(load()), before)
    assert made == ["tiny", "tiny"]
    assert "is damaged and is made again" in caplog.text


def test_a_failure_leaves_nothing_behind(made, tmp_path):
    def load_float():
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        load_int8("tiny", "1", 1, load_float)
    assert list((tmp_path / "int8").iterdir()) == []
