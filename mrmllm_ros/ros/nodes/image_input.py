# SPDX-License-Identifier: Apache-2.0
"""Subscribing to a camera, raw or compressed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from mrmllm_ros.settings import SettingsError, setting

# Best effort takes what the camera offers, reliable or not.
_NEWEST = QoSProfile(
    history=qos_profile_sensor_data.history,
    depth=1,
    reliability=qos_profile_sensor_data.reliability,
)

# A name in a ROS topic.
_CAMERA = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_camera_names(names: Sequence[str]) -> None:
    """Check the names of cameras, which become parts of topic names.

    Raises:
        SettingsError: If there is none, one is given twice, or one cannot stand in a topic's name.
    """
    if not names or len(set(names)) < len(names) or not all(map(_CAMERA.fullmatch, names)):
        raise SettingsError(
            f"cameras: {list(names)} must be at least one name, each another one of letters, "
            "digits and underscores that does not begin with a digit"
        )


def image_transport_setting() -> str:
    """Declare the parameter that chooses between raw and compressed images."""
    return setting(
        "raw",
        "raw takes sensor_msgs/Image, compressed takes CompressedImage from the image topic with "
        "/compressed behind it.",
        choices=("raw", "compressed"),
    )


def subscribe_to_images(
    node: Node,
    image_transport: str,
    callback: Callable[[Image | CompressedImage], None],
    topic: str = "image_raw",
) -> Subscription:
    """Subscribe to images, with a queue of one.

    Args:
        node: The subscriber.
        image_transport: raw or compressed.
        callback: Gets each message.
        topic: The image topic; it may be remapped.
    """
    topic = node.resolve_topic_name(topic)
    compressed = image_transport == "compressed"
    return node.create_subscription(
        CompressedImage if compressed else Image,
        f"{topic}/compressed" if compressed else topic,
        callback,
        _NEWEST,
        qos_overriding_options=QoSOverridingOptions.with_default_policies(),
    )
