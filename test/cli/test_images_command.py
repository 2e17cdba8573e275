# SPDX-License-Identifier: Apache-2.0
"""`mrmllm detect` and `mrmllm ask`, with the real models on a real photograph."""

import io
import json
import os
import weakref
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mrmllm_ros.answering.answerer import EncodedImage, PromptTooLongError
from mrmllm_ros.cli.main import main
from mrmllm_ros.detection import images as images_module
from mrmllm_ros.detection.detections import Attribute
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.engine.models import Models
from mrmllm_ros.pipeline import Detection

RECORD = {
    "id",
    "label",
    "score",
    "xyxy",
    "detector_label",
    "detector_score",
    "novelty",
    "attributes",
}


@pytest.fixture
def enriched(make_detections):
    """A bus [1], a person [2] that fusion rejects, an uncertain box [3] that fusion relabels."""
    return EnrichedDetections(
        fused=make_detections(
            ("bus", 0.875, (0, 0, 600, 400)),
            ("person", 0.0625, (10, 20, 110, 220)),
            ("forklift", 0.625, (100, 100, 320, 220)),
        ),
        detector=make_detections(
            ("bus", 0.75, (0, 0, 600, 400)),
            ("person", 0.5, (10, 20, 110, 220)),
            ("box", 0.125, (100, 100, 300, 200)),
        ),
        reported=np.array([0, 2]),
        novelty=np.array([0.0, 0.5, 0.75], np.float32),
        attributes=((Attribute("color", "red", 0.5),), (), ()),
    )


@pytest.fixture
def fusion(enriched, monkeypatch, tmp_path):
    """Options that select a checkpoint, and fake models."""
    loaded = []

    def detect(batch):
        loaded.append(len(batch))
        return [Perception(enriched.detector, score_threshold=0.3) for _ in batch]

    models = Models(
        SimpleNamespace(detect=detect),
        SimpleNamespace(
            encode=lambda batch, perceptions: [EncodedImage(enriched) for _ in perceptions]
        ),
    )
    monkeypatch.setattr(Models, "load", lambda settings: models)
    file = tmp_path / "fusion.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    mrmllm: {checkpoint: there}\n    compute: {batch_size: 2}\n"
    )
    return SimpleNamespace(options=["--params-file", str(file)], batches=loaded, models=models)


def test_detect_finds_the_bus_and_at_least_three_people(bus_file, capsys):
    assert main(["detect", "--image", str(bus_file), "--json"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    labels = [d["label"] for d in json.loads(line)["detections"]]
    assert "bus" in labels
    assert labels.count("person") >= 3


@pytest.fixture
def untrained(tmp_path):
    """Options without fusion."""
    file = tmp_path / "untrained.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n"
        "    mrmllm: {checkpoint: ''}\n    evidence: {visual_labels: never}\n"
    )
    return ["--params-file", str(file)]


def test_without_a_checkpoint_detect_says_what_the_detector_says(bus_file, capsys, untrained):
    assert main(["detect", "--image", str(bus_file), "--json", *untrained]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [d["id"] for d in record["detections"]] == [
        i + 1 for i in range(len(record["detections"]))
    ]
    for detection in record["detections"]:
        assert set(detection) == RECORD
        assert detection["detector_label"] == detection["label"]
        assert detection["detector_score"] == detection["score"] >= 0.3
        assert detection["novelty"] == 0.0
    # Measured on the pixels, as in the node.
    assert {"yellow", "blue"} & {d["attributes"].get("color") for d in record["detections"]}


def test_detect_prints_one_json_object_for_each_image_in_their_order(
    bus_file, zidane_file, capsys
):
    paths = [str(path) for path in (zidane_file, bus_file, zidane_file)]
    assert main(["detect", "--image", *paths, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["image"] for record in records] == paths
    assert ["bus" in [d["label"] for d in r["detections"]] for r in records] == [
        False,
        True,
        False,
    ]
    assert records[0]["detections"] == records[2]["detections"]


def test_detect_prints_one_text_for_each_image(bus_file, zidane_file, capsys):
    assert main(["detect", "--image", str(bus_file), str(zidane_file)]) == 0
    bus, zidane = capsys.readouterr().out.split(f"{zidane_file}:\n")
    assert bus.startswith(f"{bus_file}:\n")
    assert " bus 0." in bus
    assert " person 0." in zidane
    assert " bus 0." not in zidane


def test_detect_through_a_checkpoint_prints_what_fusion_reports(bus_file, capsys, fusion):
    assert main(["detect", "--image", str(bus_file), "--json", *fusion.options]) == 0
    detections = json.loads(capsys.readouterr().out)["detections"]
    assert detections == [
        {
            "id": 1,
            "label": "bus",
            "score": 0.875,
            "xyxy": [0.0, 0.0, 600.0, 400.0],
            "detector_label": "bus",
            "detector_score": 0.75,
            "novelty": 0.0,
            "attributes": {"color": "red"},
        },
        {
            "id": 3,
            "label": "forklift",
            "score": 0.625,
            "xyxy": [100.0, 100.0, 320.0, 220.0],
            "detector_label": "box",
            "detector_score": 0.125,
            "novelty": 0.75,
            "attributes": {},
        },
    ]


def test_no_more_images_than_the_batch_size_go_through_the_models_together(
    bus_file, capsys, fusion
):
    arguments = ["detect", "--image", *[str(bus_file)] * 5, "--json", *fusion.options]
    assert main(arguments) == 0
    assert fusion.batches == [2, 2, 1]
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_the_records_are_serializable_as_json(enriched):
    assert json.loads(json.dumps([Detection.of(enriched, i).to_dict() for i in (0, 2)]))


def test_several_images_cannot_be_saved_as_one(bus_file, zidane_file, tmp_path, capsys):
    saved = tmp_path / "annotated.png"
    arguments = ["--image", str(bus_file), str(zidane_file), "--save", str(saved)]
    assert main(["detect", *arguments]) == 2
    assert "is a file for 2 images; name a folder" in capsys.readouterr().err
    assert not saved.exists()


def test_several_annotated_images_are_saved_into_a_folder(
    bus_file, zidane_file, bus_image, tmp_path, fusion
):
    out = tmp_path / "new" / "out"
    paths = [str(path) for path in (bus_file, zidane_file, bus_file)]
    assert main(["detect", "--image", *paths, "--save", str(out), *fusion.options]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["bus.png", "bus_3.png", "zidane.png"]
    assert cv2.imread(str(out / "bus_3.png")).shape == bus_image.shape


def test_the_images_themselves_are_never_overwritten_by_annotated_ones(
    bus_file, zidane_file, tmp_path, capsys, fusion
):
    before = bus_file.read_bytes()
    arguments = ["--image", str(bus_file), str(zidane_file), "--save", str(tmp_path)]
    assert main(["detect", *arguments, *fusion.options]) == 2
    assert f"would overwrite {bus_file}" in capsys.readouterr().err
    assert bus_file.read_bytes() == before


@pytest.mark.parametrize("place", ["nowhere/a.png", "file/a.png", "file", "file/out"])
def test_an_unwritable_target_is_rejected_before_models_are_loaded(
    place, bus_file, tmp_path, capsys, fusion, monkeypatch
):
    monkeypatch.setattr(Models, "load", None)
    (tmp_path / "file").touch()
    arguments = ["--image", str(bus_file), "--save", str(tmp_path / place)]
    assert main(["detect", *arguments, *fusion.options]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert str((tmp_path / place).parent) in line


def test_an_image_that_cannot_be_saved_is_counted_and_the_others_are_saved(
    bus_file, zidane_file, tmp_path, capsys, fusion
):
    out = tmp_path / "out"
    (out / "bus.png").mkdir(parents=True)
    arguments = ["--image", str(bus_file), str(zidane_file), "--save", str(out)]
    assert main(["detect", *arguments, *fusion.options]) == 1
    printed = capsys.readouterr()
    assert f"cannot save {out / 'bus.png'}: Is a directory" in printed.err
    assert printed.err.splitlines()[-1] == "mrmllm: error: 1 of 2 images could not be saved"
    assert (out / "zidane.png").is_file()


def test_detect_saves_the_annotated_image(bus_file, bus_image, tmp_path):
    saved = tmp_path / "annotated.png"
    assert main(["detect", "--image", str(bus_file), "--save", str(saved)]) == 0
    annotated = cv2.imread(str(saved))
    assert annotated.shape == bus_image.shape
    assert (annotated != bus_image).any()


def test_the_annotated_image_shows_what_is_reported_and_nothing_else(
    bus_file, tmp_path, monkeypatch, fusion
):
    drawn = []

    def draw(image, detections, captions):
        drawn.extend(zip(captions, detections.labels, strict=True))
        return image

    monkeypatch.setattr("mrmllm_ros.detection.annotation.draw_detections", draw)
    saved = str(tmp_path / "annotated.png")
    assert main(["detect", "--image", str(bus_file), "--save", saved, *fusion.options]) == 0
    assert [(text[:3], label) for text, label in drawn] == [("[1]", "bus"), ("[3]", "forklift")]


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
        assert all(set(detection) == RECORD for detection in record["detections"])
        assert len(record["detections"][0]["xyxy"]) == 4
        assert 0 < record["time_to_first_token_s"] <= record["latency_s"]
        assert record["truncated"]


def test_ask_streams_the_answer_as_text(bus_file, capsys):
    assert main(["ask", "--image", str(bus_file), "Is there a bus?"]) == 0
    printed = capsys.readouterr().out
    assert "Q: Is there a bus?" in printed
    assert "A: " in printed
    assert "truncated" not in printed


def test_ask_says_that_an_answer_was_cut(bus_file, capsys):
    assert main(["ask", "--image", str(bus_file), "--max-new-tokens", "4", "Is there a bus?"]) == 0
    assert "(truncated; --max-new-tokens sets the maximum)" in capsys.readouterr().out


def test_unreadable_images_are_named_and_counted_and_the_others_are_processed(
    bus_file, tmp_path, capsys, fusion
):
    missing, text = tmp_path / "missing.png", tmp_path / "text.png"
    text.write_text("no image")
    paths = [missing, bus_file, text, bus_file, bus_file, bus_file]
    assert main(["detect", "--image", *map(str, paths), "--json", *fusion.options]) == 1
    printed = capsys.readouterr()
    assert [json.loads(line)["image"] for line in printed.out.splitlines()] == [str(bus_file)] * 4
    first, second, last = printed.err.splitlines()
    assert first == f"mrmllm: error: cannot read the image {missing}: No such file or directory"
    assert str(text) in second
    assert last == "mrmllm: error: 2 of 6 images could not be read"


def test_where_no_image_can_be_read_no_model_is_loaded(tmp_path, capsys, fusion, monkeypatch):
    monkeypatch.setattr(Models, "load", None)
    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    assert main(["detect", "--image", *paths, *fusion.options]) == 2
    assert "2 of 2 images could not be read" in capsys.readouterr().err


def test_results_are_printed_and_images_freed_before_the_next_are_read(
    bus_file, capsys, fusion, monkeypatch
):
    read, alive = images_module.read_image, []
    printed = []

    def watched(path):
        printed.append(len(capsys.readouterr().out.splitlines()))
        assert sum(reference() is not None for reference in alive) < 2
        image = read(path)
        alive.append(weakref.ref(image))
        return image

    monkeypatch.setattr(images_module, "read_image", watched)
    assert main(["detect", "--image", *[str(bus_file)] * 6, "--json", *fusion.options]) == 0
    assert printed == [0, 0, 2, 0, 2, 0]


def test_a_folder_stands_for_its_images_and_an_unusable_one_is_counted(
    bus_file, zidane_file, tmp_path, capsys, fusion
):
    empty = tmp_path / "empty.png"
    empty.mkdir()
    assert main(["detect", "--image", str(empty), str(tmp_path), "--json", *fusion.options]) == 1
    printed = capsys.readouterr()
    images = [json.loads(line)["image"] for line in printed.out.splitlines()]
    assert images == [str(bus_file), str(zidane_file)]
    assert f"the folder {empty} holds no images" in printed.err
    assert "1 of 3 images could not be read" in printed.err


def test_a_failure_on_one_image_does_not_affect_the_others(
    bus_file, zidane_file, capsys, fusion, monkeypatch
):
    detect = fusion.models.detector.detect

    def fails_on_wide(batch):
        if any(image.shape[1] > image.shape[0] for image in batch):
            raise RuntimeError("too wide\nfor this model")
        return detect(batch)

    monkeypatch.setattr(fusion.models.detector, "detect", fails_on_wide)
    paths = [str(path) for path in (bus_file, zidane_file, bus_file)]
    assert main(["detect", "--image", *paths, "--json", *fusion.options]) == 1
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 2
    first, last = printed.err.splitlines()
    assert f"inference failed on {zidane_file}: RuntimeError: too wide for this model" in first
    assert last == "mrmllm: error: 1 of 3 images could not be processed"


@pytest.mark.parametrize("name", [os.fsdecode(b"caf\xe9.png"), "caf\u00e9.png"])
def test_any_file_name_is_printed_and_saved_whatever_the_encoding(
    name, bus_image, tmp_path, fusion, monkeypatch
):
    path = tmp_path / name
    path.write_bytes(cv2.imencode(".png", bus_image)[1])
    for options in ([], ["--json"]):
        written = io.BytesIO()
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
        saved = ["--save", str(tmp_path / "out")]
        assert main(["detect", "--image", str(path), *options, *saved, *fusion.options]) == 0
        line = written.getvalue().decode("ascii").splitlines()[0]
        assert (json.loads(line)["image"] == str(path)) if options else ("caf\\" in line)
    assert (tmp_path / "out" / name).is_file()


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


def test_without_an_answerer_detect_works_and_ask_names_the_fix(bus_file, tmp_path, capsys):
    file = tmp_path / "detector.yaml"
    file.write_text("/**: {ros__parameters: {answerer: none}}")
    options = ["--image", str(bus_file), "--params-file", str(file)]
    assert main(["detect", *options, "--json"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert "bus" in {detection["label"] for detection in json.loads(line)["detections"]}
    assert main(["ask", *options, "Is there a bus?"]) == 2
    assert "answerer mrmllm or hf_vlm" in capsys.readouterr().err


def test_a_checkpoint_for_an_answerer_that_takes_none_is_rejected(bus_file, tmp_path, capsys):
    file = tmp_path / "vlm.yaml"
    file.write_text("/**: {ros__parameters: {answerer: hf_vlm}}")
    options = ["--image", str(bus_file), "--params-file", str(file), "--checkpoint", "embedded"]
    assert main(["ask", *options, "Is there a bus?"]) == 2
    assert "--checkpoint" in capsys.readouterr().err


def test_a_failed_question_does_not_affect_the_others(bus_file, capsys, fusion):
    asked = []

    def answer(encoded, question, listener):
        asked.append(question.text)
        raise PromptTooLongError("it is too long")

    fusion.models.answerer.answer = answer
    questions = ["Is there a bus?", os.fsdecode(b"Is caf\xe9 open?")]
    assert main(["ask", "--image", str(bus_file), *fusion.options, *questions]) == 2
    assert "2 of 2 questions could not be answered" in capsys.readouterr().err
    # Tokenizers need valid Unicode.
    assert asked == ["Is there a bus?", "Is caf\ufffd open?"]


@pytest.mark.parametrize("command", [["detect"], ["ask", "Is it dark?"]])
def test_a_context_with_control_characters_is_rejected(command, bus_file, capsys):
    assert main([*command, "--image", str(bus_file), "--context", "a\nroom"]) == 2
    assert "context: the context contains the unprintable character" in capsys.readouterr().err


def test_max_new_tokens_of_0_is_rejected(bus_file, capsys):
    assert main(["ask", "--image", str(bus_file), "--max-new-tokens", "0", "Is it dark?"]) == 2
    assert "max_new_tokens: 0 is below the minimum of 1" in capsys.readouterr().err
