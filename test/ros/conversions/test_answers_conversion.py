# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest

pytest.importorskip("mrmllm_ros.msg", reason="needs the built package: run scripts/test")

from mrmllm_ros.action import Ask
from mrmllm_ros.msg import Answer as AnswerMessage
from mrmllm_ros.srv import Query

from mrmllm_ros.answering.answerer import Answer
from mrmllm_ros.engine.answer_future import SceneAnswer
from mrmllm_ros.engine.query_errors import ErrorCode, QueryError
from mrmllm_ros.engine.question_request import About, AnswerType, QuestionRequest
from mrmllm_ros.ros.conversions.answer_messages import (
    answer_message,
    answer_response,
    error_response,
    request_from_message,
)
from mrmllm_ros.ros.conversions.detection_messages import header_of

# Of srv/Query and action/Ask: what asks, and what is answered.
REQUESTS = pytest.mark.parametrize("request_type", [Query.Request, Ask.Goal])
RESPONSES = pytest.mark.parametrize("response_type", [Query.Response, Ask.Result])


@pytest.fixture
def make_answer(enriched_scene):
    """Makes an answer about a bus [1], a person [2] and a forklift [3] that cites these."""

    def make(*cited):
        return SceneAnswer(
            request=QuestionRequest("what is there?", "front"),
            enriched_scene=enriched_scene,
            answer=Answer(
                "Things.", confidence=0.75, cited=cited, token_ids=(1, 2, 3), truncated=True
            ),
            time_to_first_token_s=0.125,
            latency_s=0.5,
        )

    return make


def test_an_answer_has_the_cited_objects_in_the_order_of_their_citation(make_answer):
    message = answer_message(make_answer(3, 1))
    assert [(d.id, d.label) for d in message.detections] == [(3, "forklift"), (1, "bus")]
    assert message.detections[1].bbox.size_x == 600.0


def test_an_answer_that_cites_nothing_has_no_objects(make_answer):
    assert answer_message(make_answer()).detections == []


def test_an_answer_has_the_header_of_its_image_and_all_that_was_said(make_answer):
    answer = make_answer(2)
    message = answer_message(answer)
    assert message.header == header_of(answer.enriched_scene.scene.frame)
    assert message.header.stamp.nanosec == 123_456_789
    assert message.camera == "front"
    assert message.question == "what is there?"
    assert message.text == "Things."
    assert message.confidence == 0.75
    assert message.truncated
    assert (message.time_to_first_token, message.latency) == (0.125, 0.5)


def test_an_answer_may_cite_what_is_not_reported(make_answer):
    [message] = answer_message(make_answer(2)).detections
    assert (message.id, message.label, message.score) == (2, "person", 0.0625)


def test_a_cited_object_is_shown_as_it_is_after_fusion(make_answer):
    [message] = answer_message(make_answer(3)).detections
    assert (message.label, message.score) == ("forklift", 0.625)
    assert (message.detector_label, message.detector_score) == ("box", 0.125)
    assert message.bbox.size_x == 220.0
    assert message.novelty == 0.75
    assert [(a.name, a.value) for a in message.attributes] == [("color", "yellow")]


@RESPONSES
def test_a_response_with_an_answer_is_a_success(response_type, make_answer):
    response = answer_response(answer := answer_message(make_answer(2)), response_type)
    assert type(response) is response_type
    assert response.success
    assert response.error_code == Query.Request.NONE
    assert response.error_message == ""
    assert response.answer is answer


@RESPONSES
@pytest.mark.parametrize("code", [code for code in ErrorCode if code is not ErrorCode.NONE])
def test_a_response_with_an_error_says_which_and_why(code, response_type):
    response = error_response(QueryError(code, "the reason"), response_type)
    assert type(response) is response_type
    assert not response.success
    assert response.error_code == getattr(Query.Request, code.name)
    assert response.error_message == "the reason"
    assert response.answer == response_type().answer


def test_every_error_code_is_a_constant_of_the_service_and_the_other_way_round():
    constants = type(Query.Request).__prepare__("", ())
    assert constants["NONE"] == 0
    assert {name: value for name, value in constants.items() if name.isupper()} == {
        code.name: code.value for code in ErrorCode
    }


def test_every_answer_type_and_subject_is_a_constant_of_the_answer_and_the_other_way_round():
    constants = type(AnswerMessage).__prepare__("", ())
    members = (*AnswerType, *About)
    assert {name: value for name, value in constants.items() if name.isupper()} == {
        member.name: member.value for member in members
    }


def test_a_text_answer_says_so_and_leaves_the_typed_fields_empty(make_answer):
    message = answer_message(make_answer(2))
    assert message.answer_type == AnswerMessage.TEXT
    assert (message.about, message.context) == (AnswerMessage.NOW, "")
    assert (message.yes, message.count, message.choice, message.json) == (False, 0, "", "")
    assert message.probability == 0.0


def test_an_answer_carries_what_was_requested(make_answer):
    answer = make_answer(2)
    request = replace(answer.request, answer_type=AnswerType.COUNT, context="a ward", about=1)
    message = answer_message(replace(answer, request=request))
    assert (message.answer_type, message.context) == (AnswerMessage.COUNT, "a ward")
    assert message.about == AnswerMessage.MEMORY


@REQUESTS
def test_a_request_is_read_with_all_its_fields(request_type):
    request = request_type(
        question="how many?",
        camera="rear",
        max_age=0.5,
        max_new_tokens=7,
        answer_type=AnswerMessage.CHOICE,
        choices=["one", "two"],
        json_schema="{}",
        context="a ward",
        about=AnswerMessage.MEMORY,
    )
    assert request_from_message(request) == QuestionRequest(
        "how many?",
        "rear",
        0.5,
        7,
        answer_type=AnswerType.CHOICE,
        choices=("one", "two"),
        json_schema="{}",
        context="a ward",
        about=About.MEMORY,
    )


@REQUESTS
def test_a_request_with_only_a_question_asks_for_the_defaults(request_type):
    assert request_from_message(request_type(question="how many?")) == QuestionRequest("how many?")


@pytest.mark.parametrize(
    ("service", "action"),
    [(Query.Request, Ask.Goal), (Query.Response, Ask.Result)],
    ids=["request", "response"],
)
def test_service_and_action_have_the_same_fields(service, action):
    assert service.get_fields_and_field_types() == action.get_fields_and_field_types()
