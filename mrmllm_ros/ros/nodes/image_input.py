# SPDX-License-Identifier: Apache-2.0
"""Cameras as inputs: names, raw or compressed images."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from mrmllm_ros.settings import SettingsError, Validated, setting

# A token of a topic name.
_CAMERA = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class CameraSettings(Validated):
    """Names of the cameras, which become tokens of topic names."""

    cameras: tuple[str, ...] = setting(
        ("camera",),
        "Names of the cameras, used in queries and messages. With several cameras, the topics of "
        "each are in a namespace with its name.",
    )

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: If a value is invalid, there is no camera, or a name is duplicate or not
                a token of a topic name.
        """
        super().__post_init__()
        names = self.cameras
        if not names or len(set(names)) < len(names) or not all(map(_CAMERA.fullmatch, names)):
            raise SettingsError(
                f"cameras: {list(names)} must be one or more unique names of letters, digits and "
                "underscores that do not begin with a digit"
            )


def image_transport_setting() -> str:
    """Declare the parameter `image_transport`."""
    return setting(
        "raw",
        "Transport of the images: raw subscribes to the image topic (sensor_msgs/Image), "
        "compressed to the topic with the suffix /compressed (sensor_msgs/CompressedImage).",
        choices=("raw", "compressed"),
    )


def subscribe_to_images(
    node: Node,
    image_transport: str,
    callback: Callable[[Image | CompressedImage], None],
    topic: str = "image_raw",
    depth: int = 1,
) -> Subscription:
    """Subscribe to images with best effort, which matches every publisher.

    Args:
        node: Node of the subscription.
        image_transport: raw or compressed.
        callback: Called with each message.
        topic: Image topic, before remapping.
        depth: Queue size; with 1 the callback receives the newest image only.
    """
    topic = node.resolve_topic_name(topic)
    compressed = image_transport == "compressed"
    return node.create_subscription(
        CompressedImage if compressed else Image,
        f"{topic}/compressed" if compressed else topic,
        callback,
        QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT),
        qos_overriding_options=QoSOverridingOptions.with_default_policies(),
    )
