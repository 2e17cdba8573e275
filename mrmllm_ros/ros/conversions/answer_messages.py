# SPDX-License-Identifier: Apache-2.0
"""Convert question requests from messages, answers and errors to messages."""

from __future__ import annotations

from typing import TypeVar

from mrmllm_ros.action import Ask
from mrmllm_ros.engine.answer_future import SceneAnswer
from mrmllm_ros.engine.query_errors import ErrorCode, QueryError
from mrmllm_ros.engine.question_request import QuestionRequest
from mrmllm_ros.msg import Answer
from mrmllm_ros.ros.conversions.detection_messages import detection_messages, header_of
from mrmllm_ros.srv import Query

R = TypeVar("R", Query.Response, Ask.Result)


def request_from_message(message: Query.Request | Ask.Goal) -> QuestionRequest:
    """Convert a request of srv/Query or a goal of action/Ask; both have the same fields."""
    return QuestionRequest(
        message.question,
        message.camera,
        message.max_age,
        message.max_new_tokens,
        answer_type=message.answer_type,
        choices=tuple(message.choices),
        json_schema=message.json_schema,
        context=message.context,
        about=message.about,
    )


def answer_message(answer: SceneAnswer) -> Answer:
    """Convert an answer to a message."""
    frame, request = answer.enriched_scene.scene.frame, answer.request
    cited = [i - 1 for i in answer.answer.cited]
    return Answer(
        header=header_of(frame),
        camera=frame.camera,
        question=request.text,
        context=request.context,
        about=request.about,
        answer_type=request.answer_type,
        text=answer.answer.text,
        confidence=answer.answer.confidence,
        truncated=answer.answer.truncated,
        detections=detection_messages(answer.enriched_scene.encoded.enriched, cited),
        time_to_first_token=answer.time_to_first_token_s,
        latency=answer.latency_s,
    )


def answer_response(answer: Answer, response: type[R]) -> R:
    """Make a response of srv/Query, or a result of action/Ask, with an answer."""
    return response(success=True, error_code=int(ErrorCode.NONE), answer=answer)


def error_response(error: QueryError, response: type[R]) -> R:
    """Make a response of srv/Query, or a result of action/Ask, with an error."""
    return response(success=False, error_code=int(error.code), error_message=error.message)
