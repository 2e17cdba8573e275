# SPDX-License-Identifier: Apache-2.0
"""`mrmllm_ros.load` with the embedded models on real photographs."""

import gc
import importlib.util
import re
import shutil
import weakref
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pytest
from PIL import Image

import mrmllm_ros
from mrmllm_ros.answering.answerer import Answer, EncodedImage, PromptTooLongError
from mrmllm_ros.detection.detections import LOOKS_LIKE, Attribute
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.engine import answerer_loading
from mrmllm_ros.engine.engine_settings import Settings
from mrmllm_ros.pipeline import (
    ImageAnswer,
    ImageDetections,
    Pipeline,
    PipelineError,
    read_settings,
)
from mrmllm_ros.settings import SettingsError

ROOT = Path(__file__).parents[1]
QUESTION = "How many people are there?"


@pytest.fixture(scope="module")
def model():
    with mrmllm_ros.load(compute={"device": "cpu"}) as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def bus(model, bus_image):
    """Detections in the photograph of the bus."""
    return model.detect(bus_image)


@pytest.fixture(scope="session")
def bus_jpg():
    [folder] = importlib.util.find_spec("ultralytics").submodule_search_locations
    return Path(folder) / "assets" / "bus.jpg"


class FakeAnswerer:
    """Encodes without changes, and answers with the words of a function."""

    def __init__(self, words):
        self.words = words

    def encode(self, images, perceptions):
        return [EncodedImage(EnrichedDetections.unchanged(p)) for p in perceptions]

    def answer(self, encoded, question, listener):
        said = []
        for word in self.words():
            listener.on_text(word)
            said.append(word)
            if listener.should_stop():
                break
        return Answer("".join(said), 0.5, (), tuple(range(len(said))), False)


class FakeDetector:
    """Finds one object, and records the images."""

    def __init__(self, detections):
        self.detections = detections
        self.images = []

    def detect(self, images):
        self.images += images
        return [Perception(self.detections, score_threshold=0.3) for _ in images]


@pytest.fixture
def make_pipeline(make_detections):
    """Function that makes a pipeline with fake models."""

    def make(words=lambda: ["Yes", "."]):
        detector = FakeDetector(make_detections(("bus", 0.9, (0, 0, 60, 40))))
        return Pipeline(detector, FakeAnswerer(words), Settings())

    return make


def as_values(detections):
    return [(d.id, d.label, d.score, d.xyxy, d.novelty, dict(d.attributes)) for d in detections]


def test_detections_are_typed_and_iterable(bus):
    labels = [detection.label for detection in bus]
    assert "bus" in labels
    assert labels.count("person") >= 3
    assert len(bus) == len(labels)
    assert [detection.id for detection in bus] == sorted({detection.id for detection in bus})
    largest = bus[0]
    assert isinstance(largest.id, int)
    assert isinstance(largest.score, float)
    left, top, right, bottom = largest.xyxy
    assert 0 <= left < right <= 811
    assert 0 <= top < bottom <= 1081
    assert 0 <= largest.novelty <= 1
    colors = {d.attributes["color"].value for d in bus if "color" in d.attributes}
    assert colors & {"yellow", "blue"}
    assert re.fullmatch(r"\[1\] \w+ 0\.\d\d \(-?\d+, -?\d+, \d+, \d+\)(, not .+)?", str(largest))


def test_a_corrected_object_says_what_it_is_not_and_why(make_detections):
    box = (0, 0, 60, 40)
    enriched = EnrichedDetections(
        fused=make_detections(("apple", 0.75, box), ("cup", 0.5, box)),
        detector=make_detections(("vase", 0.5, box), ("cup", 0.5, box)),
        reported=np.array([0, 1]),
        novelty=np.zeros(2, np.float32),
        attributes=((Attribute(LOOKS_LIKE, "Granny Smith", 0.8),), ()),
    )
    apple, cup = ImageDetections(enriched)
    assert apple.correction == "not vase: looks like Granny Smith 0.80"
    assert str(apple) == f"[1] apple 0.75 (0, 0, 60, 40), {apple.correction}"
    assert apple.to_dict()["attributes"] == {"looks_like": "Granny Smith"}
    assert apple.to_dict()["detector_label"] == "vase"
    assert cup.correction == ""
    assert str(cup) == "[2] cup 0.50 (0, 0, 60, 40)"


def test_an_answer_cites_detections_with_their_boxes(model, bus):
    answer = model.ask(bus, QUESTION)
    assert str(answer) == answer.text
    assert answer.question == QUESTION
    assert 0 < answer.confidence <= 1
    assert not answer.truncated
    assert answer.detections is bus
    cited = [int(number) for number in re.findall(r"\[(\d+)\]", answer.text)]
    assert cited
    assert [detection.id for detection in answer.cited] == list(dict.fromkeys(cited))
    by_id = {detection.id: detection for detection in bus}
    for detection in answer.cited:
        assert detection.label == "person"
        assert detection == by_id.get(detection.id, detection)
    assert set(by_id) & set(cited)


def test_an_answer_may_cite_a_doubtful_object_which_is_not_reported(make_detections):
    found = make_detections(("bus", 0.8, (0, 0, 90, 90)), ("cup", 0.25, (9, 9, 20, 20)))
    detections = ImageDetections(EnrichedDetections.unchanged(Perception(found, 0.3)))
    answer = Answer("Perhaps I see a cup [2].", 0.5, (2,), (1, 2), False)
    cited = ImageAnswer.of("Is there a cup?", answer, detections).cited
    assert [str(each) for each in cited] == ["[2] cup 0.25 (9, 9, 20, 20)"]
    assert [each.id for each in detections] == [1]


def test_a_question_about_an_image_and_about_its_detections_gets_the_same_answer(
    model, bus, bus_image
):
    direct = model.ask(bus_image, QUESTION)
    assert direct.text == model.ask(bus, QUESTION).text
    assert as_values(direct.detections) == as_values(bus)


def test_several_questions_about_one_image_encode_it_once(model, bus_image, monkeypatch):
    calls = []
    detect, prefill = model._detector.detect, model._answerer.model.prefill

    def counted(name, function):
        return lambda *arguments: (calls.append(name), function(*arguments))[1]

    monkeypatch.setattr(model._detector, "detect", counted("detect", detect))
    monkeypatch.setattr(model._answerer.model, "prefill", counted("prefill", prefill))
    detections = model.detect(bus_image)
    for question in (QUESTION, "Is there a bus?"):
        assert model.ask(detections, question, max_new_tokens=2).text
    assert calls == ["detect", "prefill"]


def test_a_stream_gives_the_text_of_the_answer_in_pieces(model, bus):
    stream = model.stream(bus, QUESTION)
    pieces = list(stream)
    assert len(pieces) > 1
    assert stream.answer == model.ask(bus, QUESTION)
    assert "".join(pieces).strip() == stream.answer.text
    assert list(stream) == []


def test_no_more_tokens_than_asked_for_are_generated(model, bus):
    answer = model.ask(bus, QUESTION, max_new_tokens=3)
    assert answer.tokens == 3
    assert answer.truncated
    with pytest.raises(SettingsError, match="max_new_tokens: 0 is below the minimum of 1"):
        model.ask(bus, QUESTION, max_new_tokens=0)


def test_the_context_of_a_question_is_part_of_its_prompt(model, bus, monkeypatch):
    asked = []
    answer = model._answerer.answer
    monkeypatch.setattr(
        model._answerer,
        "answer",
        lambda encoded, question, listener: (
            asked.append(question) or answer(encoded, question, listener)
        ),
    )
    model.ask(bus, QUESTION, max_new_tokens=2, context="a street")
    assert model.stream(bus, QUESTION, max_new_tokens=2, context="a square").answer.text
    model.ask(bus, QUESTION, max_new_tokens=2)
    assert [question.context for question in asked] == ["a street", "a square", ""]


@pytest.mark.parametrize(
    ("context", "error"),
    [(None, "the context has type NoneType"), ("a\nb", r"U\+000A"), ("x" * 201, "201 characters")],
)
def test_a_context_that_is_no_short_text_is_rejected(context, error, model, bus):
    with pytest.raises(PipelineError, match=error):
        model.ask(bus, QUESTION, context=context)


def test_a_path_an_array_and_an_image_of_pil_give_the_same(model, bus, bus_jpg):
    for image in (bus_jpg, str(bus_jpg), Image.open(bus_jpg)):
        assert as_values(model.detect(image)) == as_values(bus)


def test_a_prompt_that_is_too_long_is_an_error_of_ask_and_of_a_stream(model, bus):
    question = "Is there a bus? " * 3000
    with pytest.raises(PromptTooLongError):
        model.ask(bus, question)
    stream = model.stream(bus, question)
    for _ in range(2):
        with pytest.raises(PromptTooLongError):
            next(stream)
    with pytest.raises(PromptTooLongError):
        _ = stream.answer


def test_a_batch_gives_what_its_images_give_alone(model, bus, bus_image, zidane_image):
    zidane, second = model.detect_batch([zidane_image, bus_image])
    assert [d.label for d in second] == [d.label for d in bus]
    assert "person" in [d.label for d in zidane]
    assert model.detect_batch([]) == []


@pytest.mark.parametrize(
    ("image", "named"),
    [
        (None, "NoneType"),
        (b"bytes", "bytes"),
        ([[1, 2, 3]], "list"),
        (5, "int"),
        (np.zeros((4, 4), np.uint8), r"\(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"\(1, 4, 4, 3\)"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
        (Image.new("I;16", (4, 4)), "I;16"),
        (Image.new("F", (4, 4)), "mode F"),
        (Image.new("RGB", (0, 4)), "empty"),
        ("missing.jpg", "missing.jpg: No such file"),
        (Path("missing.jpg"), "missing.jpg: No such file"),
        ("nul\0.jpg", "cannot read the image"),
        (".", "Is a directory"),
    ],
    ids=repr,
)
def test_an_image_that_cannot_be_used_is_an_error_that_names_it(image, named, make_pipeline):
    pipeline = make_pipeline()
    for use in (pipeline.detect, pipeline.ask, pipeline.stream):
        with pytest.raises(ImageError, match=named):
            use(image)


def test_an_image_of_pil_whose_file_is_closed_is_an_error(bus_jpg, make_pipeline):
    with Image.open(bus_jpg) as image:
        pass
    with pytest.raises(ImageError, match="cannot be read"):
        make_pipeline().detect(image)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_images_of_pil_of_eight_bits_are_taken_in_every_mode(mode, make_pipeline):
    pipeline = make_pipeline()
    pipeline.detect(Image.new("RGB", (5, 4), "white").convert(mode))
    [image] = pipeline._detector.images
    assert image.shape == (4, 5, 3)
    assert (image > 250).all()


def test_an_image_of_pil_is_turned_as_its_file_is(tmp_path, make_pipeline):
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    picture = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    pipeline = make_pipeline()
    pipeline.detect(tmp_path / "turned.png")
    pipeline.detect(Image.open(tmp_path / "turned.png"))
    from_file, from_pil = pipeline._detector.images
    assert from_file.shape == (6, 4, 3)
    np.testing.assert_array_equal(from_file, from_pil)
    np.testing.assert_array_equal(from_file, cv2.imread(str(tmp_path / "turned.png")))


def test_an_array_is_copied_and_may_have_any_strides(make_pipeline):
    rgb = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    expected = rgb[..., ::-1].copy()
    pipeline = make_pipeline()
    pipeline.detect(rgb[..., ::-1])
    rgb[:] = 0
    [image] = pipeline._detector.images
    np.testing.assert_array_equal(image, expected)
    assert image.flags.c_contiguous


@pytest.mark.parametrize("question", [None, 5, b"Is there a bus?", "caf\udce9"])
def test_a_question_that_is_not_text_is_an_error(question, make_pipeline):
    with pytest.raises(PipelineError, match="the question"):
        make_pipeline().ask(np.zeros((4, 4, 3), np.uint8), question)


def test_detections_of_another_pipeline_are_an_error(make_pipeline):
    detections = make_pipeline().detect(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(PipelineError, match="from another pipeline"):
        make_pipeline().ask(detections)


def test_closing_frees_the_models_while_detections_and_answers_stay(bus_image):
    with mrmllm_ros.load(compute={"device": "cpu"}) as pipeline:
        detections = pipeline.detect(bus_image)
        stream = pipeline.stream(detections, QUESTION, max_new_tokens=2)
        answer = stream.answer
        held = [weakref.ref(pipeline._answerer.model), weakref.ref(pipeline._detector)]
    gc.collect()
    assert [reference() for reference in held] == [None, None]
    assert answer.detections[0].label == detections[0].label
    for use in (pipeline.detect, pipeline.ask, pipeline.stream):
        with pytest.raises(PipelineError, match="closed"):
            use(bus_image)
    pipeline.close()


@pytest.fixture
def endless(make_pipeline):
    """Pipeline with endless answers, and an event that is set when one has ended."""
    ended = Event()

    def words():
        try:
            while True:
                yield "again "
        finally:
            ended.set()

    return make_pipeline(words), ended


@pytest.mark.parametrize("end", ["close", "with", "forget", "close the pipeline"])
def test_generation_ends_with_its_stream(end, endless):
    pipeline, ended = endless
    stream = pipeline.stream(np.zeros((4, 4, 3), np.uint8))
    assert next(stream) == "again "
    if end == "close":
        stream.close()
        assert stream.answer.text.startswith("again ")
    elif end == "with":
        with stream:
            pass
    elif end == "forget":
        del stream
    else:
        pipeline.close()
    assert ended.wait(30)


def test_a_vision_language_model_answers_too(vlm_folder, bus_image):
    vlm = {"model": str(vlm_folder)}
    with mrmllm_ros.load(answerer="hf_vlm", vlm=vlm, compute={"device": "cpu"}) as pipeline:
        stream = pipeline.stream(bus_image, QUESTION, max_new_tokens=4)
        assert "".join(stream).strip() == stream.answer.text
        assert "bus" in [detection.label for detection in stream.answer.detections]


@pytest.mark.parametrize(
    ("keywords", "answers"),
    [
        ({"mrmllm": {"checkpoint": ""}, "evidence": {"visual_labels": "never"}}, False),
        ({"answerer": "none"}, True),
        ({"answerer": "none"}, False),
    ],
)
def test_detection_only_loads_no_answering_model(keywords, answers, bus_image, monkeypatch):
    monkeypatch.setattr(answerer_loading, "load_answerer", None)
    settings = read_settings("", {**keywords, "compute": {"device": "cpu"}})
    with Pipeline.load(settings, answers) as pipeline:
        detections = pipeline.detect(bus_image)
        assert "bus" in [detection.label for detection in detections]
        with pytest.raises(PipelineError, match="with the parameter answerer mrmllm or hf_vlm"):
            pipeline.ask(detections, QUESTION)


@pytest.mark.parametrize(("visual_labels", "corrects"), [("auto", True), ("never", False)])
def test_detection_only_corrects_labels_as_answers_do(visual_labels, corrects):
    keywords = {"mrmllm": {"checkpoint": ""}, "evidence": {"visual_labels": visual_labels}}
    settings = read_settings("", {**keywords, "compute": {"device": "cpu"}})
    with Pipeline.load(settings, answers=False) as pipeline:
        assert (getattr(pipeline._answerer, "label_fusion", None) is not None) == corrects


def test_settings_are_those_of_a_profile_a_file_and_keywords(tmp_path):
    assert read_settings("", {}) == Settings()
    embedded = read_settings("embedded", {})
    assert embedded.mrmllm.checkpoint == "embedded"
    assert not embedded.mrmllm.head_uses_language_model
    file = tmp_path / "robot.yaml"
    file.write_text("mrmllm_node:\n  ros__parameters:\n    detector: {score_threshold: 0.5}\n")
    keywords = {"detector": {"model": "other.onnx"}, "question": {"max_new_tokens": 9}}
    for source in (file, str(file)):
        settings = read_settings(source, keywords)
        assert settings.detector.score_threshold == 0.5
        assert settings.detector.model == "other.onnx"
        assert settings.question.max_new_tokens == 9
    settings = read_settings(file, {"detector": {"score_threshold": 0.4}})
    assert settings.detector.score_threshold == 0.4


@pytest.mark.parametrize(
    ("source", "keywords", "named"),
    [
        ("embeded", {}, "no profile 'embeded'; known: embedded, gpu"),
        ("missing.yaml", {}, "missing.yaml"),
        ("./missing", {}, "missing"),
        (5, {}, "5 is neither"),
        (None, {}, "None is neither"),
        ("", {"detektor": {"model": "x"}}, "unknown setting detektor; did you mean detector"),
        ("", {"detector": {"modle": "x"}}, "detector: unknown setting modle"),
        ("", {"detector.model": "x"}, "unknown setting detector.model"),
        ("", {"detector": "x"}, "detector: 'x' is not a group"),
        ("", {"detector": None}, "detector: None is not a group"),
        ("", {"detector": {"score_threshold": 7.0}}, "detector: score_threshold: 7.0 is above"),
        ("", {"detector": {"score_threshold": None}}, "None is not of type float"),
    ],
)
def test_settings_that_are_wrong_are_named(source, keywords, named):
    with pytest.raises(SettingsError, match=re.escape(named)):
        mrmllm_ros.load(source, **keywords)


def test_a_keyword_for_a_group_that_a_file_has_a_value_for_is_an_error(tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text("/**: {ros__parameters: {detector: 5}}")
    with pytest.raises(SettingsError, match="detector: 5 is not a group of settings"):
        read_settings(file, {"detector": {"model": "x"}})


def test_a_parameter_in_a_file_that_no_node_has_is_warned_of(tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text("/**: {ros__parameters: {camra: front}}")
    with (
        pytest.warns(UserWarning, match=r"camra does not exist") as caught,
        pytest.raises(SettingsError, match=r"compute\.device"),
    ):
        mrmllm_ros.load(file, compute={"device": "nowhere"})
    assert caught[0].filename == __file__


def test_the_five_lines_of_the_readme_print_an_answer(bus_jpg, tmp_path, monkeypatch, capsys):
    block = re.search(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    if block is None:
        pytest.skip("README.md has no block of Python")
    shutil.copy(bus_jpg, tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    exec(compile(block.group(1), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert re.search(r"\w+ .*\[\d+\]", printed), printed
