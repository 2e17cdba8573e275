# SPDX-License-Identifier: Apache-2.0
"""Requests to queries, answers and errors to responses."""

from __future__ import annotations

from mrmllm_ros.conversions.detections import detection_messages
from mrmllm_ros.conversions.headers import header_of
from mrmllm_ros.engine.errors import ErrorCode, QueryError
from mrmllm_ros.engine.question_worker import Query, SceneAnswer
from mrmllm_ros.msg import Answer
from mrmllm_ros.srv import Query as QueryService


def query_from_request(request: QueryService.Request) -> Query:
    """Read a request of srv/Query."""
    return Query(request.question, request.camera, request.max_age, request.max_new_tokens)


def answer_message(answer: SceneAnswer) -> Answer:
    """Make the message for an answer."""
    cited = [i - 1 for i in answer.answer.cited]
    return Answer(
        header=header_of(answer.scene.frame),
        camera=answer.scene.frame.camera,
        question=answer.query.text,
        text=answer.answer.text,
        confidence=answer.answer.confidence,
        detections=detection_messages(answer.scene.perception.detections, cited),
        time_to_first_token=answer.time_to_first_token_s,
        latency=answer.latency_s,
    )


def answered(answer: SceneAnswer) -> QueryService.Response:
    """The response that carries an answer."""
    return QueryService.Response(
        success=True, error_code=int(ErrorCode.NONE), answer=answer_message(answer)
    )


def refused(error: QueryError) -> QueryService.Response:
    """The response that carries an error."""
    return QueryService.Response(
        success=False, error_code=int(error.code), error_message=error.message
    )
