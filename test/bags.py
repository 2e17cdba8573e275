# SPDX-License-Identifier: Apache-2.0
"""Bags of camera images: recorded from arrays, and played with their clock."""

import time

from builtin_interfaces.msg import Time
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.rosbag2 import Reader, Writer
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mrmllm_ros.ros.conversions.detection_messages import nanoseconds
from mrmllm_ros.ros.conversions.image_messages import image_from_bgr


def write_bag(path, images, *, start_ns, period_ns, frame_id):
    """Record (H, W, 3) uint8 BGR images on /camera/image_raw in the format of rosbag2.

    Args:
        path: Folder that does not exist yet.
        images: The images.
        start_ns: Stamp of the first one.
        period_ns: From one stamp to the next.
        frame_id: Coordinate frame in their headers.
    """
    with Writer(path, version=8) as bag:
        connection = bag.add_connection(
            "/camera/image_raw",
            "sensor_msgs/msg/Image",
            typestore=get_typestore(Stores.ROS2_HUMBLE),
        )
        for i, bgr in enumerate(images):
            seconds, rest = divmod(start_ns + i * period_ns, 10**9)
            header = Header(stamp=Time(sec=seconds, nanosec=rest), frame_id=frame_id)
            message = serialize_message(image_from_bgr(bgr, header))
            bag.write(connection, start_ns + i * period_ns, message)


def read_bag(path):
    """Image messages of a bag in recorded order."""
    with Reader(path) as bag:
        return [deserialize_message(data, Image) for _, _, data in bag.messages()]


class BagPlayer:
    """Publishes images at the rate of their stamps, with /clock, as `ros2 bag play --clock`.

    Whoever plays an earlier image after a later one makes the clock jump back.
    """

    def __init__(self, client):
        self._client = client
        self._clock = client.node.create_publisher(Clock, "/clock", 10)
        self._images = client.node.create_publisher(Image, "image_raw", qos_profile_sensor_data)
        assert client.spin_until(lambda: self._images.get_subscription_count() > 0, 200)

    def play(self, images):
        """Play the images once while the client receives messages."""
        started_s = time.monotonic()
        first_ns = nanoseconds(images[0].header.stamp)
        for image in images:
            due_s = started_s + (nanoseconds(image.header.stamp) - first_ns) / 1e9
            self._client.spin_until(lambda: False, due_s - time.monotonic())
            self._clock.publish(Clock(clock=image.header.stamp))
            self._images.publish(image)
