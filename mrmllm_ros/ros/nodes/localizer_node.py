# SPDX-License-Identifier: Apache-2.0
"""Detections in an image to poses and sizes in space."""

from __future__ import annotations

import sys
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.masks import Mask
from mrmllm_ros.detection.stamps import jumps_back
from mrmllm_ros.errors import MrmllmError, rounded
from mrmllm_ros.localization.depth import DepthImage, Depths, PointCloud
from mrmllm_ros.localization.localizer import Location, localize
from mrmllm_ros.localization.stamped_buffer import StampedBuffer
from mrmllm_ros.msg import DetectionArray, ObjectDistances
from mrmllm_ros.ros.conversions.camera_info import CameraInfoError, camera_matrix
from mrmllm_ros.ros.conversions.depth_images import depth_from_image
from mrmllm_ros.ros.conversions.detection_messages import detections_from_message
from mrmllm_ros.ros.conversions.headers import nanoseconds
from mrmllm_ros.ros.conversions.location_messages import distances_message, set_location
from mrmllm_ros.ros.conversions.point_clouds import (
    check_reader,
    cloud_from_objects,
    points_from_cloud,
)
from mrmllm_ros.ros.nodes.detection_output import DetectionOutput, vision_msgs_setting
from mrmllm_ros.ros.nodes.input_watch import InputWatch, input_timeout_setting
from mrmllm_ros.ros.nodes.lifecycle import ManagedNode, spin
from mrmllm_ros.ros.nodes.transforms import TransformError, Transforms
from mrmllm_ros.settings import Validated, setting

# Detections for which no depth of their time has come yet; more are given up.
_MOST_WAITING = 5

# How long the log keeps quiet after a failure that may come with every image.
_LOG_PERIOD_S = 5.0


@dataclass(frozen=True)
class LocalizerSettings(Validated):
    """Parameters of `localizer_node`."""

    source: str = setting(
        "depth",
        "Where depth comes from: depth takes depth/image_raw (sensor_msgs/Image), points takes "
        "points (PointCloud2, read with sensor_msgs_py).",
        choices=("depth", "points"),
    )
    stamp_tolerance_s: float = setting(
        0.05,
        "Most time between the stamps of an image and of its depth, in seconds.",
        minimum=0.0,
        maximum=10.0,
        live=True,
    )
    buffered_depths: int = setting(
        60,
        "Depth images or point clouds kept until their detections come.",
        minimum=1,
        maximum=1000,
        live=True,
    )
    min_points: int = setting(
        10,
        "Fewest depth measurements of an object; with fewer its pose is not known.",
        minimum=1,
        maximum=100000,
        live=True,
    )
    max_depth_m: float = setting(
        100.0,
        "Depths beyond this count as not measured, in meters.",
        minimum=0.1,
        maximum=1000.0,
        live=True,
    )
    input_timeout_s: float = input_timeout_setting()
    target_frame: str = setting(
        "",
        "Frame of the published poses and points, by tf2 at the time of the image; empty keeps "
        "the frame of the image.",
    )
    vision_msgs: bool = vision_msgs_setting()


class LocalizerNode(ManagedNode[LocalizerSettings]):
    """Publishes `detections_3d` for each message of `enriched_detections`.

    Beside it come `object_distances`, which are all that `mrmllm_node` needs, and `object_points`,
    which are put together only while somebody listens.

    Attributes:
        unlocated: Objects whose pose is not known, for whatever reason.
        unpaired: Messages of detections for which no depth came.
        unusable: Messages of detections whose depth or camera info could not be used.
    """

    settings_class = LocalizerSettings

    def __init__(self) -> None:
        super().__init__("localizer_node")
        self._entities = ExitStack()
        self._inputs: list[Subscription] = []
        self._transforms: Transforms | None = None
        self._watch: InputWatch | None = None
        self.unlocated = self.unpaired = self.unusable = 0

    def configure(self) -> None:
        """See `ManagedNode.configure`."""
        if self.settings.source == "points":
            check_reader()
        options = {"qos_overriding_options": QoSOverridingOptions.with_default_policies()}
        self._detections = DetectionOutput(
            self, "detections_3d", vision_msgs=self.settings.vision_msgs, in_3d=True
        )
        self._entities.callback(self._detections.destroy)
        self._points = self.create_lifecycle_publisher(PointCloud2, "object_points", 5, **options)
        self._distances = self.create_lifecycle_publisher(
            ObjectDistances, "object_distances", 10, **options
        )
        for publisher in (self._points, self._distances):
            self._entities.callback(self.destroy_lifecycle_publisher, publisher)

    def activate(self) -> None:
        """See `ManagedNode.activate`."""
        self._depths: StampedBuffer[Image | PointCloud2] = StampedBuffer()
        self._waiting: deque[DetectionArray] = deque()
        self._camera_info: CameraInfo | None = None
        self._depth_info: CameraInfo | None = None
        self.unlocated = self.unpaired = self.unusable = 0
        needs_transforms = self.settings.source == "points" or self.settings.target_frame
        self._transforms = Transforms(self) if needs_transforms else None
        self._inputs = [
            self.create_subscription(
                DetectionArray, "enriched_detections", self._on_detections, QoSProfile(depth=10)
            ),
            self._subscribe(CameraInfo, "camera_info", self._on_camera_info),
            *self._subscribe_to_depth(),
        ]
        detections, infos, measured, *_ = self._inputs
        self._watch = InputWatch(self, self.settings.input_timeout_s)
        self._watch.add("enriched_detections", detections, results=True)
        self._watch.add("camera_info", infos, once=True)
        self._watch.add(self.settings.source, measured)

    def deactivate(self) -> None:
        """See `ManagedNode.deactivate`."""
        if self._watch is not None:
            self._watch.destroy()
            self._watch = None
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        if self._transforms is not None:
            self._transforms.close()
            self._transforms = None

    def release(self) -> None:
        """See `ManagedNode.release`."""
        self._entities.close()

    def reconfigure(self) -> None:
        """See `ManagedNode.reconfigure`."""
        if self._watch is not None:
            self._watch.timeout_s = self.settings.input_timeout_s

    def _subscribe_to_depth(self) -> list[Subscription]:
        if self.settings.source == "points":
            return [self._subscribe(PointCloud2, "points", self._on_depth)]
        return [
            self._subscribe(Image, "depth/image_raw", self._on_depth),
            self._subscribe(CameraInfo, "depth/camera_info", self._on_depth_info),
        ]

    def _subscribe(self, message_type: type, topic: str, callback) -> Subscription:  # noqa: ANN001
        return self.create_subscription(
            message_type,
            topic,
            callback,
            qos_profile_sensor_data,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera_info = message

    def _on_depth_info(self, message: CameraInfo) -> None:
        self._depth_info = message

    def _on_depth(self, message: Image | PointCloud2) -> None:
        stamp_ns = nanoseconds(message.header.stamp)
        if self._depths.put(stamp_ns, message, self.settings.buffered_depths):
            self.get_logger().warning("time has jumped back: later depth is forgotten")
            if self._transforms is not None:
                self._transforms.clear()
        self._serve()

    def _on_detections(self, message: DetectionArray) -> None:
        self._waiting.append(message)
        self._serve()

    def _serve(self) -> None:
        """Publish, in the order in which they came, the detections that need not wait longer."""
        while self._waiting and self._is_due(self._waiting[0]):
            self._publish(self._waiting.popleft())

    def _is_due(self, message: DetectionArray) -> bool:
        """Whether no depth nearer in time is still to come, or to be waited for."""
        stamp_ns, newest_ns = nanoseconds(message.header.stamp), self._depths.newest_ns
        is_complete = newest_ns is not None and newest_ns >= stamp_ns
        has_jumped_back = jumps_back(nanoseconds(self._waiting[-1].header.stamp), stamp_ns)
        return is_complete or has_jumped_back or len(self._waiting) > _MOST_WAITING

    def _publish(self, message: DetectionArray) -> None:
        to_frame: np.ndarray | None = None
        try:
            to_frame = self._to_target_frame(message.header)
            locations = self._locate(message)
        except (MrmllmError, ValueError) as error:
            self.unusable += 1
            self.get_logger().warning(
                f"no objects located ({self.unusable} images so far): {error}",
                throttle_duration_sec=_LOG_PERIOD_S,
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
                i: (own @ rotation + translation).astype(np.float32) for i, own in points.items()
            }
        self._detections.publish(message)
        self.unlocated += len(objects) - len(points)
        if self._points.get_subscription_count():
            self._points.publish(cloud_from_objects(message.header, points))

    def _to_target_frame(self, header: Header) -> np.ndarray | None:
        """(4, 4), from the frame of an image to `target_frame`; None where that is the same.

        Raises:
            TransformError: If the transform at the time of the image is not known.
        """
        target = self.settings.target_frame
        if not target or target == header.frame_id:
            return None
        return self._transforms.matrix(target, header.frame_id, header.stamp)

    def _locate(self, message: DetectionArray) -> list[Location | None]:
        """Where each object is, as far as that can be told."""
        tolerance_s = self.settings.stamp_tolerance_s
        stamp_ns = nanoseconds(message.header.stamp)
        measured = self._depths.nearest(stamp_ns, int(tolerance_s * 1e9))
        if measured is None:
            self.unpaired += 1
            self.get_logger().warning(
                f"no objects located ({self.unpaired} images so far): "
                f"{self._why_unpaired(stamp_ns)}",
                throttle_duration_sec=_LOG_PERIOD_S,
            )
            return [None] * len(message.detections)
        boxes = detections_from_message(message)
        matrix = self._camera_matrix(boxes.resolution_wh)
        depths = self._depths_from(measured, message.header.frame_id, matrix)
        locations = [
            localize(depths, matrix, xyxy, mask, self.settings.min_points, boxes.resolution_wh)
            for xyxy, mask in zip(boxes.xyxy, _silhouettes(boxes), strict=True)
        ]
        if missing := locations.count(None):
            self.get_logger().info(
                f"no certain depth for {missing} of {len(locations)} objects "
                f"({self.unlocated + missing} so far)",
                throttle_duration_sec=_LOG_PERIOD_S,
            )
        return locations

    def _why_unpaired(self, stamp_ns: int) -> str:
        name = "points" if self.settings.source == "points" else "depth/image_raw"
        topic = self.resolve_topic_name(name)
        newest_ns = self._depths.newest_ns
        if newest_ns is None:
            return f"nothing has come on {topic}"
        tolerance_s = self.settings.stamp_tolerance_s
        return (
            f"no message of {topic} is stamped within {rounded(tolerance_s)} s of the image; the "
            f"newest is {rounded(abs(newest_ns - stamp_ns) / 1e9, 6)} s "
            f"{'older' if newest_ns < stamp_ns else 'newer'}; check the stamps, "
            "stamp_tolerance_s and buffered_depths"
        )

    def _camera_matrix(self, resolution_wh: tuple[int, int]) -> np.ndarray:
        if self._camera_info is None:
            topic = self.resolve_topic_name("camera_info")
            raise CameraInfoError(f"no camera_info has come on {topic}")
        return self._matrix("camera_info", self._camera_info, resolution_wh)

    def _matrix(self, topic: str, info: CameraInfo, resolution_wh: tuple[int, int]) -> np.ndarray:
        """`camera_matrix`, whose errors get the topic's name."""
        try:
            return camera_matrix(info, resolution_wh)
        except CameraInfoError as error:
            raise CameraInfoError(f"{self.resolve_topic_name(topic)}: {error}") from error

    def _depths_from(
        self, measured: Image | PointCloud2, frame_id: str, matrix: np.ndarray
    ) -> Depths:
        """What was measured, seen from the camera of that frame and matrix."""
        limit_m = self.settings.max_depth_m
        header = measured.header
        if isinstance(measured, PointCloud2):
            transform = self._transforms.matrix(frame_id, header.frame_id, header.stamp)
            points = points_from_cloud(measured) @ transform[:3, :3].T + transform[:3, 3]
            return PointCloud(points, matrix, limit_m)
        if header.frame_id != frame_id:
            raise TransformError(
                f"the depth image is in the frame {header.frame_id!r} and the color image in "
                f"{frame_id!r}; register depth to color (depth_image_proc), or take its points "
                "(source: points)"
            )
        depth = depth_from_image(measured)
        # Without a camera info of its own it is taken to be registered to the color image.
        topic = "camera_info" if self._depth_info is None else "depth/camera_info"
        info = self._depth_info or self._camera_info
        height, width = depth.shape
        return DepthImage(depth, self._matrix(topic, info, (width, height)), matrix, limit_m)


def _silhouettes(detections: Detections) -> list[np.ndarray | None]:
    """Of each object (H, W) bool, or None where it has no mask."""
    return [
        None if mask.is_empty else mask.whole(detections.resolution_wh)
        for mask in detections.masks or (Mask.empty(),) * len(detections)
    ]


def main() -> int:
    """Run the node."""
    return spin(LocalizerNode)


if __name__ == "__main__":
    sys.exit(main())
