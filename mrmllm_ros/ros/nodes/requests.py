# SPDX-License-Identifier: Apache-2.0
"""Requests under way, so that a node answers all of them before it takes its services down."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from rclpy.action import ActionServer, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.task import Future

R = TypeVar("R")

# Nothing may have come in or gone out for this long before services are taken down: requests may
# be in the queue of the middleware, and responses on their way.
QUIET_S = 0.2

# A client asks for the result of a goal once it knows that the goal was accepted. Fetching a
# result later than this after its completion is given up.
_FETCH_S = 3.0

# Services are taken down after this in any case.
_LIMIT_S = 10.0

_POLL_S = 0.02


class Requests:
    """Counts requests without a response, and results of goals that no client has fetched.

    All methods must be called in the thread of the executor.

    Attributes:
        is_closing: Whether `finish` has begun; from then on no goal is accepted.
    """

    def __init__(self) -> None:
        self.is_closing = False
        self._unanswered = 0
        # Goals that are executed, and whether a client waits for the result.
        self._goals: dict[bytes, bool] = {}
        # When goals were completed whose result no client has fetched yet.
        self._unfetched: dict[bytes, float] = {}
        self._last_s = time.monotonic()

    def tracked(self, callback: Callable[..., Awaitable[R]]) -> Callable[..., Awaitable[R]]:
        """Count the requests that a service's callback is at work on."""

        @wraps(callback)
        async def counted(*arguments: Any) -> R:
            self._unanswered += 1
            try:
                return await callback(*arguments)
            finally:
                self._unanswered -= 1
                self._last_s = time.monotonic()

        return counted

    def accept(self, goal: bytes) -> None:
        """Note a goal that was accepted, before its execution begins."""
        self._goals[goal] = False

    def fetch(self, goal: bytes) -> None:
        """Note that a client asks for the result of a goal."""
        self._last_s = time.monotonic()
        self._unfetched.pop(goal, None)
        if goal in self._goals:
            self._goals[goal] = True

    def complete(self, goal: bytes) -> None:
        """Note that a goal has its result."""
        self._last_s = time.monotonic()
        if not self._goals.pop(goal):
            self._forget_old()
            self._unfetched[goal] = self._last_s

    async def finish(self, node: Node) -> None:
        """Wait until all have been answered, for ten seconds at most; what is left is logged.

        Args:
            node: Has the services; spun by an executor.
        """
        self.is_closing = True
        self._last_s = began_s = time.monotonic()
        while not self._is_finished():
            if time.monotonic() > began_s + _LIMIT_S:
                node.get_logger().warning(
                    f"services go down with {self._unanswered} requests and {len(self._goals)} "
                    f"goals unanswered after {_LIMIT_S:g} s"
                )
                return
            await pause(node, _POLL_S)

    def _is_finished(self) -> bool:
        self._forget_old()
        under_way = self._unanswered or self._goals or self._unfetched
        return not under_way and time.monotonic() >= self._last_s + QUIET_S

    def _forget_old(self) -> None:
        oldest_s = time.monotonic() - _FETCH_S
        self._unfetched = {g: at_s for g, at_s in self._unfetched.items() if at_s >= oldest_s}


class TrackedActionServer(ActionServer):
    """An action server that notes its goals in `Requests`; see `ActionServer`."""

    def __init__(
        self,
        node: Node,
        action_type: type,
        name: str,
        execute: Callable[[ServerGoalHandle], Awaitable[Any]],
        requests: Requests,
        **options: Any,
    ) -> None:
        """Create the server.

        Args:
            node: Gets the server.
            action_type: Type of the action.
            name: Name of the action.
            execute: Executes a goal and returns its result.
            requests: Where goals are noted.
            options: Further options of `ActionServer`.
        """
        self._requests = requests
        self._execute_untracked = execute
        super().__init__(
            node,
            action_type,
            name,
            self._execute_tracked,
            goal_callback=self._on_goal,
            handle_accepted_callback=self._on_accepted,
            **options,
        )

    async def execute(self, taken_data: dict[str, Any]) -> None:
        """Serve what the executor has taken, and note requests for results."""
        if "result" in taken_data:
            _, request = taken_data["result"]
            self._requests.fetch(bytes(request.goal_id.uuid))
        await super().execute(taken_data)

    def _on_goal(self, _: Any) -> GoalResponse:
        return GoalResponse.REJECT if self._requests.is_closing else GoalResponse.ACCEPT

    def _on_accepted(self, goal: ServerGoalHandle) -> None:
        self._requests.accept(bytes(goal.goal_id.uuid))
        goal.execute()

    async def _execute_tracked(self, goal: ServerGoalHandle) -> Any:
        try:
            return await self._execute_untracked(goal)
        finally:
            self._requests.complete(bytes(goal.goal_id.uuid))


async def pause(node: Node, duration_s: float) -> None:
    """Let the node's executor do other things for so many seconds of wall time."""
    over = Future()
    timer = node.create_timer(
        duration_s,
        lambda: over.set_result(None),
        callback_group=ReentrantCallbackGroup(),
        # The node's own clock stands still where simulated time does.
        clock=Clock(clock_type=ClockType.STEADY_TIME),
    )
    try:
        await over
    finally:
        node.destroy_timer(timer)
