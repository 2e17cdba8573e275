# SPDX-License-Identifier: Apache-2.0
"""Publishers of the depth and the camera poses of rendered scenes."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from mrmllm_ros.detection.playback import RecordedDepth
from mrmllm_ros.ros.conversions.camera_info import calibrated_camera_info
from mrmllm_ros.ros.conversions.image_messages import image_from_depth
from mrmllm_ros.ros.conversions.location_messages import transform_message
from mrmllm_ros.ros.packages import debian_package

# Frame of the camera poses.
ROOM = "room"
# As that of tf2_ros.
_TRANSFORMS = QoSProfile(depth=100)


class DepthOutput:
    """Publishes `depth/image_raw`, `depth/camera_info` and the camera pose on `/tf`.

    Poses need tf2_msgs; without it the log says once that there are none.
    """

    def __init__(self, node: LifecycleNode, options: dict[str, Any]) -> None:
        """Create lifecycle publishers.

        Args:
            node: Node of the publishers.
            options: Quality of service of the images.
        """
        self._node = node
        self._images = node.create_lifecycle_publisher(Image, "depth/image_raw", **options)
        self._infos = node.create_lifecycle_publisher(CameraInfo, "depth/camera_info", **options)
        self._transforms: LifecyclePublisher | None = None
        try:
            from tf2_msgs.msg import TFMessage
        except ModuleNotFoundError:
            node.get_logger().warning(
                "no camera poses on /tf without tf2_msgs; install it "
                f"(sudo apt install {debian_package('tf2_msgs')})"
            )
            return
        self._transforms = node.create_lifecycle_publisher(TFMessage, "/tf", _TRANSFORMS)

    def publish(self, depth: RecordedDepth, header: Header) -> None:
        """Publish the depth of an image.

        Args:
            depth: Depth.
            header: Header of the image.
        """
        if self._transforms is not None and depth.frame.pose is not None:
            parent = Header(stamp=header.stamp, frame_id=ROOM)
            pose = transform_message(parent, header.frame_id, depth.frame.pose)
            self._transforms.publish(self._transforms.msg_type(transforms=[pose]))
        self._infos.publish(depth_camera_info(depth, header))
        self._images.publish(image_from_depth(depth.millimeters, header))

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in (self._images, self._infos, self._transforms):
            if publisher is not None:
                self._node.destroy_lifecycle_publisher(publisher)


def depth_camera_info(depth: RecordedDepth, header: Header) -> CameraInfo:
    """Return the calibration, which is the same for color and depth."""
    frame = depth.frame
    return calibrated_camera_info(
        header,
        frame.resolution_wh,
        frame.camera_matrix,
        frame.distortion,
        frame.distortion_model,
    )
