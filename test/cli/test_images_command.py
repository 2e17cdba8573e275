# SPDX-License-Identifier: Apache-2.0
"""`mrmllm detect` and `mrmllm ask`, with the real models on a real photograph."""

import json

import cv2
import pytest

from mrmllm_ros.cli.main import main


@pytest.fixture
def bus_file(bus_image, tmp_path):
    path = tmp_path / "bus.png"
    cv2.imwrite(str(path), bus_image)
    return path


def test_detect_finds_the_bus_and_at_least_three_people(bus_file, capsys):
    assert main(["detect", "--image", str(bus_file), "--json"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    labels = [d["label"] for d in json.loads(line)["detections"]]
    assert "bus" in labels
    assert labels.count("person") >= 3


def test_detect_saves_the_annotated_image(bus_file, bus_image, tmp_path):
    saved = tmp_path / "annotated.png"
    assert main(["detect", "--image", str(bus_file), "--save", str(saved)]) == 0
    annotated = cv2.imread(str(saved))
    assert annotated.shape == bus_image.shape
    assert (annotated != bus_image).any()


def test_ask_prints_one_json_object_for_each_question(bus_file, capsys):
    questions = ["Is there a bus?", ""]
    arguments = ["ask", "--image", str(bus_file), "--json", "--max-new-tokens", "6", *questions]
    assert main(arguments) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["question"] for record in records] == questions
    for record in records:
        assert record["answer"]
        ids = [d["id"] for d in record["detections"]]
        assert set(record["cited"]) <= set(ids)
        assert len(record["detections"][0]["xyxy"]) == 4
        assert 0 < record["time_to_first_token_s"] <= record["latency_s"]


def test_ask_streams_the_answer_as_text(bus_file, capsys):
    assert main(["ask", "--image", str(bus_file), "--max-new-tokens", "4", "Is there a bus?"]) == 0
    printed = capsys.readouterr().out
    assert "Q: Is there a bus?" in printed
    assert "A: " in printed


@pytest.mark.parametrize("command", [["detect"], ["ask", "Is there a bus?"]])
@pytest.mark.parametrize("content", [None, b"", b"not an image"])
def test_a_missing_or_unreadable_image_is_one_clear_line_and_status_2(
    command, content, tmp_path, capsys
):
    path = tmp_path / "picture.jpg"
    if content is not None:
        path.write_bytes(content)
    assert main([*command, "--image", str(path)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("mrmllm: error: ")
    assert str(path) in line


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ("detector: {modle: x}", "modle"),
        ("detector: {score_threshold: 7.0}", "score_threshold"),
        ("detector: {model: /nowhere/model.onnx}", "/nowhere/model.onnx"),
    ],
)
def test_a_wrong_parameter_file_names_the_parameter(bus_file, tmp_path, capsys, parameters, named):
    file = tmp_path / "params.yaml"
    file.write_text(f"/**:\n  ros__parameters:\n    {parameters}\n")
    assert main(["detect", "--image", str(bus_file), "--params-file", str(file)]) == 2
    assert named in capsys.readouterr().err


def test_parameters_that_only_the_node_knows_are_left_to_it(bus_file, tmp_path, capsys):
    file = tmp_path / "params.yaml"
    file.write_text("mrmllm_node:\n  ros__parameters: {camera: front, use_sim_time: true}\n")
    arguments = ["detect", "--image", str(bus_file), "--params-file", str(file), "--json"]
    assert main(arguments) == 0
