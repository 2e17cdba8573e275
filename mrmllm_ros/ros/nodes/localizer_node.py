# SPDX-License-Identifier: Apache-2.0
"""Node that computes 3D poses and sizes of detections from depth."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.masks import Mask
from mrmllm_ros.errors import MrmllmError, rounded
from mrmllm_ros.localization.depth import DepthImage, Depths, PointCloud
from mrmllm_ros.localization.localizer import Location, localize
from mrmllm_ros.localization.stamped_buffer import StampedBuffer
from mrmllm_ros.msg import DetectionArray, ObjectDistances
from mrmllm_ros.ros.conversions.camera_info import CameraInfoError, camera_matrix
from mrmllm_ros.ros.conversions.detection_messages import (
    detections_from_message,
    nanoseconds,
)
from mrmllm_ros.ros.conversions.image_messages import depth_from_image
from mrmllm_ros.ros.conversions.location_messages import distances_message, set_location
from mrmllm_ros.ros.conversions.point_clouds import (
    check_reader,
    cloud_from_objects,
    points_from_cloud,
)
from mrmllm_ros.ros.nodes.detection_output import DetectionOutput, vision_msgs_setting
from mrmllm_ros.ros.nodes.detection_queue import DetectionQueue, drop_invalid_detections
from mrmllm_ros.ros.nodes.input_watch import InputWatch, input_timeout_setting
from mrmllm_ros.ros.nodes.lifecycle import LOG_PERIOD_S, ManagedNode, spin
from mrmllm_ros.ros.nodes.transforms import TransformError, Transforms
from mrmllm_ros.settings import Validated, setting

# Maximum number of messages of detections that wait for depth.
_MAX_WAITING = 5


@dataclass(frozen=True)
class LocalizerSettings(Validated):
    """Parameters of `localizer_node`."""

    source: str = setting(
        "depth",
        "Source of depth: depth for the topic depth/image_raw (sensor_msgs/Image), points for the "
        "topic points (sensor_msgs/PointCloud2, needs sensor_msgs_py).",
        choices=("depth", "points"),
    )
    stamp_tolerance_s: float = setting(
        0.05,
        "Maximum difference between the stamps of an image and its depth, in seconds.",
        minimum=0.0,
        maximum=10.0,
        live=True,
    )
    buffered_depths: int = setting(
        60,
        "Number of depth images or point clouds to buffer until their detections arrive.",
        minimum=1,
        maximum=1000,
        live=True,
    )
    min_points: int = setting(
        10,
        "Minimum number of depth measurements of an object; with fewer, its pose is unknown.",
        minimum=1,
        maximum=100000,
        live=True,
    )
    max_depth_m: float = setting(
        100.0,
        "Maximum depth in meters; larger values are ignored.",
        minimum=0.1,
        maximum=1000.0,
        live=True,
    )
    input_timeout_s: float = input_timeout_setting()
    target_frame: str = setting(
        "",
        "Frame of the published poses and points, transformed by tf2 at the stamp of the image; "
        "empty for the frame of the image.",
    )
    vision_msgs: bool = vision_msgs_setting()


class LocalizerNode(ManagedNode[LocalizerSettings]):
    """Publishes `detections_3d` for each message of `enriched_detections`.

    Also publishes `object_distances` for `mrmllm_node`, and `object_points` if the topic has
    subscribers.

    Attributes:
        unlocated: Number of objects without a pose.
        unpaired: Number of messages of detections without depth.
        unusable: Number of messages of detections with invalid depth or camera info.
    """

    settings_class = LocalizerSettings

    def __init__(self) -> None:
        super().__init__("localizer_node")
        self.unlocated = self.unpaired = self.unusable = 0

    def configure(self) -> None:
        """See `ManagedNode.configure`."""
        if self.settings.source == "points":
            check_reader()
        options = {"qos_overriding_options": QoSOverridingOptions.with_default_policies()}
        self._detections = DetectionOutput(
            self, "detections_3d", vision_msgs=self.settings.vision_msgs, in_3d=True
        )
        self.release_stack.callback(self._detections.destroy)
        self._points = self.create_lifecycle_publisher(PointCloud2, "object_points", 5, **options)
        self._distances = self.create_lifecycle_publisher(
            ObjectDistances, "object_distances", 10, **options
        )
        for publisher in (self._points, self._distances):
            self.release_stack.callback(self.destroy_lifecycle_publisher, publisher)

    def activate(self) -> None:
        """See `ManagedNode.activate`."""
        self._depths: StampedBuffer[Image | PointCloud2] = StampedBuffer()
        self._waiting = DetectionQueue()
        self._camera_info: CameraInfo | None = None
        self._depth_info: CameraInfo | None = None
        self.unlocated = self.unpaired = self.unusable = 0
        needs_transforms = self.settings.source == "points" or self.settings.target_frame
        self._transforms: Transforms | None = None
        if needs_transforms:
            self._transforms = Transforms(self)
            self.deactivate_stack.callback(self._transforms.close)
        detections = self.create_subscription(
            DetectionArray, "enriched_detections", self._on_detections, QoSProfile(depth=10)
        )
        self.deactivate_stack.callback(self.destroy_subscription, detections)
        infos = self._subscribe(CameraInfo, "camera_info", self._on_camera_info)
        if self.settings.source == "points":
            depths = self._subscribe(PointCloud2, "points", self._on_depth)
        else:
            depths = self._subscribe(Image, "depth/image_raw", self._on_depth)
            self._subscribe(CameraInfo, "depth/camera_info", self._on_depth_info)
        self._watch = InputWatch(self, lambda: self.settings.input_timeout_s)
        self.deactivate_stack.callback(self._watch.destroy)
        self._watch.add("enriched_detections", detections, results=True)
        self._watch.add("camera_info", infos, once=True)
        self._watch.add(self.settings.source, depths)

    def _subscribe(
        self, message_type: type, topic: str, callback: Callable[[Any], None]
    ) -> Subscription:
        subscription = self.create_subscription(
            message_type,
            topic,
            callback,
            qos_profile_sensor_data,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self.deactivate_stack.callback(self.destroy_subscription, subscription)
        return subscription

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera_info = message

    def _on_depth_info(self, message: CameraInfo) -> None:
        self._depth_info = message

    def _on_depth(self, message: Image | PointCloud2) -> None:
        stamp_ns = nanoseconds(message.header.stamp)
        if self._depths.put(stamp_ns, message, self.settings.buffered_depths):
            self.get_logger().warning("time has jumped back; clearing the depth buffer")
            if self._transforms is not None:
                self._transforms.clear()
        self._publish_due()

    def _on_detections(self, message: DetectionArray) -> None:
        drop_invalid_detections(self, message)
        self._waiting.put(message)
        self._publish_due()

    def _publish_due(self) -> None:
        for message in self._waiting.pop_due(self._depths.newest_ns, _MAX_WAITING):
            self._publish(message)

    def _publish(self, message: DetectionArray) -> None:
        to_frame: np.ndarray | None = None
        try:
            to_frame = self._to_target_frame(message.header)
            locations = self._locate(message)
        except (MrmllmError, ValueError) as error:
            self.unusable += 1
            self.get_logger().warning(
                f"cannot locate objects ({self.unusable} images so far): {error}",
                throttle_duration_sec=LOG_PERIOD_S,
            )
            locations = [None] * len(message.detections)
        objects = list(zip(message.detections, locations, strict=True))
        for detection, location in objects:
            set_location(detection, location, to_frame)
        self._distances.publish(distances_message(message))
        points = {d.id: location.points for d, location in objects if location is not None}
        if to_frame is not None:
            message.header.frame_id = self.settings.target_frame
            rotation, translation = to_frame[:3, :3].T, to_frame[:3, 3]
            points = {
                i: (p @ rotation + translation).astype(np.float32) for i, p in points.items()
            }
        self._detections.publish(message)
        self.unlocated += len(objects) - len(points)
        if self._points.get_subscription_count():
            self._points.publish(cloud_from_objects(message.header, points))

    def _to_target_frame(self, header: Header) -> np.ndarray | None:
        """Transform (4, 4) from the frame of an image to `target_frame`; None if they are equal.

        Raises:
            TransformError: If the transform at the stamp of the image is unknown.
        """
        target = self.settings.target_frame
        if not target or target == header.frame_id:
            return None
        return self._transforms.matrix(target, header.frame_id, header.stamp)

    def _locate(self, message: DetectionArray) -> list[Location | None]:
        """Locate each object; None for objects without certain depth."""
        tolerance_s = self.settings.stamp_tolerance_s
        stamp_ns = nanoseconds(message.header.stamp)
        measured = self._depths.nearest(stamp_ns, int(tolerance_s * 1e9))
        if measured is None:
            self.unpaired += 1
            self.get_logger().warning(
                f"cannot locate objects ({self.unpaired} images so far): "
                f"{self._explain_unpaired(stamp_ns)}",
                throttle_duration_sec=LOG_PERIOD_S,
            )
            return [None] * len(message.detections)
        detections = detections_from_message(message)
        resolution_wh = detections.resolution_wh
        matrix = self._camera_matrix(resolution_wh)
        depths = self._depths_from(measured, message.header.frame_id, matrix)
        locations = [
            localize(depths, matrix, xyxy, mask, self.settings.min_points, resolution_wh)
            for xyxy, mask in zip(detections.xyxy, _full_masks(detections), strict=True)
        ]
        if missing := locations.count(None):
            self.get_logger().info(
                f"no certain depth for {missing} of {len(locations)} objects "
                f"({self.unlocated + missing} so far)",
                throttle_duration_sec=LOG_PERIOD_S,
            )
        return locations

    def _explain_unpaired(self, stamp_ns: int) -> str:
        name = "points" if self.settings.source == "points" else "depth/image_raw"
        topic = self.resolve_topic_name(name)
        newest_ns = self._depths.newest_ns
        if newest_ns is None:
            return f"no message received on {topic}"
        tolerance_s = self.settings.stamp_tolerance_s
        return (
            f"no message on {topic} has a stamp within {rounded(tolerance_s)} s of the image; the "
            f"newest is {rounded(abs(newest_ns - stamp_ns) / 1e9, 6)} s "
            f"{'older' if newest_ns < stamp_ns else 'newer'}; check the stamps, "
            "stamp_tolerance_s and buffered_depths"
        )

    def _camera_matrix(self, resolution_wh: tuple[int, int]) -> np.ndarray:
        if self._camera_info is None:
            topic = self.resolve_topic_name("camera_info")
            raise CameraInfoError(f"no camera_info received on {topic}; check its publisher")
        return self._matrix("camera_info", self._camera_info, resolution_wh)

    def _matrix(self, topic: str, info: CameraInfo, resolution_wh: tuple[int, int]) -> np.ndarray:
        """Call `camera_matrix`; errors name the topic."""
        try:
            return camera_matrix(info, resolution_wh)
        except CameraInfoError as error:
            raise CameraInfoError(f"{self.resolve_topic_name(topic)}: {error}") from error

    def _depths_from(
        self, measured: Image | PointCloud2, frame_id: str, matrix: np.ndarray
    ) -> Depths:
        """Convert a depth message to depths in a camera with this frame and matrix."""
        limit_m = self.settings.max_depth_m
        header = measured.header
        if isinstance(measured, PointCloud2):
            transform = self._transforms.matrix(frame_id, header.frame_id, header.stamp)
            points = points_from_cloud(measured) @ transform[:3, :3].T + transform[:3, 3]
            return PointCloud(points, matrix, limit_m)
        if header.frame_id != frame_id:
            raise TransformError(
                f"the depth image is in the frame {header.frame_id!r} and the color image in "
                f"{frame_id!r}; register depth to color (depth_image_proc), or use its points "
                "(source: points)"
            )
        depth = depth_from_image(measured)
        # Depth without camera info is assumed to be registered to the color image.
        topic = "camera_info" if self._depth_info is None else "depth/camera_info"
        info = self._depth_info or self._camera_info
        height, width = depth.shape
        return DepthImage(depth, self._matrix(topic, info, (width, height)), matrix, limit_m)


def _full_masks(detections: Detections) -> list[np.ndarray | None]:
    """Mask (H, W) bool of each object in the size of the image, or None."""
    return [
        None if mask.is_empty else mask.whole(detections.resolution_wh)
        for mask in detections.masks or (Mask.empty(),) * len(detections)
    ]


def main() -> int:
    """Run the node."""
    return spin(LocalizerNode)


if __name__ == "__main__":
    sys.exit(main())
