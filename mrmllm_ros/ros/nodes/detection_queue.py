# SPDX-License-Identifier: Apache-2.0
"""Queue of detections that wait for the sensor message with their stamp."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from rclpy.node import Node

from mrmllm_ros.detection.raw_objects import describe_dropped
from mrmllm_ros.detection.stamps import jumps_back
from mrmllm_ros.msg import DetectionArray
from mrmllm_ros.ros.conversions.detection_messages import drop_invalid, nanoseconds
from mrmllm_ros.ros.nodes.lifecycle import LOG_PERIOD_S


class DetectionQueue:
    """Messages of detections in order of arrival.

    Detections may arrive before the image or depth they belong to: they have another topic and
    another queue in the middleware.
    """

    def __init__(self) -> None:
        self._messages: deque[DetectionArray] = deque()

    def put(self, message: DetectionArray) -> None:
        """Append a message."""
        self._messages.append(message)

    def pop_due(self, newest_ns: int | None, capacity: int) -> Iterator[DetectionArray]:
        """Remove and yield the oldest messages, up to the first that must wait.

        Args:
            newest_ns: Stamp of the newest sensor message in nanoseconds; None if there is none.
            capacity: Maximum number of messages that wait.
        """
        while self._messages and self._is_due(newest_ns, capacity):
            yield self._messages.popleft()

    def _is_due(self, newest_ns: int | None, capacity: int) -> bool:
        stamp_ns = nanoseconds(self._messages[0].header.stamp)
        has_arrived = newest_ns is not None and newest_ns >= stamp_ns
        has_jumped_back = jumps_back(nanoseconds(self._messages[-1].header.stamp), stamp_ns)
        return has_arrived or has_jumped_back or len(self._messages) > capacity


def drop_invalid_detections(node: Node, message: DetectionArray) -> None:
    """Remove invalid detections of other publishers from a message, and log a warning."""
    if dropped := drop_invalid(message):
        node.get_logger().warning(
            f"dropped invalid detections in a message of {message.camera!r}: "
            f"{describe_dropped(dropped)}; check its publisher",
            throttle_duration_sec=LOG_PERIOD_S,
        )
