# SPDX-License-Identifier: Apache-2.0
import numpy as np
import onnx
import pytest
from int8_models import FAMILIES, tiny
from making import tiny_gemma2
from transformers import LlamaConfig

from mrmllm_ros.model.int8_graph import quantize, unsupported, write_decoder, write_head

ROPE = {"factor": 2.0, "rope_theta": 1e4}


def test_each_output_channel_has_its_own_scale():
    weight = np.array([[127.0, -63.5, 1.0], [0.5, 0.25, -0.5]], np.float32)
    quantized, scales = quantize(weight)
    np.testing.assert_array_equal(quantized, [[127, -64, 1], [127, 64, -127]])
    np.testing.assert_allclose(scales, [1, 0.5 / 127], rtol=1e-6)


def test_a_row_of_zeros_stays_zero():
    quantized, scales = quantize(np.zeros((1, 4), np.float32))
    assert not quantized.any()
    assert np.isfinite(scales).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_all_matrices_of_supported_families_are_int8(family, tmp_path):
    model = tiny(family)
    assert unsupported(model.config) == ""
    for write, matrices in ((write_decoder, 4 * model.config.num_hidden_layers), (write_head, 1)):
        write(model, tmp_path / "graph.onnx")
        graph = onnx.load(tmp_path / "graph.onnx").graph
        weights = [x for x in graph.initializer if x.name.endswith(".weight")]
        assert [x.data_type for x in weights] == [onnx.TensorProto.INT8] * matrices


def test_other_families_are_named_as_unsupported():
    assert "gemma2" in unsupported(tiny_gemma2(32).config)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hidden_act": "gelu"}, "gelu"),
        (
            {"rope_parameters": {**ROPE, "rope_type": "dynamic"}},
            "dynamic",
        ),
        ({"sliding_window": 16}, "sliding window"),
    ],
)
def test_what_the_graph_cannot_compute_is_named(change, named):
    assert named in unsupported(LlamaConfig(**change))
