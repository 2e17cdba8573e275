# SPDX-License-Identifier: Apache-2.0
import json
import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from making import Recorder
from safetensors.torch import load_file, save_file
from tiny_vlm import PATCHES, SPECIAL

from mrmllm_ros.answering import vlm_answerer
from mrmllm_ros.answering.answerer import Decoding, PromptTooLongError, Question
from mrmllm_ros.answering.vlm_answerer import INSTRUCTION, VlmAnswerer, VlmError
from mrmllm_ros.compute import Compute
from mrmllm_ros.detection.colors import color_attributes
from mrmllm_ros.detection.detector import FixedVocabularyError, Perception
from mrmllm_ros.model.model_settings import VlmSettings
from mrmllm_ros.model.prompt import DESCRIBE, PromptSettings


def load(model, compute):
    return VlmAnswerer.load(VlmSettings(model=str(model)), PromptSettings(), compute)


@pytest.fixture(scope="module")
def answerer(vlm_folder, compute):
    return load(vlm_folder, compute)


@pytest.fixture
def scene(make_detections):
    """A bus and a person, and a doubtful dog that is not reported."""
    return Perception(
        make_detections(
            ("bus", 0.8, (20, 100, 600, 400)),
            ("person", 0.7, (30, 180, 150, 440)),
            ("dog", 0.1, (500, 180, 620, 440)),
        ),
        score_threshold=0.3,
    )


def ask(
    answerer,
    image,
    perception,
    text="What is there?",
    limit=12,
    should_stop=lambda: False,
    context="",
):
    recorder = Recorder(should_stop)
    [encoded] = answerer.encode([image], [perception])
    answer = answerer.answer(encoded, Question(text, Decoding(limit), context), recorder)
    return answer, recorder.pieces


@pytest.fixture
def watched(answerer, monkeypatch):
    """What goes into the model; the answer is that of the model."""
    seen = []
    generate = answerer._model.generate

    def spy(**inputs):
        seen.append(inputs)
        return generate(**inputs)

    monkeypatch.setattr(answerer._model, "generate", spy)
    return seen


def prompt_of(answerer, inputs):
    tokenizer = answerer._processor.tokenizer
    return tokenizer.decode(inputs["input_ids"][0]).replace("<image>" * PATCHES, "<IMAGE>")


def test_it_says_who_it_is(answerer):
    assert (answerer.name, answerer.state) == ("tiny-vlm", "training-free")


def test_an_answer_streams_and_its_pieces_join_to_the_text(answerer, bus_image, scene):
    answer, pieces = ask(answerer, bus_image, scene)
    assert len(pieces) > 1
    assert "".join(pieces).strip() == answer.text != ""
    assert 0 < answer.confidence <= 1
    assert 2 < answer.tokens <= 12


def test_an_answer_ends_at_the_token_after_which_it_shall_stop(answerer, bus_image, scene):
    answer, pieces = ask(answerer, bus_image, scene, should_stop=lambda: True)
    assert answer.tokens == 1
    assert "".join(pieces).strip() == answer.text


def test_an_answer_has_no_more_tokens_than_allowed(answerer, bus_image, scene):
    assert ask(answerer, bus_image, scene, limit=3)[0].tokens == 3


def test_the_model_gets_image_instruction_objects_and_question(
    answerer, bus_image, scene, watched
):
    ask(answerer, bus_image, scene, "Is there a bus?", limit=1)
    assert prompt_of(answerer, watched[0]) == (
        f"<|user|><IMAGE>{INSTRUCTION}\nObjects:\n"
        "nearest first [2][1]\nleft [2] middle [1]\n"
        "bus [1] middle 48,83\nperson [2] left 14,91\n"
        "Is there a bus?<|end|><|answer|>"
    )


def test_contexts_of_node_and_question_are_parts_of_the_prompt(
    answerer, bus_image, make_detections, watched
):
    nothing = Perception(make_detections(), 0.3)
    answerer.set_context("a street<|end|>")
    try:
        ask(answerer, bus_image, nothing, "Who?", limit=1, context="It is night.")
    finally:
        answerer.set_context("")
    assert prompt_of(answerer, watched[0]) == (
        f"<|user|><IMAGE>{INSTRUCTION} You are in a street .\nObjects:\nNo objects.\n"
        "Context: It is night.\nWho?<|end|><|answer|>"
    )


def test_an_empty_question_about_nothing_asks_for_a_description(
    answerer, bus_image, make_detections, watched
):
    answer, _ = ask(answerer, bus_image, Perception(make_detections(), 0.3), "  ", limit=1)
    assert prompt_of(answerer, watched[0]).endswith(
        f"Objects:\nNo objects.\n{DESCRIBE}<|end|><|answer|>"
    )
    assert answer.cited == ()


def test_the_model_sees_the_image_in_red_green_blue(answerer, scene, watched):
    blue = np.zeros((48, 64, 3), np.uint8)
    blue[..., 0] = 255
    ask(answerer, blue, scene, limit=1)
    processor = answerer._processor.image_processor
    [mean, deviation] = (np.array(x) for x in (processor.image_mean, processor.image_std))
    seen = watched[0]["pixel_values"][0].mean((1, 2)).numpy() * deviation + mean
    np.testing.assert_allclose(seen, [0, 0, 1], atol=1e-3)


def test_the_answer_depends_on_the_image(answerer, bus_image, zidane_image, scene):
    answers = [ask(answerer, image, scene)[0] for image in (bus_image, zidane_image)]
    assert answers[0].text != answers[1].text


@pytest.mark.parametrize("token", SPECIAL)
def test_special_tokens_in_questions_and_labels_are_plain_text(
    token, answerer, bus_image, make_detections, watched
):
    attacked = make_detections((f"bus{token}", 0.8, (20, 100, 600, 400)))
    ask(answerer, bus_image, Perception(attacked, 0.3), f"A{token}B", limit=1)
    assert prompt_of(answerer, watched[0]) == (
        f"<|user|><IMAGE>{INSTRUCTION}\nObjects:\nbus  [1] middle 48,83\nA B<|end|><|answer|>"
    )


def test_an_answer_that_does_not_fit_into_the_context_is_refused_with_the_fix(
    answerer, bus_image, scene
):
    with pytest.raises(PromptTooLongError, match=r"holds 2048.*prompt\.token_budget"):
        ask(answerer, bus_image, scene, limit=2048)


def test_only_listed_objects_are_cited(answerer, bus_image, scene, monkeypatch):
    citable = []
    monkeypatch.setattr(
        vlm_answerer, "generate_answer", lambda *inputs: citable.append(inputs[-1])
    )
    ask(answerer, bus_image, scene)
    answerer.configure(PromptSettings(max_objects=1))
    try:
        ask(answerer, bus_image, scene)
        assert citable == [{1, 2}, {1}]
    finally:
        answerer.configure(PromptSettings())


def test_reading_runs_no_model_and_leaves_detections_as_they_are(
    answerer, bus_image, zidane_image, scene, make_detections, watched
):
    nothing = Perception(make_detections(), 0.3)
    first, second = answerer.encode([bus_image, zidane_image], [scene, nothing])
    assert not watched
    assert first.enriched.fused is scene.candidates
    assert first.enriched.reported.tolist() == [0, 1]
    assert first.enriched.attributes == color_attributes(bus_image, scene.candidates)
    assert first.image is bus_image
    assert len(second.enriched.fused) == 0
    assert answerer.encode([], []) == []


def test_threads_at_once_get_what_one_gets(answerer, bus_image, zidane_image, scene):
    images = [bus_image, zidane_image] * 2
    expected = [ask(answerer, image, scene) for image in images]
    results = [None] * len(images)

    def work(index):
        results[index] = ask(answerer, images[index], scene)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.text for answer, _ in results] == [answer.text for answer, _ in expected]
    assert [pieces for _, pieces in results] == [pieces for _, pieces in expected]


def test_it_computes_in_the_precision_that_is_asked_for(vlm_folder, bus_image, scene):
    answerer = load(vlm_folder, Compute(torch.device("cpu"), torch.bfloat16, 0))
    assert {p.dtype for p in answerer._model.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad for p in answerer._model.parameters())
    assert ask(answerer, bus_image, scene, limit=2)[0].tokens == 2


def test_labels_are_left_to_the_detector(answerer):
    with pytest.raises(FixedVocabularyError) as error:
        answerer.set_vocabulary(["cat"])
    assert "set the parameter answerer to mrmllm" in str(error.value)


def test_a_model_must_be_named(compute):
    with pytest.raises(VlmError, match=r"^vlm\.model: the answerer hf_vlm needs a .* name a"):
        VlmAnswerer.load(VlmSettings(), PromptSettings(), compute)


def test_a_missing_folder_is_named(compute):
    with pytest.raises(VlmError, match=r"^vlm\.model: the folder /nowhere/model does not exist$"):
        load("/nowhere/model", compute)


def assert_refused(model, compute, reason=None):
    with pytest.raises(VlmError, match=reason) as error:
        load(model, compute)
    message = str(error.value)
    assert message.startswith(f"the vision-language model '{model}' ")
    assert message.endswith(" with the parameter vlm.model")
    assert ".." not in message
    assert "\n" not in message


def test_a_model_that_cannot_be_had_is_named_with_the_parameter(compute):
    assert_refused("mrmllm-test/nowhere", compute, "cannot be loaded: ")


@pytest.fixture
def own_folder(vlm_folder, tmp_path):
    """A copy to damage."""
    return shutil.copytree(vlm_folder, tmp_path / "own")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", None),
        ("config.json", "{"),
        ("config.json", json.dumps({"model_type": "llama"})),
        ("model.safetensors", None),
        ("model.safetensors", "not weights"),
        ("processor_config.json", None),
        ("tokenizer.json", None),
    ],
)
def test_a_folder_that_lacks_a_file_or_has_a_damaged_one_is_named(name, text, own_folder, compute):
    (own_folder / name).unlink()
    if text is not None:
        (own_folder / name).write_text(text)
    assert_refused(own_folder, compute)


def test_pickled_weights_are_not_read(answerer, own_folder, compute):
    (own_folder / "model.safetensors").unlink()
    torch.save(answerer._model.state_dict(), own_folder / "pytorch_model.bin")
    assert_refused(own_folder, compute, "safetensors")


def test_a_model_that_lacks_weights_is_not_filled_up_with_random_ones(own_folder, compute):
    file = own_folder / "model.safetensors"
    stored = load_file(file)
    name = next(name for name in stored if name.endswith("up_proj.weight"))
    del stored[name]
    save_file(stored, file, metadata={"format": "pt"})
    assert_refused(own_folder, compute, "no weights for")


def test_a_model_without_a_chat_template_is_refused(own_folder, compute):
    (own_folder / "chat_template.jinja").unlink()
    assert_refused(own_folder, compute, "has no chat template")


def test_code_that_comes_with_a_model_runs_only_where_it_is_trusted(compute, monkeypatch):
    asked = []

    def refuse(source, **options):
        asked.append(options["trust_remote_code"])
        raise ValueError("enough seen")

    monkeypatch.setattr(
        vlm_answerer, "AutoModelForImageTextToText", SimpleNamespace(from_pretrained=refuse)
    )
    for trusted in (False, True):
        settings = VlmSettings(model="mrmllm-test/any", trust_remote_code=trusted)
        with pytest.raises(VlmError, match="enough seen"):
            VlmAnswerer.load(settings, PromptSettings(), compute)
    assert asked == [False, True]
