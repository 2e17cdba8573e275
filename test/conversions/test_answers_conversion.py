# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip("mrmllm_ros.msg", reason="needs the built package: run scripts/test")

from mrmllm_ros.srv import Query as QueryService

from mrmllm_ros.conversions.answers import (
    answer_message,
    answered,
    query_from_request,
    refused,
)
from mrmllm_ros.conversions.headers import header_of
from mrmllm_ros.engine.errors import ErrorCode, QueryError
from mrmllm_ros.engine.question_worker import Query, SceneAnswer
from mrmllm_ros.model.answerer import Answer


@pytest.fixture
def make_answer(make_scene):
    """Makes an answer about a bus [1], a person [2] and a cup [3] that cites these."""

    def make(*cited):
        scene = make_scene(
            ("bus", 0.8, (0, 0, 600, 400)),
            ("person", 0.7, (10, 20, 110, 220)),
            ("cup", 0.5, (0, 0, 9, 9)),
        )
        return SceneAnswer(
            query=Query("what is there?", "front"),
            scene=scene,
            answer=Answer("Things.", confidence=0.75, cited=cited, tokens=3),
            time_to_first_token_s=0.125,
            latency_s=0.5,
        )

    return make


def test_an_answer_has_the_cited_objects_in_the_order_of_their_citation(make_answer):
    message = answer_message(make_answer(3, 1))
    assert [(d.id, d.label) for d in message.detections] == [(3, "cup"), (1, "bus")]
    assert message.detections[1].bbox.size_x == 600.0


def test_an_answer_that_cites_nothing_has_no_objects(make_answer):
    assert answer_message(make_answer()).detections == []


def test_an_answer_has_the_header_of_its_image_and_all_that_was_said(make_answer):
    answer = make_answer(2)
    message = answer_message(answer)
    assert message.header == header_of(answer.scene.frame)
    assert message.header.stamp.nanosec == 123_456_789
    assert message.camera == "front"
    assert message.question == "what is there?"
    assert message.text == "Things."
    assert message.confidence == 0.75
    assert (message.time_to_first_token, message.latency) == (0.125, 0.5)


def test_a_response_with_an_answer_is_a_success(make_answer):
    response = answered(answer := make_answer(2))
    assert response.success
    assert response.error_code == QueryService.Request.NONE
    assert response.error_message == ""
    assert response.answer == answer_message(answer)


@pytest.mark.parametrize("code", [code for code in ErrorCode if code is not ErrorCode.NONE])
def test_a_response_with_an_error_says_which_and_why(code):
    response = refused(QueryError(code, "the reason"))
    assert not response.success
    assert response.error_code == getattr(QueryService.Request, code.name)
    assert response.error_message == "the reason"


def test_every_error_code_is_a_constant_of_the_service_and_the_other_way_round():
    constants = type(QueryService.Request).__prepare__("", ())
    assert constants["NONE"] == 0
    assert {name: value for name, value in constants.items() if name.isupper()} == {
        code.name: code.value for code in ErrorCode
    }


def test_a_request_is_read_with_all_its_fields():
    request = QueryService.Request(
        question="how many?", camera="rear", max_age=0.5, max_new_tokens=7
    )
    assert query_from_request(request) == Query("how many?", "rear", 0.5, 7)


def test_a_request_with_only_a_question_asks_for_the_defaults():
    assert query_from_request(QueryService.Request(question="how many?")) == Query("how many?")
