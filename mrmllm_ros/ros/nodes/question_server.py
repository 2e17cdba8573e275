# SPDX-License-Identifier: Apache-2.0
"""The service `query` and the action `ask`."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any, TypeVar

from rclpy.action import CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future as RclpyFuture

from mrmllm_ros.action import Ask
from mrmllm_ros.engine.answer_future import AnswerFuture
from mrmllm_ros.engine.engine import Engine
from mrmllm_ros.engine.query_errors import ErrorCode, QueryError
from mrmllm_ros.msg import Answer
from mrmllm_ros.ros.conversions.answer_messages import (
    answer_message,
    answer_response,
    error_response,
    request_from_message,
)
from mrmllm_ros.ros.nodes.requests import Requests, TrackedActionServer
from mrmllm_ros.srv import Query

T = TypeVar("T")

# The middleware silently drops simultaneous requests beyond the depth.
REQUEST_QOS = QoSProfile(depth=1000)

NOT_ACTIVE = "the node is not active; activate it (ros2 lifecycle set)"


class QuestionServer:
    """Answers requests of srv/Query and goals of action/Ask with an engine.

    Callbacks are reentrant: the node receives images and other questions while it waits for an
    answer.
    """

    def __init__(
        self,
        node: Node,
        requests: Requests,
        engine: Callable[[], Engine[Any] | None],
        publish: Callable[[Answer], None],
    ) -> None:
        """Create the service and the action.

        Args:
            node: Node of the service and the action.
            requests: Counts the pending requests.
            engine: Returns the running engine, or None while the node is not active.
            publish: Called with each answer, in the executor's thread.
        """
        self._node = node
        self._engine = engine
        self._publish = publish
        self._asked: dict[bytes, AnswerFuture] = {}
        self._entities = ExitStack()
        query = node.create_service(
            Query,
            "query",
            requests.tracked(self._on_query),
            qos_profile=REQUEST_QOS,
            callback_group=ReentrantCallbackGroup(),
        )
        self._entities.callback(node.destroy_service, query)
        ask = TrackedActionServer(
            node,
            Ask,
            "ask",
            self._on_ask,
            requests,
            callback_group=ReentrantCallbackGroup(),
            cancel_callback=self._on_cancel,
            goal_service_qos_profile=REQUEST_QOS,
            result_service_qos_profile=REQUEST_QOS,
            cancel_service_qos_profile=REQUEST_QOS,
        )
        self._entities.callback(ask.destroy)

    def destroy(self) -> None:
        """Destroy the service and the action."""
        self._entities.close()

    async def _on_query(self, request: Query.Request, _: Query.Response) -> Query.Response:
        try:
            pending = require_engine(self._engine()).ask(request_from_message(request))
            return answer_response(await self._publish_answer(pending), Query.Response)
        except QueryError as error:
            return error_response(self._log(error), Query.Response)
        except Exception as error:
            # An exception would end the executor and the node.
            return error_response(internal_error(self._node, error), Query.Response)

    async def _on_ask(self, goal: ServerGoalHandle) -> Ask.Result:
        key = bytes(goal.goal_id.uuid)
        try:
            engine = require_engine(self._engine())
            pending = engine.ask(
                request_from_message(goal.request),
                lambda text: goal.publish_feedback(Ask.Feedback(text=text)),
            )
            self._asked[key] = pending
            if goal.is_cancel_requested:
                engine.cancel(pending)
            result = answer_response(await self._publish_answer(pending), Ask.Result)
            goal.succeed()
        except QueryError as error:
            result = error_response(self._log(error), Ask.Result)
            if goal.is_cancel_requested:
                goal.canceled()
            else:
                goal.abort()
        except Exception as error:
            # rclpy aborts the goal without a reason.
            result = error_response(internal_error(self._node, error), Ask.Result)
            goal.abort()
        finally:
            self._asked.pop(key, None)
        return result

    def _on_cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        pending, engine = self._asked.get(bytes(goal.goal_id.uuid)), self._engine()
        if pending is not None and engine is not None:
            engine.cancel(pending)
        return CancelResponse.ACCEPT

    def _log(self, error: QueryError) -> QueryError:
        self._node.get_logger().warning(f"no answer ({error.code.name}): {error}")
        return error

    async def _publish_answer(self, pending: AnswerFuture) -> Answer:
        """Wait for an answer, publish it and return the message."""
        message = answer_message(await wait_for(self._node, pending))
        try:
            self._publish(message)
        except Exception as error:
            # The client still receives the answer.
            text = f"publishing an answer failed: {format_traceback(error)}"
            self._node.get_logger().error(text)
        return message


def require_engine(engine: Engine[Any] | None) -> Engine[Any]:
    """Return the engine of an active node.

    Raises:
        QueryError: If the node is not active.
    """
    if engine is None:
        raise QueryError(ErrorCode.NOT_ACTIVE, NOT_ACTIVE)
    return engine


async def wait_for(node: Node, future: Future[T]) -> T:
    """Wait in a callback of the node for a future that another thread completes."""
    done = RclpyFuture(executor=node.executor)

    def finish(_: Future[T]) -> None:
        done.set_result(True)
        # rclpy (Jazzy) does not wake the executor if another thread completes the future.
        node.executor.wake()

    future.add_done_callback(finish)
    await done
    return future.result()


def internal_error(node: Node, error: Exception) -> QueryError:
    """Log an unexpected error and convert it to a `QueryError` for the client."""
    node.get_logger().error(f"request failed: {format_traceback(error)}")
    return QueryError(ErrorCode.INTERNAL, f"request failed: {error!r}; see the log of the node")


def format_traceback(error: Exception) -> str:
    """Format the traceback of an error."""
    return "".join(traceback.format_exception(error))
