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
from mrmllm_ros.engine.engine import Engine
from mrmllm_ros.engine.query_errors import ErrorCode, QueryError
from mrmllm_ros.engine.question_worker import AnswerFuture
from mrmllm_ros.msg import Answer
from mrmllm_ros.ros.conversions.answer_messages import (
    answer_message,
    answered,
    query_from_request,
    refused,
)
from mrmllm_ros.ros.nodes.requests import Requests, TrackedActionServer
from mrmllm_ros.srv import Query

T = TypeVar("T")

# Of requests that come at once, those beyond the depth would be lost without a word.
REQUEST_QOS = QoSProfile(depth=1000)


class QuestionServer:
    """Answers requests of srv/Query and goals of action/Ask with an engine.

    Callbacks are reentrant: while one question waits for its answer, images and other questions
    come in.
    """

    def __init__(
        self,
        node: Node,
        requests: Requests,
        engine: Callable[[], Engine[Any] | None],
        publish: Callable[[Answer], None],
    ) -> None:
        """Create service and action.

        Args:
            node: Gets them.
            requests: Where requests under way are noted.
            engine: Returns the running engine; None while the node is not active.
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
        """Take service and action away."""
        self._entities.close()

    async def _on_query(self, request: Query.Request, _: Query.Response) -> Query.Response:
        try:
            pending = running(self._engine()).ask(query_from_request(request))
            return answered(await self._published(pending), Query.Response)
        except QueryError as error:
            return refused(self._logged(error), Query.Response)
        except Exception as error:
            # It would end the executor, and the node with it.
            return refused(unexpected(self._node, error), Query.Response)

    async def _on_ask(self, goal: ServerGoalHandle) -> Ask.Result:
        key = bytes(goal.goal_id.uuid)
        try:
            engine = running(self._engine())
            pending = engine.ask(
                query_from_request(goal.request),
                lambda text: goal.publish_feedback(Ask.Feedback(text=text)),
            )
            self._asked[key] = pending
            if goal.is_cancel_requested:
                engine.cancel(pending)
            result = answered(await self._published(pending), Ask.Result)
            goal.succeed()
        except QueryError as error:
            result = refused(self._logged(error), Ask.Result)
            if goal.is_cancel_requested:
                goal.canceled()
            else:
                goal.abort()
        except Exception as error:
            # rclpy would abort the goal too, but without a reason.
            result = refused(unexpected(self._node, error), Ask.Result)
            goal.abort()
        finally:
            self._asked.pop(key, None)
        return result

    def _on_cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        pending, engine = self._asked.get(bytes(goal.goal_id.uuid)), self._engine()
        if pending is not None and engine is not None:
            engine.cancel(pending)
        return CancelResponse.ACCEPT

    def _logged(self, error: QueryError) -> QueryError:
        self._node.get_logger().warning(f"no answer ({error.code.name}): {error}")
        return error

    async def _published(self, pending: AnswerFuture) -> Answer:
        """Wait for an answer and publish it: the message that goes to the client too."""
        message = answer_message(await completed(self._node, pending))
        try:
            self._publish(message)
        except Exception as error:
            # The client gets its answer all the same.
            self._node.get_logger().error(f"an answer was not published: {trace(error)}")
        return message


def running(engine: Engine[Any] | None) -> Engine[Any]:
    """Return the engine of an active node.

    Raises:
        QueryError: If there is none.
    """
    if engine is None:
        raise QueryError(ErrorCode.NOT_ACTIVE, "the node is not active (ros2 lifecycle set)")
    return engine


async def completed(node: Node, future: Future[T]) -> T:
    """Wait in a node's callback for a future that another thread completes."""
    done = RclpyFuture(executor=node.executor)

    def finish(_: Future[T]) -> None:
        done.set_result(True)
        # Completed by another thread, the future does not resume us unless something else
        # happens in the executor (ROS 2 Jazzy).
        node.executor.wake()

    future.add_done_callback(finish)
    await done
    return future.result()


def unexpected(node: Node, error: Exception) -> QueryError:
    """Log an error that is not the asker's, and make the one that the asker gets."""
    node.get_logger().error(f"a request failed: {trace(error)}")
    return QueryError(ErrorCode.INTERNAL, f"it failed: {error!r}; see the node's log")


def trace(error: Exception) -> str:
    """The traceback of an error as text."""
    return "".join(traceback.format_exception(error))
