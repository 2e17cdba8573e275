# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.model.answerer import Answer, PromptAnswerer, Question
from mrmllm_ros.model.language_model import Generation
from mrmllm_ros.model.prompt import PromptSettings, chat, cited_ids
from mrmllm_ros.perception.detector import Perception

IMAGE = np.zeros((480, 640, 3), np.uint8)


class StubLanguageModel:
    """Says what it is told to, and remembers what it was asked."""

    name = "stub"

    def __init__(self, text=""):
        self.text = text
        self.messages = None
        self.max_new_tokens = None

    def count_tokens(self, text):
        return len(text.split())

    def generate(self, messages, max_new_tokens, on_text, should_stop):
        self.messages, self.max_new_tokens = messages, max_new_tokens
        words = []
        for word in self.text.split(" "):
            on_text(word)
            words.append(word)
            if should_stop():
                break
        return Generation(" ".join(words), confidence=0.75, tokens=len(words))


@pytest.fixture
def scene(make_detections):
    return Perception(
        make_detections(
            ("bus", 0.8, (20, 100, 600, 400)),
            ("person", 0.7, (30, 180, 150, 440)),
            ("person", 0.5, (500, 180, 620, 440)),
        )
    )


def ask(answerer, perception, text="What is there?", limit=24, should_stop=lambda: False):
    pieces = []
    question = Question(text, limit)
    answer = answerer.answer(IMAGE, perception, question, pieces.append, should_stop)
    return answer, pieces


def test_the_model_reads_objects_and_question_and_is_told_how_long_to_answer(scene):
    model = StubLanguageModel("A bus.")
    ask(PromptAnswerer(model, PromptSettings()), scene, "Is there a bus?")
    objects = (
        "[1] bus, middle, (3,20,93,83)\n"
        "[2] person, left, (4,37,23,91)\n"
        "[3] person, right, (78,37,96,91)"
    )
    assert model.messages == chat(objects, "Is there a bus?")
    assert model.max_new_tokens == 24


def test_without_objects_the_model_reads_that_there_are_none(make_detections):
    model = StubLanguageModel("Nothing.")
    ask(PromptAnswerer(model, PromptSettings()), Perception(make_detections()))
    assert model.messages == chat("No objects.", "What is there?")


def test_the_answer_is_what_the_model_says_with_the_objects_it_cites(scene):
    text = "People [3][2] and a cat [7], again [3]."
    answer, pieces = ask(PromptAnswerer(StubLanguageModel(text), PromptSettings()), scene)
    assert answer == Answer(text=text, confidence=0.75, cited=(3, 2), tokens=8)
    assert " ".join(pieces) == text


def test_an_object_that_the_prompt_left_out_cannot_be_cited(scene):
    answerer = PromptAnswerer(StubLanguageModel("[3]"), PromptSettings(max_objects=1))
    assert ask(answerer, scene)[0].cited == ()


def test_an_answer_about_nothing_cites_nothing(make_detections):
    answerer = PromptAnswerer(StubLanguageModel("A cat [1]."), PromptSettings())
    assert ask(answerer, Perception(make_detections()))[0].cited == ()


def test_the_answer_ends_where_it_shall_stop(scene):
    answerer = PromptAnswerer(StubLanguageModel("one two three"), PromptSettings())
    answer, pieces = ask(answerer, scene, should_stop=lambda: True)
    assert (answer.text, pieces) == ("one", ["one"])


def test_changed_limits_count_from_the_next_question_on(scene):
    model = StubLanguageModel("Yes.")
    answerer = PromptAnswerer(model, PromptSettings())
    answerer.configure(PromptSettings(max_objects=2))
    ask(answerer, scene)
    assert "\nand 1 more\n" in model.messages[-1]["content"]


def test_it_bears_the_name_of_its_model():
    assert PromptAnswerer(StubLanguageModel(), PromptSettings()).name == "stub"


def test_the_embedded_model_answers_about_a_scene(language_model, scene):
    answer, pieces = ask(PromptAnswerer(language_model, PromptSettings()), scene, "")
    assert answer.text
    assert 0 < answer.tokens <= 24
    assert 0 < answer.confidence < 1
    assert "".join(pieces).strip() == answer.text
    assert answer.cited == cited_ids(answer.text, 3)


def test_the_embedded_model_reads_the_objects(language_model, make_detections):
    answerer = PromptAnswerer(language_model, PromptSettings())
    cat, elephant = (
        Perception(make_detections((label, 0.9, (0, 0, 640, 480))))
        for label in ("cat", "elephant")
    )
    # The same question about the same place, so all that differs comes from the label.
    one, other = (ask(answerer, animal, limit=1)[0] for animal in (cat, elephant))
    assert one.confidence != other.confidence
