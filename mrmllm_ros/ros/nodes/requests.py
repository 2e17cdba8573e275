# SPDX-License-Identifier: Apache-2.0
"""Counts of pending requests; a node answers all of them before it destroys its services."""

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

# Minimum idle time before services are destroyed, in seconds: the middleware may hold requests and
# responses.
QUIET_S = 0.2

# Maximum time for a client to fetch the result of a completed goal, in seconds.
_FETCH_TIMEOUT_S = 3.0

# Maximum time until services are destroyed, in seconds.
_TIMEOUT_S = 10.0

_POLL_S = 0.02


class Requests:
    """Counts requests without response and goals whose result no client has fetched.

    Not thread-safe: call all methods in the executor's thread.

    Attributes:
        is_closing: Whether `finish` was called; goals are rejected from then on.
    """

    def __init__(self) -> None:
        self.is_closing = False
        self._unanswered = 0
        # Running goals, and whether a client waits for the result.
        self._goals: dict[bytes, bool] = {}
        # Completion times of goals whose result no client has fetched.
        self._unfetched: dict[bytes, float] = {}
        self._last_s = time.monotonic()

    def tracked(self, callback: Callable[..., Awaitable[R]]) -> Callable[..., Awaitable[R]]:
        """Wrap the callback of a service to count its pending requests."""

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
        """Count an accepted goal; call it before the execution."""
        self._goals[goal] = False

    def fetch(self, goal: bytes) -> None:
        """Record that a client has requested the result of a goal."""
        self._last_s = time.monotonic()
        self._unfetched.pop(goal, None)
        if goal in self._goals:
            self._goals[goal] = True

    def complete(self, goal: bytes) -> None:
        """Record that a goal has its result."""
        self._last_s = time.monotonic()
        if not self._goals.pop(goal):
            self._forget_old()
            self._unfetched[goal] = self._last_s

    async def finish(self, node: Node) -> None:
        """Wait until all requests are answered, at most 10 s; log the number of unanswered ones.

        Args:
            node: Node of the services; an executor must spin it.
        """
        self.is_closing = True
        self._last_s = began_s = time.monotonic()
        while not self._is_finished():
            if time.monotonic() > began_s + _TIMEOUT_S:
                node.get_logger().warning(
                    f"destroying services after {_TIMEOUT_S:g} s with {self._unanswered} requests "
                    f"and {len(self._goals)} goals unanswered"
                )
                return
            await pause(node, _POLL_S)

    def _is_finished(self) -> bool:
        self._forget_old()
        pending = self._unanswered or self._goals or self._unfetched
        return not pending and time.monotonic() >= self._last_s + QUIET_S

    def _forget_old(self) -> None:
        oldest_s = time.monotonic() - _FETCH_TIMEOUT_S
        self._unfetched = {g: at_s for g, at_s in self._unfetched.items() if at_s >= oldest_s}


class TrackedActionServer(ActionServer):
    """`ActionServer` that counts its goals in `Requests`."""

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
            node: Node of the server.
            action_type: Type of the action.
            name: Name of the action.
            execute: Executes a goal and returns its result.
            requests: Counts the goals.
            options: Options of `ActionServer`.
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
        """Process the data that the executor has taken, and record requests for results."""
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
    """Wait for a number of seconds of wall time while the executor runs other callbacks."""
    elapsed = Future()
    timer = node.create_timer(
        duration_s,
        lambda: elapsed.set_result(None),
        callback_group=ReentrantCallbackGroup(),
        # A simulated clock may stop.
        clock=Clock(clock_type=ClockType.STEADY_TIME),
    )
    try:
        await elapsed
    finally:
        node.destroy_timer(timer)
