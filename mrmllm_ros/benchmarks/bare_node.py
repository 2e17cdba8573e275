# SPDX-License-Identifier: Apache-2.0
"""ROS node as a plain one is written: image in, `predict` of ultralytics, detections out.

The benchmark compares mrmllm_node with it. It has the same model, thresholds, threads, topics and
QoS, and none of the rest: no tracking, no fusion, no lifecycle.

python -m mrmllm_ros.benchmarks.bare_node PLAIN_DETECTOR --ros-args …
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import rclpy
from cv_bridge import CvBridge
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from mrmllm_ros.benchmarks.plain_detector import PlainDetector
from mrmllm_ros.msg import BoundingBox2D, Detection, DetectionArray

if TYPE_CHECKING:
    from ultralytics.engine.results import Results


class BareNode(Node):
    """Publishes `detections` of every image in `image_raw`, in the thread of the executor."""

    def __init__(self, detector: PlainDetector) -> None:
        """Load the model, then subscribe to images."""
        super().__init__("bare_node")
        self._predict = detector.load()
        self._bridge = CvBridge()
        self._detections = self.create_publisher(DetectionArray, "detections", 10)
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(Image, "image_raw", self._on_image, qos)

    def _on_image(self, image: Image) -> None:
        result = self._predict(self._bridge.imgmsg_to_cv2(image, "bgr8"))
        height, width = result.orig_shape
        message = DetectionArray(header=image.header, image_width=width, image_height=height)
        message.detections = _detections(result)
        self._detections.publish(message)


def _detections(result: Results) -> list[Detection]:
    boxes = result.boxes.cpu().numpy()
    rows = zip(boxes.xywh.tolist(), boxes.conf.tolist(), boxes.cls.tolist(), strict=True)
    return [
        Detection(
            id=number,
            label=result.names[int(label)],
            score=score,
            bbox=BoundingBox2D(center_x=x, center_y=y, size_x=width, size_y=height),
        )
        for number, ((x, y, width, height), score, label) in enumerate(rows, 1)
    ]


def main() -> None:
    """Run the node until SIGINT."""
    rclpy.init(args=sys.argv)
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(BareNode(PlainDetector.from_json(sys.argv[1])))


if __name__ == "__main__":
    main()
