# SPDX-License-Identifier: Apache-2.0
"""The demo's robot: asks over DDS and keeps the pictures that the answers are about."""

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

_KEPT_IMAGES = 300


class DemoClient(Node):
    """Calls `query` and receives `enriched_detections` and `annotated_image`."""

    def __init__(self, namespace: str) -> None:
        super().__init__("demo_client", namespace=namespace)
        self.detections: OrderedDict[int, DetectionArray] = OrderedDict()
        self._annotated: OrderedDict[int, Image] = OrderedDict()
        self._query = self.create_client(Query, "query")
        self.create_subscription(DetectionArray, "enriched_detections", self._on_detections, 10)
        self.create_subscription(
            Image, "annotated_image", self._on_annotated, QoSProfile(depth=10)
        )

    def wait_for_pictures(self, while_waiting: Callable[[], None], timeout_s: float) -> bool:
        """Wait until the query service and annotated images are there.

        Args:
            while_waiting: Called now and then; may raise.
            timeout_s: How long to wait.

        Returns:
            Whether they came in time.
        """
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            while_waiting()
            rclpy.spin_once(self, timeout_sec=0.2)
            if self._annotated and self._query.service_is_ready():
                return True
        return False

    def ask(self, question: str, timeout_s: float) -> Query.Response | None:
        """Ask and wait for the answer, receiving images meanwhile.

        Returns:
            The response, or None if none came in time.
        """
        future = self._query.call_async(Query.Request(question=question))
        rclpy.spin_until_future_complete(self, future, timeout_sec=timeout_s)
        return future.result() if future.done() else None

    def annotated(self, stamp_ns: int, timeout_s: float) -> np.ndarray | None:
        """The annotated picture of an image, without the caption of an earlier answer.

        Args:
            stamp_ns: The image's stamp in nanoseconds.
            timeout_s: How long to wait for it: an answer may overtake the picture.

        Returns:
            (H, W, 3) uint8 in BGR order, or None if it has not come in time.
        """
        until = time.monotonic() + timeout_s
        while not (stamp_ns in self._annotated and stamp_ns in self.detections):
            if time.monotonic() > until:
                return None
            rclpy.spin_once(self, timeout_sec=0.1)
        height = self.detections[stamp_ns].image_height
        return bgr_from_image(self._annotated[stamp_ns])[:height]

    def _on_detections(self, message: DetectionArray) -> None:
        _keep(self.detections, message)

    def _on_annotated(self, message: Image) -> None:
        _keep(self._annotated, message)


def _keep(kept: OrderedDict, message: DetectionArray | Image) -> None:
    kept[nanoseconds(message.header.stamp)] = message
    while len(kept) > _KEPT_IMAGES:
        kept.popitem(last=False)
