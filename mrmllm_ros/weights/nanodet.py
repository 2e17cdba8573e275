# SPDX-License-Identifier: Apache-2.0
"""Convert NanoDet-g from a TensorFlow.js graph model to an ONNX file for ultralytics.

Convolutions of the graph are channels-last, between transposes. The converter drops the
transposes: all tensors stay channels-first, and it tracks the order of TensorFlow's axes. It
converts the network up to its three heads, and adds normalization and box decoding, so that the
model accepts RGB in 0..1 and returns pixels.

Inputs and outputs of the model, for any batch size B:

- `images` (B, 3, 416, 416) float32, RGB in 0..1.
- `output0` (B, 84, 3549) float32: center x, center y, width and height in input pixels, then the
  80 class scores in 0..1, for each cell of the 52x52, 26x26 and 13x13 grids.
- `features` (B, 384, 26, 26) float32: the input maps of the heads (strides 8, 16, 32, 128
  channels each), resized to the stride-16 grid.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

FILE_NAME = "nanodet-g.onnx"
INPUT_SIZE = 416
STRIDES = (8, 16, 32)
_GRIDS = tuple(INPUT_SIZE // stride for stride in STRIDES)
_FEATURES = 3 * 128  # channels of the `features` output
_BINS = 11  # distances to the four sides are distributions over 0 … 10 strides

# Supported by ONNX Runtime since 1.12.
_OPSET = 17
_IR_VERSION = 8

# In the network's channel order (BGR) and range (0..255).
_MEAN_BGR = np.array([103.53, 116.28, 123.675])
_STD_BGR = np.array([57.375, 57.12, 58.395])

# Inputs and outputs of the three heads; outputs are 80 class logits and 4 x 11 distance logits.
_STEM = "PartitionedCall/split"  # weights of the first convolution
_NECK = tuple(f"PartitionedCall/onnx_tf_prefix_Add_{number}" for number in (107, 128, 149))
_HEADS = tuple(f"PartitionedCall/transpose_{number}" for number in (99, 105, 111))

# fmt: off
CLASS_NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich",
    "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote",
    "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book",
    "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on

Array = npt.NDArray[Any]


def convert(files: Mapping[str, Path], directory: Path) -> None:
    """Write `nanodet-g.onnx`.

    Args:
        files: Downloaded files by name: `nanodet.json` and `nanodet.bin`.
        directory: Existing output folder.

    Raises:
        ValueError: If the graph contains an unsupported operation.
    """
    graph = json.loads(files["nanodet.json"].read_text(encoding="utf-8"))
    constants = read_weights(graph["weightsManifest"], files["nanodet.bin"].read_bytes())
    onnx.save(build_model(graph["modelTopology"]["node"], constants), directory / FILE_NAME)


def read_weights(manifest: list[dict[str, Any]], data: bytes) -> dict[str, Array]:
    """Parse the weights file of a TensorFlow.js model.

    Args:
        manifest: `weightsManifest` of the model.
        data: Weights file, with tensors in the order of the manifest.

    Returns:
        Tensors by name, as float32 or int32.

    Raises:
        ValueError: If the size of the file differs from the manifest.
    """
    tensors = {}
    offset = 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        stored = np.dtype(entry.get("quantization", entry)["dtype"]).newbyteorder("<")
        count = int(np.prod(entry["shape"]))
        array = np.frombuffer(data, stored, count, offset).reshape(entry["shape"])
        tensors[entry["name"]] = array.astype(entry["dtype"])
        offset += array.nbytes
    if offset != len(data):
        raise ValueError(
            f"the weights file has {len(data)} bytes, expected {offset} from its manifest"
        )
    return tensors


def build_model(nodes: list[dict[str, Any]], constants: Mapping[str, Array]) -> onnx.ModelProto:
    """Build the detector with normalization, features and decoded boxes.

    Args:
        nodes: Nodes of NanoDet-g's TensorFlow.js graph.
        constants: Weights from `read_weights`.

    Returns:
        Checked ONNX model with the metadata for ultralytics.

    Raises:
        ValueError: If the graph contains an unsupported operation.
    """
    network = GraphConverter(nodes, {**constants, _STEM: _rgb_kernel(constants[_STEM])})
    # Not folded into the first convolution, because that pads with zeros after the subtraction.
    mean = network.constant(_MEAN_BGR[::-1].reshape(1, 3, 1, 1) / 255)
    centered = network.emit("Sub", ["images", mean])
    network.bind("input_1", centered, (INPUT_SIZE, INPUT_SIZE))
    _emit_features(network, [network.convert(name) for name in _NECK])
    _emit_detections(network, [network.convert(name) for name in _HEADS])
    graph = helper.make_graph(
        network.nodes,
        "nanodet-g",
        [_value_info("images", 3, INPUT_SIZE, INPUT_SIZE)],
        [
            _value_info("output0", 4 + len(CLASS_NAMES), sum(side**2 for side in _GRIDS)),
            _value_info("features", _FEATURES, _GRIDS[1], _GRIDS[1]),
        ],
        network.initializers,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="mrmllm_ros",
    )
    helper.set_model_props(model, _metadata())
    onnx.checker.check_model(model, full_check=True)
    return model


def _value_info(name: str, *shape: int) -> onnx.ValueInfoProto:
    # The batch dimension has no name: with a named one, ultralytics assumes dynamic height and
    # width and passes images that are not square.
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, *shape])


def _emit_features(network: GraphConverter, levels: list[str]) -> None:
    """Resize the maps of the neck to the stride-16 grid, so that one RoIAlign pools all scales."""
    ratios = [stride / STRIDES[1] for stride in STRIDES]
    maps = [
        level if ratio == 1 else network.resize(level, ratio)
        for level, ratio in zip(levels, ratios, strict=True)
    ]
    network.emit("Concat", maps, "features", axis=1)


def _emit_detections(network: GraphConverter, levels: list[str]) -> None:
    """Decode the logits of the heads, (B, 124, H, W) each, to boxes in pixels and class scores."""
    classes, sides = len(CLASS_NAMES), 4 * _BINS
    rows = network.constant([0, classes + sides, -1], np.int64)
    flat = [network.emit("Reshape", [level, rows]) for level in levels]
    logits = network.emit("Concat", flat, axis=2)
    scores = network.emit("Sigmoid", [_channels(network, logits, 0, classes)])
    boxes = _emit_boxes(network, _channels(network, logits, classes, classes + sides))
    network.emit("Concat", [boxes, scores], "output0", axis=1)


def _emit_boxes(network: GraphConverter, logits: str) -> str:
    """Decode distance logits (B, 44, cells) to boxes (B, 4, cells): cx, cy, w, h in pixels."""
    by_side = network.constant([0, 4, _BINS, -1], np.int64)
    flat = network.constant([0, 4 * _BINS, -1], np.int64)
    weights = network.emit("Softmax", [network.emit("Reshape", [logits, by_side])], axis=2)
    weights = network.emit("Reshape", [weights, flat])
    # One linear map computes the expected distances to left, top, right and bottom, and from
    # them the box, in strides relative to the center of the cell.
    to_box = [[-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5], [1, 0, 1, 0], [0, 1, 0, 1]]
    projection = network.constant(np.kron(to_box, np.arange(_BINS)))
    boxes = network.emit("MatMul", [projection, weights])
    boxes = network.emit("Mul", [boxes, network.constant(_cell_strides())])
    return network.emit("Add", [boxes, network.constant(_cell_centers())])


def _channels(network: GraphConverter, tensor: str, start: int, stop: int) -> str:
    bounds = [network.constant([value], np.int64) for value in (start, stop, 1)]
    return network.emit("Slice", [tensor, *bounds])


def _cell_strides() -> Array:
    """(cells,) stride of each cell in pixels."""
    return np.repeat(STRIDES, [side**2 for side in _GRIDS])


def _cell_centers() -> Array:
    """(4, cells) offsets of the boxes of each cell: its center in pixels, and size 0."""
    centers = []
    for stride, side in zip(STRIDES, _GRIDS, strict=True):
        y, x = (np.mgrid[:side, :side].reshape(2, -1) + 0.5) * stride
        centers.append(np.stack([x, y, 0 * x, 0 * y]))
    return np.concatenate(centers, axis=1)


def _metadata() -> dict[str, str]:
    """Metadata of the ONNX file for ultralytics."""
    return {
        "description": "NanoDet-g 416, trained on COCO; weights converted by mrmllm_ros",
        "author": "RangiLyu (NanoDet), Vladimir Mandic (TensorFlow.js weights)",
        "license": "Apache-2.0",
        "stride": str(max(STRIDES)),
        "task": "detect",
        "batch": "1",
        "imgsz": str([INPUT_SIZE, INPUT_SIZE]),
        "names": str(dict(enumerate(CLASS_NAMES))),
        # Enables batches in ultralytics.
        "args": str({"dynamic": True}),
    }


def _rgb_kernel(kernel: Array) -> Array:
    """Convert the first kernel, (H, W, I, O), from BGR / standard deviation to RGB in 0..1."""
    return (kernel * (255 / _STD_BGR).reshape(3, 1))[:, :, ::-1]


class _Tensor(NamedTuple):
    """Channels-first ONNX tensor that represents a tensor of the TensorFlow graph."""

    name: str
    size: tuple[int, int]  # height and width, before padding
    axes: tuple[int, ...] = (0, 1, 2, 3)  # axis of the ONNX tensor for each TensorFlow axis
    pads: tuple[int, ...] = (0, 0, 0, 0)  # top, left, bottom, right; applied by the consumer
    fill: float = 0.0  # padding value


class GraphConverter:
    """Converts the parts of a TensorFlow.js graph that requested tensors depend on.

    Args:
        nodes: Nodes of the graph.
        constants: Weights of the graph by node name.

    Attributes:
        nodes: Emitted ONNX nodes in topological order.
        initializers: Constants of these nodes.
    """

    def __init__(self, nodes: list[dict[str, Any]], constants: Mapping[str, Array]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._graph = {node["name"]: node for node in nodes}
        self._constants = constants
        self._done: dict[str, _Tensor] = {}

    def emit(
        self, operation: str, inputs: list[str], output: str | None = None, **attributes: Any
    ) -> str:
        """Append an ONNX node with one output and return the name of the output."""
        name = output or f"{operation}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Add a constant and return its name."""
        name = f"constant_{len(self.initializers)}"
        array = np.ascontiguousarray(value, dtype)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def resize(self, name: str, ratio: float) -> str:
        """Resize an ONNX tensor (B, C, H, W) bilinearly, by 1/2 or a ratio above 1."""
        if ratio == 1 / 2:  # equal to bilinear resizing without anti-aliasing
            return self.emit("AveragePool", [name], kernel_shape=(2, 2), strides=(2, 2))
        scales = self.constant([1, 1, ratio, ratio])
        return self.emit("Resize", [name, "", scales], mode="linear")

    def bind(self, name: str, tensor: str, size: tuple[int, int]) -> None:
        """Use an ONNX tensor (B, C, *size) as the output of the node `name` of the graph."""
        self._done[name] = _Tensor(tensor, size)

    def convert(self, name: str) -> str:
        """Convert a tensor of the graph and everything it depends on.

        Args:
            name: Node of the graph, with TensorFlow axes batch, channel, height, width.

        Returns:
            Name of the ONNX tensor, (B, C, H, W).

        Raises:
            ValueError: If an operation is not supported, or the axes of the tensor differ.
        """
        tensor = self._unpadded(name)
        if tensor.axes != (0, 1, 2, 3):
            raise ValueError(f"{name}: expected a channels-first tensor, got axes {tensor.axes}")
        return tensor.name

    def _tensor(self, name: str) -> _Tensor:
        if name not in self._done:
            node = self._graph[name]
            rule = self._RULES.get(node["op"])
            if rule is None:
                raise ValueError(f"{name}: operation {node['op']} is not supported")
            self._done[name] = rule(self, node)
        return self._done[name]

    def _unpadded(self, name: str) -> _Tensor:
        tensor = self._tensor(name)
        if any(tensor.pads):
            raise ValueError(f"{name}: padding is supported before convolution and pooling only")
        return tensor

    def _transpose(self, node: dict[str, Any]) -> _Tensor:
        source, permutation = node["input"]
        tensor = self._tensor(source)
        axes = tuple(tensor.axes[axis] for axis in self._constants[permutation])
        return tensor._replace(axes=axes)

    def _pad(self, node: dict[str, Any]) -> _Tensor:
        source, amounts, *fill = node["input"]
        tensor = self._unpadded(source)
        by_axis = dict(zip(tensor.axes, self._constants[amounts].tolist(), strict=True))
        if any(by_axis[0] + by_axis[1]):
            raise ValueError(f"{node['name']}: padding is supported on height and width only")
        (top, bottom), (left, right) = by_axis[2], by_axis[3]
        return tensor._replace(
            pads=(top, left, bottom, right), fill=float(self._constants[fill[0]]) if fill else 0.0
        )

    def _convolution(self, node: dict[str, Any], bias: Array | None = None) -> _Tensor:
        source, kernel = node["input"]
        weights = self._constants[kernel].transpose(3, 2, 0, 1)  # HWIO → OIHW
        constants = [self.constant(array) for array in (weights, bias) if array is not None]
        return self._window(
            node, "Conv", source, constants, fill=0.0, kernel_shape=weights.shape[2:]
        )

    def _max_pool(self, node: dict[str, Any]) -> _Tensor:
        return self._window(
            node, "MaxPool", node["input"][0], [], fill=-np.inf, kernel_shape=_hw(node, "ksize")
        )

    def _window(
        self,
        node: dict[str, Any],
        operation: str,
        source: str,
        constants: list[str],
        *,
        fill: float,
        kernel_shape: tuple[int, ...],
    ) -> _Tensor:
        """Emit an operation on a sliding window, and apply the padding of its input."""
        tensor = self._tensor(source)
        padding, layout = (_text(node, name) for name in ("padding", "data_format"))
        if (tensor.axes, padding, layout) != ((0, 2, 3, 1), "VALID", "NHWC"):
            raise ValueError(
                f"{node['name']}: expected NHWC and VALID, got {layout}, {padding}, {tensor.axes}"
            )
        if any(tensor.pads) and tensor.fill != fill:
            raise ValueError(f"{node['name']}: expected padding with {fill}, got {tensor.fill}")
        strides = _hw(node, "strides")
        name = self.emit(
            operation,
            [tensor.name, *constants],
            kernel_shape=kernel_shape,
            strides=strides,
            pads=tensor.pads,
        )
        height, width = (
            (tensor.size[i] + tensor.pads[i] + tensor.pads[i + 2] - kernel_shape[i]) // strides[i]
            + 1
            for i in range(2)
        )
        return _Tensor(name, (height, width), tensor.axes)

    def _add(self, node: dict[str, Any]) -> _Tensor:
        left, right = node["input"]
        if right in self._constants and self._graph[left]["op"] == "Conv2D":
            return self._convolution(self._graph[left], self._constants[right])
        return self._combine("Add", [left, right])

    def _concatenate(self, node: dict[str, Any]) -> _Tensor:
        *sources, axis = node["input"]
        position = self._unpadded(sources[0]).axes[int(self._constants[axis])]
        return self._combine("Concat", sources, axis=position)

    def _combine(self, operation: str, sources: list[str], **attributes: Any) -> _Tensor:
        tensors = [self._unpadded(source) for source in sources]
        if len({(tensor.axes, tensor.size) for tensor in tensors}) != 1:
            raise ValueError(f"{operation} of {sources}: the inputs' axes or sizes differ")
        name = self.emit(operation, [tensor.name for tensor in tensors], **attributes)
        return tensors[0]._replace(name=name)

    def _leaky_relu(self, node: dict[str, Any]) -> _Tensor:
        tensor = self._unpadded(node["input"][0])
        slope = node["attr"]["alpha"]["f"]
        return tensor._replace(name=self.emit("LeakyRelu", [tensor.name], alpha=slope))

    def _resize_bilinear(self, node: dict[str, Any]) -> _Tensor:
        source, size = node["input"]
        tensor = self._unpadded(source)
        height, width = self._constants[size].tolist()
        ratio = height / tensor.size[0]
        if ratio != width / tensor.size[1] or not node["attr"]["half_pixel_centers"]["b"]:
            raise ValueError(f"{node['name']}: expected one ratio and half pixel centers")
        return tensor._replace(name=self.resize(tensor.name, ratio), size=(height, width))

    _RULES: ClassVar = {
        "Add": _add,
        "ConcatV2": _concatenate,
        "Conv2D": _convolution,
        "LeakyRelu": _leaky_relu,
        "MaxPool": _max_pool,
        "Pad": _pad,
        "PadV2": _pad,
        "ResizeBilinear": _resize_bilinear,
        "Transpose": _transpose,
    }


def _text(node: dict[str, Any], attribute: str) -> str:
    return base64.b64decode(node["attr"][attribute]["s"]).decode()


def _hw(node: dict[str, Any], attribute: str) -> tuple[int, int]:
    """Height and width of an attribute with values for all four axes."""
    _, height, width, _ = (int(value) for value in node["attr"][attribute]["list"]["i"])
    return height, width
