# SPDX-License-Identifier: Apache-2.0
"""Requests to queries, answers and errors to responses."""

from __future__ import annotations

from typing import TypeVar

from mrmllm_ros.action import Ask
from mrmllm_ros.engine.query_errors import ErrorCode, QueryError
from mrmllm_ros.engine.question_request import Query
from mrmllm_ros.engine.question_worker import SceneAnswer
from mrmllm_ros.msg import Answer
from mrmllm_ros.ros.conversions.detection_messages import detection_messages
from mrmllm_ros.ros.conversions.headers import header_of
from mrmllm_ros.srv import Query as QueryService

R = TypeVar("R", QueryService.Response, Ask.Result)


def query_from_request(request: QueryService.Request | Ask.Goal) -> Query:
    """Read a request of srv/Query or a goal of action/Ask, which have the same fields."""
    return Query(
        request.question,
        request.camera,
        request.max_age,
        request.max_new_tokens,
        answer_type=request.answer_type,
        choices=tuple(request.choices),
        json_schema=request.json_schema,
        context=request.context,
        about=request.about,
    )


def answer_message(answer: SceneAnswer) -> Answer:
    """Make the message for an answer."""
    frame, query = answer.enriched_scene.scene.frame, answer.query
    cited = [i - 1 for i in answer.answer.cited]
    return Answer(
        header=header_of(frame),
        camera=frame.camera,
        question=query.text,
        context=query.context,
        about=query.about,
        answer_type=query.answer_type,
        text=answer.answer.text,
        confidence=answer.answer.confidence,
        truncated=answer.answer.truncated,
        detections=detection_messages(answer.enriched_scene.encoded.enriched, cited),
        time_to_first_token=answer.time_to_first_token_s,
        latency=answer.latency_s,
    )


def answered(answer: Answer, response: type[R]) -> R:
    """The response, of srv/Query or action/Ask, that carries an answer."""
    return response(success=True, error_code=int(ErrorCode.NONE), answer=answer)


def refused(error: QueryError, response: type[R]) -> R:
    """The response, of srv/Query or action/Ask, that carries an error."""
    return response(success=False, error_code=int(error.code), error_message=error.message)
