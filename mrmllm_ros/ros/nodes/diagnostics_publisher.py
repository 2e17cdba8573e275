# SPDX-License-Identifier: Apache-2.0
"""What a node says of itself on `/diagnostics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from mrmllm_ros.ros.conversions.diagnostic_messages import status


class DiagnosticsPublisher:
    """Publishes a node's statuses over and over (REP 107), until it is destroyed.

    The topic is absolute, as REP 107 has it. The names of the statuses get the node's name and
    namespace before them, so that several instances stay apart.
    """

    def __init__(
        self, node: Node, period_s: float, collect: Callable[[], Sequence[DiagnosticStatus]]
    ) -> None:
        """Start publishing.

        Args:
            node: Publishes.
            period_s: Seconds from one report to the next.
            collect: Makes the statuses, in the executor's thread. What it raises is reported.
        """
        self._node = node
        self._collect = collect
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Steady, for a simulated clock may stand still or jump back.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(period_s, self._report, clock=steady)

    def destroy(self) -> None:
        """Stop publishing."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def _report(self) -> None:
        message = DiagnosticArray(status=self._statuses())
        message.header.stamp = self._node.get_clock().now().to_msg()
        component = self._node.get_fully_qualified_name().lstrip("/")
        for each in message.status:
            each.name = f"{component}: {each.name}"
        self._publisher.publish(message)

    def _statuses(self) -> Sequence[DiagnosticStatus]:
        try:
            return self._collect()
        except Exception as error:
            # It would end the executor, and the node with it: a device may be lost at any time.
            reason = f"cannot look at the node's condition: {error!r}"
            self._node.get_logger().error(reason, throttle_duration_sec=5.0)
            return [status("diagnostics", [(DiagnosticStatus.ERROR, reason)], {})]
