# SPDX-License-Identifier: Apache-2.0
"""ROS client of the demo: asks questions and receives the annotated images of the answers."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from mrmllm_ros.msg import DetectionArray
from mrmllm_ros.ros.conversions.detection_messages import nanoseconds
from mrmllm_ros.ros.conversions.image_messages import bgr_from_image
from mrmllm_ros.srv import Query

_MAX_IMAGES = 300


class DemoClient(Node):
    """Client of `query`, `enriched_detections` and `annotated_image`."""

    def __init__(self, namespace: str) -> None:
        super().__init__("demo_client", namespace=namespace)
        self.detections: OrderedDict[int, DetectionArray] = OrderedDict()
        self._annotated: OrderedDict[int, Image] = OrderedDict()
        self._query = self.create_client(Query, "query")
        self.create_subscription(DetectionArray, "enriched_detections", self._on_detections, 10)
        self.create_subscription(
            Image, "annotated_image", self._on_annotated, QoSProfile(depth=10)
        )

    def wait_until_ready(self, while_waiting: Callable[[], None], timeout_s: float) -> bool:
        """Wait for the query service and the first annotated image with its detections.

        Args:
            while_waiting: Called repeatedly; may raise an exception.
            timeout_s: Maximum time to wait in seconds.

        Returns:
            Whether they became available in time.
        """
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            while_waiting()
            rclpy.spin_once(self, timeout_sec=0.2)
            # Discovery may connect one topic later than the other.
            has_both = self._annotated.keys() & self.detections.keys()
            if has_both and self._query.service_is_ready():
                return True
        return False

    def ask(self, question: str, timeout_s: float) -> Query.Response | None:
        """Ask a question and wait for the response while receiving images.

        Returns:
            The response, or None after the timeout.
        """
        future = self._query.call_async(Query.Request(question=question))
        rclpy.spin_until_future_complete(self, future, timeout_sec=timeout_s)
        return future.result() if future.done() else None

    def annotated(self, stamp_ns: int, timeout_s: float) -> np.ndarray | None:
        """Wait for an annotated image and remove the caption of an earlier answer.

        Args:
            stamp_ns: Stamp of the image in nanoseconds.
            timeout_s: Maximum time to wait in seconds; the answer may arrive before the image.

        Returns:
            (H, W, 3) uint8 array in BGR order, or None after the timeout.
        """
        until = time.monotonic() + timeout_s
        while not (stamp_ns in self._annotated and stamp_ns in self.detections):
            if time.monotonic() > until:
                return None
            rclpy.spin_once(self, timeout_sec=0.1)
        height = self.detections[stamp_ns].image_height
        return bgr_from_image(self._annotated[stamp_ns])[:height]

    def _on_detections(self, message: DetectionArray) -> None:
        _store(self.detections, message)

    def _on_annotated(self, message: Image) -> None:
        _store(self._annotated, message)


def _store(messages: OrderedDict, message: DetectionArray | Image) -> None:
    messages[nanoseconds(message.header.stamp)] = message
    while len(messages) > _MAX_IMAGES:
        messages.popitem(last=False)
