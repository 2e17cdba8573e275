# SPDX-License-Identifier: Apache-2.0
import base64

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper

from mrmllm_ros.weights import locate, nanodet


def node(name, op, inputs=(), **attributes):
    return {"name": name, "op": op, "input": list(inputs), "attr": attributes}


def text(value):
    return {"s": base64.b64encode(value.encode()).decode()}


def integers(*values):
    return {"list": {"i": [str(value) for value in values]}}


NHWC = {"padding": text("VALID"), "data_format": text("NHWC")}
STEP_1 = {"strides": integers(1, 1, 1, 1)}
STEP_2 = {"strides": integers(1, 2, 2, 1)}
HALF_PIXELS = {"half_pixel_centers": {"b": True}}


@pytest.fixture
def constants():
    random = np.random.default_rng(0)
    return {
        "to_last": np.array([0, 2, 3, 1], np.int32),
        "to_first": np.array([0, 3, 1, 2], np.int32),
        "pad_first": np.array([[0, 0], [0, 0], [1, 1], [1, 1]], np.int32),
        "pad_last": np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32),
        "lowest": np.array(-np.inf, np.float32),
        "kernel": random.normal(size=(3, 3, 3, 4)).astype(np.float32),
        "bias": random.normal(size=4).astype(np.float32),
        "channels": np.array(1, np.int32),
        "size_8": np.array([8, 8], np.int32),
        "size_4": np.array([4, 4], np.int32),
    }


def run_graph(nodes, constants, output, images):
    """Convert the node `output` of a graph that starts at `images`, and run it."""
    converter = nanodet.GraphConverter(nodes, constants)
    converter.bind("images", "images", images.shape[2:])
    name = converter.convert(output)
    graph = helper.make_graph(
        converter.nodes,
        "test",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, images.shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        converter.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (result,) = session.run(None, {"images": images})
    return torch.from_numpy(result), [step.op_type for step in converter.nodes]


@pytest.fixture
def images():
    return np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype(np.float32)


@pytest.fixture
def convolution():
    """Padding, convolution with stride 2, bias and activation, as TensorFlow writes them."""
    return [
        node("padded", "Pad", ["images", "pad_first"]),
        node("last", "Transpose", ["padded", "to_last"]),
        node("convolved", "Conv2D", ["last", "kernel"], **NHWC, **STEP_2),
        node("biased", "Add", ["convolved", "bias"]),
        node("first", "Transpose", ["biased", "to_first"]),
        node("active", "LeakyRelu", ["first"], alpha={"f": 0.1}),
    ]


@pytest.fixture
def active(images, constants):
    """(2, 4, 8, 8) expected output of `convolution`."""
    kernel, bias = (torch.from_numpy(constants[name]) for name in ("kernel", "bias"))
    convolved = F.conv2d(
        torch.from_numpy(images), kernel.permute(3, 2, 0, 1), bias, stride=2, padding=1
    )
    return F.leaky_relu(convolved, 0.1)


def test_a_convolution_keeps_its_result_without_transposes(convolution, constants, images, active):
    result, operations = run_graph(convolution, constants, "active", images)
    torch.testing.assert_close(result, active)
    assert operations == ["Conv", "LeakyRelu"]


def test_a_convolution_without_bias_is_converted(convolution, constants, images, active):
    nodes = [*convolution[:3], node("out", "Transpose", ["convolved", "to_first"])]
    result, _ = run_graph(nodes, constants, "out", images)
    bias = torch.from_numpy(constants["bias"])[:, None, None]
    torch.testing.assert_close(F.leaky_relu(result + bias, 0.1), active)


@pytest.mark.parametrize("order", ["pad first", "transpose first"])
def test_a_pooling_keeps_its_result(order, convolution, constants, images, active):
    before = {
        "pad first": [
            node("pad", "PadV2", ["active", "pad_first", "lowest"]),
            node("in", "Transpose", ["pad", "to_last"]),
        ],
        "transpose first": [
            node("turned", "Transpose", ["active", "to_last"]),
            node("in", "PadV2", ["turned", "pad_last", "lowest"]),
        ],
    }[order]
    nodes = [
        *convolution,
        *before,
        node("pooled", "MaxPool", ["in"], ksize=integers(1, 3, 3, 1), **NHWC, **STEP_2),
        node("out", "Transpose", ["pooled", "to_first"]),
    ]
    result, _ = run_graph(nodes, constants, "out", images)
    torch.testing.assert_close(result, F.max_pool2d(active, 3, 2, padding=1))


def test_resizing_both_ways_adding_and_concatenating_keep_their_result(
    convolution, constants, images, active
):
    nodes = [
        *convolution,
        node("large", "Transpose", ["active", "to_last"]),
        node("small", "ResizeBilinear", ["large", "size_4"], **HALF_PIXELS),
        node("again", "ResizeBilinear", ["small", "size_8"], **HALF_PIXELS),
        node("back", "Transpose", ["again", "to_first"]),
        node("sum", "Add", ["back", "active"]),
        node("out", "ConcatV2", ["sum", "active", "channels"]),
    ]
    result, _ = run_graph(nodes, constants, "out", images)
    small = F.interpolate(active, (4, 4), mode="bilinear")
    again = F.interpolate(small, (8, 8), mode="bilinear")
    torch.testing.assert_close(result, torch.cat([again + active, active], 1))


def test_unneeded_nodes_are_not_emitted(convolution, constants, images):
    nodes = [*convolution, node("unknown", "FancyOp", ["active"])]
    assert run_graph(nodes, constants, "active", images)[1] == ["Conv", "LeakyRelu"]


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (node("out", "FancyOp", ["active"]), "out: operation FancyOp is not supported"),
        (node("out", "Transpose", ["active", "to_last"]), "out: expected a channels-first"),
        (node("out", "Pad", ["active", "pad_first"]), "out: padding is supported before"),
        (node("out", "Pad", ["active", "pad_last"]), "out: padding is supported on height"),
        (node("out", "Conv2D", ["active", "kernel"], **NHWC, **STEP_1), "out: expected NHWC"),
        (node("out", "ConcatV2", ["active", "images", "channels"]), "axes or sizes differ"),
        (
            node("out", "ResizeBilinear", ["active", "size_4"], half_pixel_centers={"b": False}),
            "out: expected one ratio and half pixel centers",
        ),
    ],
)
def test_an_unsupported_operation_is_named(last, message, convolution, constants, images):
    with pytest.raises(ValueError, match=message):
        run_graph([*convolution, last], constants, "out", images)


def test_pooling_rejects_padding_with_zeros(convolution, constants, images):
    nodes = [
        *convolution,
        node("pad", "Pad", ["active", "pad_first"]),
        node("in", "Transpose", ["pad", "to_last"]),
        node("out", "MaxPool", ["in"], ksize=integers(1, 3, 3, 1), **NHWC, **STEP_2),
    ]
    with pytest.raises(ValueError, match="out: expected padding with -inf, got 0"):
        run_graph(nodes, constants, "out", images)


def test_half_precision_and_integer_weights_are_read_in_order():
    half = np.array([[1.5, -2.0]], np.float16)
    whole = np.array([7, 8, 9], np.int32)
    half_entry = {
        "name": "half", "shape": [1, 2], "dtype": "float32", "quantization": {"dtype": "float16"}
    }  # fmt: skip
    manifest = [{"weights": [half_entry, {"name": "whole", "shape": [3], "dtype": "int32"}]}]
    tensors = nanodet.read_weights(manifest, half.tobytes() + whole.tobytes())
    np.testing.assert_array_equal(tensors["half"], half)
    assert tensors["half"].dtype == np.float32
    np.testing.assert_array_equal(tensors["whole"], whole)

    with pytest.raises(ValueError, match="has 20 bytes, expected 16"):
        nanodet.read_weights(manifest, bytes(20))


@pytest.fixture(scope="module")
def path():
    return locate("nanodet-g") / nanodet.FILE_NAME


@pytest.fixture(scope="module")
def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def yolo(path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLO_OFFLINE", "true")
        patch.setenv("YOLO_AUTOINSTALL", "false")
        from ultralytics import YOLO

        yield YOLO(path, task="detect")


@pytest.fixture(scope="module")
def bus():
    import cv2
    from ultralytics.utils import ASSETS

    return cv2.imread(str(ASSETS / "bus.jpg"))


def test_the_file_holds_no_transpose_and_a_widely_read_opset(path):
    model = onnx.load(path)
    assert "Transpose" not in {step.op_type for step in model.graph.node}
    assert model.opset_import[0].version == 17
    assert model.ir_version == 8


def test_any_batch_equals_single_images(session):
    images = np.random.default_rng(2).random((3, 3, 416, 416), np.float32)
    output, features = session.run(None, {"images": images})
    assert output.shape == (3, 84, 3549)
    assert features.shape == (3, 384, 26, 26)
    for index in range(3):
        single = session.run(None, {"images": images[index : index + 1]})
        np.testing.assert_allclose(output[index], single[0][0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(features[index], single[1][0], rtol=1e-4, atol=1e-4)


def test_scores_are_probabilities_and_box_centers_lie_near_their_cell(session):
    images = np.random.default_rng(3).random((1, 3, 416, 416), np.float32)
    output = session.run(["output0"], {"images": images})[0][0]
    assert output[4:].min() >= 0
    assert output[4:].max() <= 1
    assert output[2:4].min() >= 0
    reach = np.repeat([8, 16, 32], [52**2, 26**2, 13**2]) * 5  # half of ten strides
    assert (np.abs(output[0] - nanodet._cell_centers()[0]) <= reach + 1e-3).all()
    assert (np.abs(output[1] - nanodet._cell_centers()[1]) <= reach + 1e-3).all()


def test_ultralytics_runs_the_file_on_the_bus_picture(yolo, bus):
    (result,) = yolo.predict(bus, conf=0.3, verbose=False)
    found = [
        (result.names[int(label)], score, box)
        for label, score, box in zip(
            result.boxes.cls, result.boxes.conf.tolist(), result.boxes.xyxy.tolist(), strict=True
        )
    ]
    ((score, box),) = [(score, box) for name, score, box in found if name == "bus"]
    assert score == pytest.approx(0.795, abs=0.01)
    assert box == pytest.approx([28, 217, 806, 736], abs=3)
    assert sum(name == "person" for name, _, _ in found) >= 3


def test_ultralytics_runs_pictures_of_several_sizes_in_one_batch(yolo, bus):
    together = yolo.predict([bus, bus[::2, ::3]], conf=0.3, verbose=False)
    alone = yolo.predict(bus, conf=0.3, verbose=False)[0]
    torch.testing.assert_close(together[0].boxes.data, alone.boxes.data, rtol=1e-3, atol=1e-2)
    assert together[1].orig_shape == (540, 270)


def test_the_metadata_names_size_labels_task_and_dynamic_batches(yolo, bus):
    yolo.predict(bus, verbose=False)
    backend = yolo.predictor.model
    assert backend.imgsz == [416, 416]
    assert backend.stride == 32
    assert backend.task == "detect"
    assert backend.metadata["dynamic"] is True
    assert tuple(yolo.names.values()) == nanodet.CLASS_NAMES
