# SPDX-License-Identifier: Apache-2.0
"""Publishers of detections, in mrmllm_ros and optionally in vision_msgs messages."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TypeVar

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.msg import DetectionArray
from mrmllm_ros.ros.packages import debian_package
from mrmllm_ros.settings import setting

M = TypeVar("M")

_VOLATILE = QoSProfile(depth=10)
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class VisionMessagesMissingError(MrmllmError):
    """vision_msgs is not installed; the message names the command that installs it."""


def vision_msgs_setting() -> bool:
    """Declare the parameter `vision_msgs`."""
    return setting(
        False,
        "Whether to publish detections also as vision_msgs, on the same topics with the suffix "
        "/vision_msgs.",
    )


class DetectionOutput:
    """Publisher of detections, optionally also as vision_msgs on `TOPIC/vision_msgs`.

    A message is converted only if the second topic has subscribers.
    """

    def __init__(
        self, node: LifecycleNode, topic: str, *, vision_msgs: bool, in_3d: bool = False
    ) -> None:
        """Create lifecycle publishers.

        Args:
            node: Node of the publishers.
            topic: Topic of `DetectionArray`, before remapping.
            vision_msgs: Whether to publish vision_msgs.
            in_3d: Whether to convert to 3D boxes instead of 2D boxes.

        Raises:
            VisionMessagesMissingError: If vision_msgs is not installed.
        """
        vision = _vision_conversions() if vision_msgs else None
        self._node = node
        self._detections = _publisher(node, DetectionArray, topic, _VOLATILE)
        self._vision: LifecyclePublisher | None = None
        if vision is not None:
            self._convert = vision.detection_3d_array if in_3d else vision.detection_2d_array
            kind = vision.Detection3DArray if in_3d else vision.Detection2DArray
            vision_topic = f"{self._detections.topic_name}/vision_msgs"
            self._vision = _publisher(node, kind, vision_topic, _VOLATILE)

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody would receive a message now; the topics keep none for later."""
        topics = (self._detections, self._vision)
        return any(topic.get_subscription_count() for topic in topics if topic is not None)

    def publish(self, message: DetectionArray) -> None:
        """Publish detections."""
        self._detections.publish(message)
        if self._vision is not None and self._vision.get_subscription_count():
            self._vision.publish(self._convert(message))

    def destroy(self) -> None:
        """Destroy the publishers."""
        self._node.destroy_lifecycle_publisher(self._detections)
        if self._vision is not None:
            self._node.destroy_lifecycle_publisher(self._vision)


class LabelOutput:
    """Publisher of `label_info` (vision_msgs), transient local."""

    def __init__(self, node: LifecycleNode, *, vision_msgs: bool) -> None:
        """Create a lifecycle publisher.

        Args:
            node: Node of the publisher.
            vision_msgs: Whether to publish at all.

        Raises:
            VisionMessagesMissingError: If vision_msgs is not installed.
        """
        self._node = node
        self._publisher: LifecyclePublisher | None = None
        if vision_msgs:
            vision = _vision_conversions()
            self._convert = vision.label_info
            self._publisher = _publisher(node, vision.LabelInfo, "label_info", _LATCHED)

    def publish(self, labels: Sequence[str], threshold: float) -> None:
        """Publish the labels that detections may have.

        Args:
            labels: Labels.
            threshold: Minimum score of reported objects.
        """
        if self._publisher is not None:
            self._publisher.publish(self._convert(labels, threshold))

    def destroy(self) -> None:
        """Destroy the publisher."""
        if self._publisher is not None:
            self._node.destroy_lifecycle_publisher(self._publisher)


def _vision_conversions() -> ModuleType:
    try:
        from mrmllm_ros.ros.conversions import vision_messages as vision
    except ImportError as error:
        raise VisionMessagesMissingError(
            f"the parameter vision_msgs is true, but vision_msgs cannot be imported ({error}); "
            f"install it (sudo apt install {debian_package('vision_msgs')}), or set the parameter "
            "to false"
        ) from error
    return vision


def _publisher(
    node: LifecycleNode, message_type: type[M], topic: str, qos: QoSProfile
) -> LifecyclePublisher[M]:
    return node.create_lifecycle_publisher(
        message_type,
        topic,
        qos,
        qos_overriding_options=QoSOverridingOptions.with_default_policies(),
    )
