# SPDX-License-Identifier: Apache-2.0
"""ONNX graphs of a causal language model with int8 weights, for ONNX Runtime on a processor.

Weights are symmetric int8 with one scale for each output channel. The input of each linear layer
is quantized with one scale for each token, so that a token's result does not depend on other
tokens of the batch. Attention, norms and residuals are float32. Query, key and value are one
matrix product, as are gate and up.

The decoder layers are those of Llama; see `unsupported`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from transformers import PreTrainedConfig, PreTrainedModel

# Families with Llama's layers; they differ in biases.
_FAMILIES = ("llama", "mistral", "qwen2")
# Types of RoPE whose frequencies do not depend on the length of the text.
_ROPE_TYPES = ("default", "linear", "llama3", "yarn")
_CONTRIB = "com.microsoft"
_OPSETS = {"": 19, _CONTRIB: 1}
_IR_VERSION = 10
# No token is so small that its scale would be 0.
_MIN_MAXIMUM = 1e-9


def unsupported(config: PreTrainedConfig) -> str:
    """Why the graphs cannot represent a language model; empty if they can.

    Args:
        config: Configuration of the language model.
    """
    if config.model_type not in _FAMILIES:
        return f"models of type {config.model_type!r} are not supported, only {_FAMILIES}"
    if config.hidden_act != "silu":
        return f"the activation {config.hidden_act!r} is not supported, only 'silu'"
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return "attention with a sliding window is not supported"
    if config.rope_parameters["rope_type"] not in _ROPE_TYPES:
        return f"RoPE of type {config.rope_parameters['rope_type']!r} is not supported"
    return ""


def write_decoder(model: PreTrainedModel, path: Path) -> None:
    """Write the graph of all decoder layers.

    Inputs: `embeddings` (B, T, d) float32 for T new tokens; `past_lengths` (B,) int32, index of
    the last new token of each text; `total_length` int32, maximum number of tokens with the new
    ones; `past.{i}.key` and `past.{i}.value` (B, H, capacity, d_head) float32 of layer i. Outputs:
    `hidden_states` (B, T, d) float32 after the last norm, and `present.{i}.key` and
    `present.{i}.value`. Bind a past and its present to the same buffer.

    Args:
        model: Causal language model in float32.
        path: The file; the weights go beside it with the suffix `.data`.
    """
    weights = {name: weight.numpy() for name, weight in model.base_model.state_dict().items()}
    config = model.config
    graph = _Graph("embeddings", config.rms_norm_eps)
    rotary = model.base_model.rotary_emb
    angles = torch.outer(torch.arange(config.max_position_embeddings), rotary.inv_freq.cpu())
    cos = graph.constant("cos", (angles.cos() * rotary.attention_scaling).numpy())
    sin = graph.constant("sin", (angles.sin() * rotary.attention_scaling).numpy())
    shape = graph.batch_shape()
    heads = (config.num_attention_heads, config.num_key_value_heads)
    size = weights["layers.0.self_attn.q_proj.weight"].shape[0] // heads[0]
    hidden, update = graph.flatten(), None
    for i in range(config.num_hidden_layers):
        layer = f"layers.{i}."
        normed, hidden = graph.norm(hidden, update, weights[f"{layer}input_layernorm.weight"])
        attention = f"{layer}self_attn."
        qkv = graph.linear(normed, weights, [f"{attention}{x}_proj" for x in "qkv"])
        past = [f"past.{i}.key", f"past.{i}.value"]
        present = [f"present.{i}.key", f"present.{i}.value"]
        graph.cache += [(past, present)]
        (attended,) = graph.add(
            "GroupQueryAttention",
            [graph.unflatten(qkv, shape), "", "", *past, "past_lengths", "total_length", cos, sin],
            outputs=present,
            domain=_CONTRIB,
            num_heads=heads[0],
            kv_num_heads=heads[1],
            do_rotary=1,
            scale=size**-0.5,
        )[:1]
        update = graph.linear(graph.flatten(attended), weights, [f"{attention}o_proj"])
        normed, hidden = graph.norm(
            hidden, update, weights[f"{layer}post_attention_layernorm.weight"]
        )
        both = graph.linear(normed, weights, [f"{layer}mlp.gate_proj", f"{layer}mlp.up_proj"])
        gate, up = graph.add("Split", [both], count=2, axis=-1, num_outputs=2)
        # With this factor it is SiLU.
        (silu,) = graph.add("QuickGelu", [gate], domain=_CONTRIB, alpha=1.0)
        (product,) = graph.add("Mul", [silu, up])
        update = graph.linear(product, weights, [f"{layer}mlp.down_proj"])
    normed, _ = graph.norm(hidden, update, weights["norm.weight"])
    graph.rename_output(graph.unflatten(normed, shape), "hidden_states")
    width = config.hidden_size
    inputs = [
        _value("embeddings", TensorProto.FLOAT, ["batch", "tokens", width]),
        _value("past_lengths", TensorProto.INT32, ["batch"]),
        _value("total_length", TensorProto.INT32, []),
    ]
    outputs = [_value("hidden_states", TensorProto.FLOAT, ["batch", "tokens", width])]
    cached = ["batch", heads[1], "capacity", size]
    for past, present in graph.cache:
        inputs += [_value(name, TensorProto.FLOAT, cached) for name in past]
        outputs += [_value(name, TensorProto.FLOAT, cached) for name in present]
    graph.write(path, inputs, outputs)


def write_head(model: PreTrainedModel, path: Path) -> None:
    """Write the graph of the output embeddings.

    Input: `hidden_states` (B, T, d) float32. Output: `logits` (B, T, vocabulary) float32.

    Args:
        model: Causal language model in float32.
        path: The file; the weights go beside it with the suffix `.data`.
    """
    head = model.get_output_embeddings()
    weights = {f"head.{name}": weight.numpy() for name, weight in head.state_dict().items()}
    graph = _Graph("hidden_states")
    shape = graph.batch_shape()
    logits = graph.linear(graph.flatten(), weights, ["head"])
    graph.rename_output(graph.unflatten(logits, shape), "logits")
    inputs = [_value("hidden_states", TensorProto.FLOAT, ["batch", "tokens", head.in_features])]
    outputs = [_value("logits", TensorProto.FLOAT, ["batch", "tokens", head.out_features])]
    graph.write(path, inputs, outputs)


class _Graph:
    """Nodes and constants of a graph; tokens of all texts are rows of matrices.

    Attributes:
        cache: Names of past and present keys and values of each layer.
    """

    def __init__(self, source: str, epsilon: float = 0.0) -> None:
        """Start with an input.

        Args:
            source: Name of the input (B, T, d).
            epsilon: Epsilon of all norms.
        """
        self.cache: list[tuple[list[str], list[str]]] = []
        self._source = source
        self._epsilon = epsilon
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._zero_points = ""

    def add(
        self,
        kind: str,
        inputs: Sequence[str],
        *,
        outputs: Sequence[str] = (),
        count: int = 1,
        **attributes: Any,
    ) -> list[str]:
        """Add a node.

        Args:
            kind: Type of the operator.
            inputs: Names of the inputs.
            outputs: Names of further outputs.
            count: Number of outputs to name.
            attributes: Attributes of the operator.

        Returns:
            Names of the outputs.
        """
        names = [f"{kind}_{len(self._nodes)}_{i}" for i in range(count)]
        self._nodes.append(helper.make_node(kind, inputs, [*names, *outputs], **attributes))
        return names

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant, once."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def batch_shape(self) -> str:
        """Shape (B, T, -1) of the input, for `unflatten`."""
        (shape,) = self.add("Shape", [self._source], end=2)
        rest = self.constant("rest", np.array([-1], np.int64))
        (whole,) = self.add("Concat", [shape, rest], axis=0)
        return whole

    def flatten(self, name: str = "") -> str:
        """Reshape (B, T, N), by default the input, to (B T, N)."""
        (rows,) = self.add("Reshape", [name or self._source, self._rows(name)])
        return rows

    def _rows(self, name: str) -> str:
        (width,) = self.add("Shape", [name or self._source], start=2)
        rest = self.constant("rest", np.array([-1], np.int64))
        (shape,) = self.add("Concat", [rest, width], axis=0)
        return shape

    def unflatten(self, name: str, shape: str) -> str:
        """Reshape (B T, N) to (B, T, N)."""
        (batch,) = self.add("Reshape", [name, shape])
        return batch

    def norm(self, hidden: str, update: str | None, weight: np.ndarray) -> tuple[str, str]:
        """Add an update to the hidden states and normalize the sum.

        Returns:
            Names of the normalized sum and of the sum.
        """
        scale = self.constant(f"norm_{len(self._nodes)}", weight)
        if update is None:
            (normed,) = self.add(
                "SimplifiedLayerNormalization", [hidden, scale], axis=-1, epsilon=self._epsilon
            )
            return normed, hidden
        normed, _, _, total = self.add(
            "SkipSimplifiedLayerNormalization",
            [hidden, update, scale],
            count=4,
            domain=_CONTRIB,
            epsilon=self._epsilon,
        )
        return normed, total

    def linear(self, rows: str, weights: dict[str, np.ndarray], layers: Sequence[str]) -> str:
        """Add linear layers with the same input, as one; their outputs are joined.

        Args:
            rows: Input (M, N).
            weights: Weights and biases by name.
            layers: Names of the layers.
        """
        name = "+".join(layers)
        quantized, scales = quantize(np.concatenate([weights[f"{x}.weight"] for x in layers]))
        inputs, row_scales = self._quantize_rows(rows)
        (product,) = self.add(
            "MatMulIntegerToFloat",
            [
                inputs,
                self.constant(f"{name}.weight", quantized.T),
                self.constant("one", np.float32(1)),
                self.constant(f"{name}.scales", scales),
                self.constant("zero_point", np.uint8(128)),
            ],
            domain=_CONTRIB,
        )
        (output,) = self.add("Mul", [product, row_scales])
        biases = [weights[f"{x}.bias"] for x in layers if f"{x}.bias" in weights]
        if biases:
            widths = [len(weights[f"{x}.weight"]) for x in layers]
            bias = np.concatenate(
                [
                    weights.get(f"{x}.bias", np.zeros(width, np.float32))
                    for x, width in zip(layers, widths, strict=True)
                ]
            )
            (output,) = self.add("Add", [output, self.constant(f"{name}.bias", bias)])
        return output

    def _quantize_rows(self, rows: str) -> tuple[str, str]:
        """Quantize each row with its own scale.

        Returns:
            Names of uint8 rows with zero point 128, and of their (M, 1) scales.
        """
        last = self.constant("last_axis", np.array([-1], np.int64))
        (magnitudes,) = self.add("Abs", [rows])
        (maxima,) = self.add("ReduceMax", [magnitudes, last], keepdims=1)
        minimum = self.constant("min_maximum", np.float32(_MIN_MAXIMUM))
        (maxima,) = self.add("Max", [maxima, minimum])
        (scales,) = self.add("Mul", [maxima, self.constant("step", np.float32(1 / 127))])
        (flat,) = self.add("Squeeze", [scales, last])
        (quantized,) = self.add(
            "QuantizeLinear", [rows, flat, self._row_zero_points(flat)], axis=0
        )
        return quantized, scales

    def _row_zero_points(self, scales: str) -> str:
        """Zero points (M,) of all rows, computed once."""
        if not self._zero_points:
            (shape,) = self.add("Shape", [scales])
            value = self.constant("zero_points", np.array([128], np.uint8))
            (self._zero_points,) = self.add("Expand", [value, shape])
        return self._zero_points

    def rename_output(self, name: str, output: str) -> None:
        """Rename the output of the last node."""
        assert list(self._nodes[-1].output) == [name]
        self._nodes[-1].output[0] = output

    def write(
        self, path: Path, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
    ) -> None:
        """Write the graph, and its weights in a file beside it."""
        graph = helper.make_graph(
            self._nodes, path.stem, inputs, outputs, list(self._constants.values())
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        # Read by mapping the file into memory.
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data")


def quantize(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantize a weight matrix symmetrically, with one scale for each output channel.

    Args:
        weight: (N, K) float32.

    Returns:
        (N, K) int8 and (N,) float32 scales.
    """
    scales = np.maximum(np.abs(weight).max(1), _MIN_MAXIMUM).astype(np.float32) / 127
    return np.rint(weight / scales[:, None]).astype(np.int8), scales


def _value(name: str, kind: int, shape: Sequence[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)
