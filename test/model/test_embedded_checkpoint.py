# SPDX-License-Identifier: Apache-2.0
"""The trained weights that come with the package, on real photographs."""

import re

import numpy as np
import pytest

from mrmllm_ros.answering.answerer import Decoding, Question, SilentListener
from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.datasets.corruptions import corrupt
from mrmllm_ros.model import prompt
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.model_settings import (
    AUTO,
    EMBEDDED_CHECKPOINT,
    LanguageModelSettings,
    MrMllmSettings,
    VisualEncoderSettings,
)

MODELS = ("smollm2-135m-instruct", "nanodet-g", "efficientnet-lite0")


@pytest.fixture(scope="module")
def answerer(compute, detector):
    """With a language model of its own: the trained weights are merged into it."""
    backbones = Backbones.load(
        detector,
        LanguageModelSettings(),
        VisualEncoderSettings(),
        compute,
        str(EMBEDDED_CHECKPOINT),
    )
    return MrMllmAnswerer.load(MrMllmSettings("embedded"), prompt.PromptSettings(), backbones)


@pytest.fixture(scope="module")
def ask(answerer, detector, bus_image, zidane_image):
    """Function that asks about one of the photographs; gives answer and detections."""
    encoded_images = {}
    for name, image in (("bus", bus_image), ("zidane", zidane_image)):
        [perception] = detector.detect([image])
        [encoded_images[name]] = answerer.encode([image], [perception])

    def answer(name, question):
        encoded = encoded_images[name]
        said = answerer.answer(encoded, Question(question, Decoding(96)), SilentListener())
        return said, encoded.enriched.detector

    return answer


def reported(detections):
    """Ids of what is listed: the candidates from the detector's threshold on."""
    return [i for i, score in enumerate(detections.scores, start=1) if score >= 0.3]


def shares_of(detections):
    """(N, 4) boxes as shares of the image."""
    return (detections.xyxy / np.tile(detections.resolution_wh, 2)).clip(0, 1)


def test_it_is_small_enough_to_ship():
    size = sum(file.stat().st_size for file in EMBEDDED_CHECKPOINT.iterdir())
    assert size < 25e6
    assert {"README.md", "config.json", "model.safetensors"} <= {
        file.name for file in EMBEDDED_CHECKPOINT.iterdir()
    }


@pytest.mark.parametrize(
    ("chosen", "models", "resolved"),
    [
        (AUTO, MODELS, "embedded"),
        (AUTO, ("other", *MODELS[1:]), ""),
        (AUTO, (MODELS[0], "other", MODELS[2]), ""),
        (AUTO, (*MODELS[:2], "other"), ""),
        ("", MODELS, ""),
        ("mine", ("other", "other", "other"), "mine"),
    ],
)
def test_auto_takes_it_with_the_models_that_it_was_made_for_alone(chosen, models, resolved):
    settings = MrMllmSettings(chosen, head_uses_language_model=False)
    assert settings.resolve(*models) == MrMllmSettings(resolved, head_uses_language_model=False)


def test_its_head_judges_also_by_what_the_language_model_has_read(answerer, detector, bus_image):
    perceptions = detector.detect([bus_image])
    [with_language_model] = answerer.encode([bus_image], perceptions)
    with answerer.model.without("head_uses_language_model"):
        [without] = answerer.encode([bus_image], perceptions)
    assert answerer.model.config.head_needs_language_model
    assert (with_language_model.enriched.novelty != without.enriched.novelty).any()


@pytest.mark.parametrize(
    "questions",
    [
        (
            "How many people are there?",
            "How many people do you see?",
            "Count the people.",
            "number of people?",
        ),
        ("Is there a giraffe?", "Do you see any giraffes?", "Is a giraffe visible?", "a giraffe?"),
    ],
)
def test_the_same_question_in_four_ways_gets_the_same_answer(questions, ask):
    answers = {ask("bus", question)[0].text for question in questions}
    assert len(answers) == 1, answers


def test_what_is_there_is_seen_and_cited_and_what_is_not_is_not(ask):
    yes, detections = ask("bus", "Is there a bus?")
    assert yes.text.startswith("Yes")
    assert [detections.labels[i - 1] for i in yes.cited] == ["bus"]
    no, _ = ask("bus", "Is there a giraffe?")
    assert no.text.startswith("No")
    assert no.cited == ()


@pytest.mark.parametrize("photograph", ["bus", "zidane"])
def test_people_are_counted_as_they_are_cited(photograph, ask):
    answer, detections = ask(photograph, "How many people are there?")
    people = [i for i in reported(detections) if detections.labels[i - 1] == "person"]
    assert list(answer.cited) == people
    words = ("no", "one", "two", "three", "four", "five", "six")
    assert re.search(rf"\b{words[len(people)]}\b", answer.text)


@pytest.mark.parametrize("photograph", ["bus", "zidane"])
@pytest.mark.parametrize(
    ("question", "side"),
    [
        ("What is on the left?", "left"),
        ("What is in the middle?", "middle"),
        ("What is on the right?", "right"),
    ],
)
def test_all_that_is_on_a_side_is_named_and_nothing_else(photograph, question, side, ask):
    answer, detections = ask(photograph, question)
    centers_x = prompt.centers_x(shares_of(detections))
    there = [i for i in reported(detections) if prompt.side(centers_x[i - 1]) == side]
    assert sorted(answer.cited) == there
    assert all(detections.labels[i - 1] in answer.text for i in there)


@pytest.mark.parametrize("photograph", ["bus", "zidane"])
def test_the_nearest_is_what_is_lowest_in_the_image(photograph, ask):
    answer, detections = ask(photograph, "What is the nearest thing?")
    nearest = max(reported(detections), key=lambda i: shares_of(detections)[i - 1, 3])
    assert answer.cited == (nearest,)
    assert detections.labels[nearest - 1] in answer.text


def test_what_no_list_of_objects_can_tell_is_not_told(ask):
    answer, _ = ask("zidane", "What is the name of the person?")
    assert "can't tell" in answer.text


def test_detections_stay_as_they_are_and_get_measured_colors(answerer, detector, bus_image):
    [perception] = detector.detect([bus_image])
    [encoded] = answerer.encode([bus_image], [perception])
    fused, found = encoded.enriched.fused, encoded.enriched.detector
    assert found is perception.candidates
    assert fused.labels == found.labels
    assert np.array_equal(fused.xyxy, found.xyxy)
    assert np.array_equal(fused.scores, found.scores)
    assert any(encoded.enriched.attributes)
    assert {a.name for found in encoded.enriched.attributes for a in found} == {"color"}


@pytest.mark.parametrize("kind", ["blur", "fog", "dark"])
def test_what_a_damaged_photograph_shows_is_novel_and_what_a_clear_one_shows_is_not(
    kind, answerer, detector, bus_image
):
    damaged = corrupt(bus_image, kind, 3, np.random.default_rng(0))
    clear, novel = (
        answerer.encode([image], detector.detect([image]))[0].enriched
        for image in (bus_image, damaged)
    )
    assert clear.novelty[clear.reported].max() < 0.5
    # The default from which the visualizer calls an object novel.
    assert novel.novelty[novel.reported].min() >= 0.7
