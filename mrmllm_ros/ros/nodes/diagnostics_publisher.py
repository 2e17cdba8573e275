# SPDX-License-Identifier: Apache-2.0
"""Publisher of `/diagnostics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from mrmllm_ros.ros.conversions.diagnostic_messages import status
from mrmllm_ros.ros.nodes.lifecycle import LOG_PERIOD_S


class DiagnosticsPublisher:
    """Publishes the statuses of a node periodically on `/diagnostics` (REP 107).

    The names of the statuses begin with the fully qualified name of the node.
    """

    def __init__(
        self, node: Node, period_s: float, collect: Callable[[], Sequence[DiagnosticStatus]]
    ) -> None:
        """Start publishing.

        Args:
            node: Node of the publisher.
            period_s: Period in seconds.
            collect: Returns the statuses; called in the executor's thread. Its exceptions are
                published as an error.
        """
        self._node = node
        self._collect = collect
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # A simulated clock may stop or jump back.
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
        for entry in message.status:
            entry.name = f"{component}: {entry.name}"
        self._publisher.publish(message)

    def _statuses(self) -> Sequence[DiagnosticStatus]:
        try:
            return self._collect()
        except Exception as error:
            # An exception, such as of a lost device, would end the executor and the node.
            reason = f"collecting diagnostics failed: {error!r}"
            self._node.get_logger().error(reason, throttle_duration_sec=LOG_PERIOD_S)
            return [status("diagnostics", [(DiagnosticStatus.ERROR, reason)], {})]
