# SPDX-License-Identifier: Apache-2.0
"""Publishing detections: as our own message and, where that is asked for, as vision_msgs too."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TypeVar

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.msg import DetectionArray
from mrmllm_ros.ros.conversions.debian import debian_package
from mrmllm_ros.settings import setting

M = TypeVar("M")

_VOLATILE = QoSProfile(depth=10)
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class VisionMessagesMissingError(MrmllmError):
    """vision_msgs is asked for and not installed; the message says how to get it."""


def vision_msgs_setting() -> bool:
    """Declare the parameter that asks for vision_msgs."""
    return setting(
        False,
        "Whether to publish detections as messages of vision_msgs too, on the topics of our own "
        "with /vision_msgs behind them.",
    )


class DetectionOutput:
    """A topic of detections, and its counterpart in vision_msgs.

    The counterpart's name is the topic's, remapped or not, with `/vision_msgs` behind it. A
    message is converted only while somebody listens.
    """

    def __init__(
        self, node: LifecycleNode, topic: str, *, vision_msgs: bool, in_3d: bool = False
    ) -> None:
        """Make the publishers, which publish while the node is active.

        Args:
            node: Publishes.
            topic: Topic of our own message.
            vision_msgs: Whether there is a counterpart.
            in_3d: Whether the counterpart holds 3D boxes instead of 2D ones.

        Raises:
            VisionMessagesMissingError: If vision_msgs is not installed.
        """
        vision = _vision_conversions() if vision_msgs else None
        self._node = node
        self._own = _publisher(node, DetectionArray, topic, _VOLATILE)
        self._vision: LifecyclePublisher | None = None
        if vision is not None:
            self._convert = vision.detection_3d_array if in_3d else vision.detection_2d_array
            kind = vision.Detection3DArray if in_3d else vision.Detection2DArray
            counterpart = f"{self._own.topic_name}/vision_msgs"
            self._vision = _publisher(node, kind, counterpart, _VOLATILE)

    def publish(self, message: DetectionArray) -> None:
        """Publish detections."""
        self._own.publish(message)
        if self._vision is not None and self._vision.get_subscription_count():
            self._vision.publish(self._convert(message))

    def destroy(self) -> None:
        """Destroy the publishers."""
        self._node.destroy_lifecycle_publisher(self._own)
        if self._vision is not None:
            self._node.destroy_lifecycle_publisher(self._vision)


class LabelOutput:
    """The topic `label_info` of vision_msgs, which late subscribers get too (transient local)."""

    def __init__(self, node: LifecycleNode, *, vision_msgs: bool) -> None:
        """Make the publisher, which publishes while the node is active.

        Args:
            node: Publishes.
            vision_msgs: Whether there is such a topic; else nothing is published.

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
        """Say which labels detections may have from now on.

        Args:
            labels: The labels.
            threshold: Confidence from which on objects are reported.
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
            f"the parameter vision_msgs is true, but the package cannot be imported ({error}); "
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
