# SPDX-License-Identifier: Apache-2.0
"""Draws detections and answers for people to watch."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from visualization_msgs.msg import Marker, MarkerArray

from mrmllm_ros.detection.annotation import draw_caption, draw_detections
from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.msg import Answer, DetectionArray
from mrmllm_ros.ros.conversions.camera_info import CameraInfoError, is_calibrated
from mrmllm_ros.ros.conversions.detection_messages import detections_from_message
from mrmllm_ros.ros.conversions.headers import nanoseconds
from mrmllm_ros.ros.conversions.image_messages import bgr_from_message, image_from_bgr
from mrmllm_ros.ros.conversions.markers import (
    MarkerUpdates,
    answer_lines,
    answer_marker,
    box_markers,
    detection_caption,
    image_plane_markers,
    is_novel,
)
from mrmllm_ros.ros.nodes.image_input import image_transport_setting, subscribe_to_images
from mrmllm_ros.ros.nodes.input_watch import InputWatch, input_timeout_setting
from mrmllm_ros.ros.nodes.lifecycle import ManagedNode, spin
from mrmllm_ros.settings import Validated, setting

# Detections in a row without their image that are no fault: images may be lost.
_MOST_UNMATCHED = 10

# How long the log keeps quiet after a failure that may come with every image.
_LOG_PERIOD_S = 5.0


@dataclass(frozen=True)
class VisualizerSettings(Validated):
    """Parameters of `visualizer_node`."""

    image_transport: str = image_transport_setting()
    input_timeout_s: float = input_timeout_setting()
    buffered_images: int = setting(
        30,
        "Images kept until their detections come.",
        minimum=1,
        maximum=1000,
        live=True,
    )
    answer_s: float = setting(
        10.0,
        "How long the last answer stays below the image, in seconds; 0 shows none.",
        minimum=0.0,
        maximum=3600.0,
        live=True,
    )
    plane_distance_m: float = setting(
        1.0,
        "Distance from the camera at which markers outline the detections, in meters.",
        minimum=0.01,
        maximum=1000.0,
        live=True,
    )
    marker_lifetime_s: float = setting(
        5.0,
        "How long markers stay when no more detections come, in seconds; must be longer than the "
        "time from one to the next.",
        minimum=0.1,
        maximum=3600.0,
        live=True,
    )
    novelty_threshold: float = setting(
        0.7,
        "Novelty from which on an object is outlined with dashes and called novel.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )


class VisualizerNode(ManagedNode[VisualizerSettings]):
    """Publishes `annotated_image` and `markers`.

    Each detection is drawn into the image that has its stamp and its size, the one it was found
    in. Images that carry no stamp cannot be told apart: it is drawn into the newest one, and one
    warning says so. Markers of `detections_3d` need nothing else; those on the image plane are
    made once a calibrated `camera_info` has come. Nothing is drawn while nobody listens.
    """

    settings_class = VisualizerSettings

    def __init__(self) -> None:
        super().__init__("visualizer_node")
        self._outputs: list = []
        self._inputs: list = []
        self._watch: InputWatch | None = None

    def configure(self) -> None:
        """See `ManagedNode.configure`."""
        self._annotated = self.create_lifecycle_publisher(Image, "annotated_image", 1)
        # Deep enough that no deletion is lost.
        self._markers = self.create_lifecycle_publisher(MarkerArray, "markers", 10)
        self._outputs = [self._annotated, self._markers]

    def activate(self) -> None:
        """See `ManagedNode.activate`."""
        self._images: OrderedDict[int, Image | CompressedImage] = OrderedDict()
        self._camera_info: CameraInfo | None = None
        self._answer: Answer | None = None
        self._plane_updates, self._box_updates = MarkerUpdates(), MarkerUpdates()
        self._answer_updates = MarkerUpdates()
        self._unmatched = 0
        images = subscribe_to_images(self, self.settings.image_transport, self._on_image)
        self._image_topic = images.topic_name
        infos = self.create_subscription(
            CameraInfo, "camera_info", self._on_camera_info, qos_profile_sensor_data
        )
        self._info_topic = infos.topic_name
        detections = self.create_subscription(
            DetectionArray, "enriched_detections", self._on_detections, QoSProfile(depth=5)
        )
        self._watch = InputWatch(self, self.settings.input_timeout_s)
        self._watch.add("image", images)
        self._watch.add(
            "camera_info, without which there are no markers on the image plane",
            infos,
            once=True,
            wanted=self._markers.get_subscription_count,
        )
        self._watch.add("enriched_detections", detections, results=True)
        self._inputs = [
            images,
            infos,
            detections,
            self.create_subscription(
                DetectionArray, "detections_3d", self._on_detections_3d, QoSProfile(depth=5)
            ),
            self.create_subscription(Answer, "answers", self._on_answer, QoSProfile(depth=5)),
        ]

    def deactivate(self) -> None:
        """See `ManagedNode.deactivate`."""
        if self._watch is not None:
            self._watch.destroy()
            self._watch = None
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []

    def release(self) -> None:
        """See `ManagedNode.release`."""
        for publisher in self._outputs:
            self.destroy_lifecycle_publisher(publisher)
        self._outputs = []

    def reconfigure(self) -> None:
        """See `ManagedNode.reconfigure`."""
        if self._watch is not None:
            self._watch.timeout_s = self.settings.input_timeout_s

    def _on_image(self, message: Image | CompressedImage) -> None:
        stamp_ns = nanoseconds(message.header.stamp)
        if stamp_ns == 0:
            self.get_logger().warning(
                "images carry no stamp: detections are drawn into the newest image, which need "
                "not be the one they were found in",
                once=True,
            )
        self._images[stamp_ns] = message
        while len(self._images) > self.settings.buffered_images:
            self._images.popitem(last=False)

    def _on_camera_info(self, message: CameraInfo) -> None:
        if is_calibrated(message):
            self._camera_info = message
            return
        self.get_logger().warning(
            f"{self._info_topic} says that the camera is not calibrated: no markers on the image "
            "plane",
            once=True,
        )

    def _on_answer(self, message: Answer) -> None:
        self._answer = message
        self._answered_at = self.get_clock().now()
        lifetime_s = self.settings.answer_s
        if self._has_image_plane() and lifetime_s > 0:
            with self._reporting_camera_info():
                marker = answer_marker(message, self._camera_info, self.settings.plane_distance_m)
                self._show(self._answer_updates, message, [marker], lifetime_s)

    def _on_detections_3d(self, message: DetectionArray) -> None:
        if self._markers.get_subscription_count():
            markers = box_markers(message, self.settings.novelty_threshold)
            self._show(self._box_updates, message, markers, self.settings.marker_lifetime_s)

    def _on_detections(self, message: DetectionArray) -> None:
        if self._has_image_plane():
            with self._reporting_camera_info():
                self._outline(message)
        if not self._annotated.get_subscription_count():
            return
        image = self._images.get(nanoseconds(message.header.stamp))
        if image is None:
            self._report_unmatched()
            return
        self._unmatched = 0
        try:
            drawn = self._draw(bgr_from_message(image), message)
        except (ImageError, ValueError) as error:
            self.get_logger().error(
                f"cannot draw into an image of {self._image_topic}: {error}",
                throttle_duration_sec=_LOG_PERIOD_S,
            )
            return
        if caption := self._caption():
            drawn = draw_caption(drawn, caption)
        self._annotated.publish(image_from_bgr(drawn, image.header))

    def _report_unmatched(self) -> None:
        """Warn of detections in a row whose images are not there; of no image the watch warns."""
        self._unmatched += 1
        if self._images and self._unmatched >= _MOST_UNMATCHED:
            self.get_logger().warning(
                f"nothing drawn: none of the last {self._unmatched} messages of detections has "
                f"the stamp of one of the {len(self._images)} images kept of "
                f"{self._image_topic}; remap image_raw to the images that mrmllm_node takes, or "
                "raise buffered_images",
                throttle_duration_sec=_LOG_PERIOD_S,
            )

    def _has_image_plane(self) -> bool:
        """Whether the image plane is known and somebody wants to see what is on it."""
        return self._camera_info is not None and self._markers.get_subscription_count() > 0

    @contextmanager
    def _reporting_camera_info(self) -> Iterator[None]:
        """Have a `camera_info` that does not describe the image cost its markers and no more."""
        try:
            yield
        except CameraInfoError as error:
            self.get_logger().warning(
                f"no markers on the image plane: {self._info_topic}: {error}",
                throttle_duration_sec=_LOG_PERIOD_S,
            )

    def _outline(self, message: DetectionArray) -> None:
        settings = self.settings
        markers = image_plane_markers(
            message, self._camera_info, settings.plane_distance_m, settings.novelty_threshold
        )
        self._show(self._plane_updates, message, markers, settings.marker_lifetime_s)

    def _show(
        self,
        updates: MarkerUpdates,
        message: DetectionArray | Answer,
        markers: list[Marker],
        lifetime_s: float,
    ) -> None:
        self._markers.publish(updates.update(message.header, markers, lifetime_s))

    def _draw(self, image: np.ndarray, message: DetectionArray) -> np.ndarray:
        _check_size(image, message)
        threshold = self.settings.novelty_threshold
        return draw_detections(
            image,
            detections_from_message(message),
            [detection_caption(d, threshold) for d in message.detections],
            [is_novel(d, threshold) for d in message.detections],
        )

    def _caption(self) -> list[str]:
        if self._answer is None:
            return []
        age_s = (self.get_clock().now() - self._answered_at).nanoseconds / 1e9
        return answer_lines(self._answer) if 0 <= age_s <= self.settings.answer_s else []


def _check_size(image: np.ndarray, message: DetectionArray) -> None:
    """Refuse an image that is not the one that the detections are about.

    Raises:
        ImageError: If they have different sizes.
    """
    height, width = image.shape[:2]
    if (width, height) != (message.image_width, message.image_height):
        raise ImageError(
            f"the image has {width} x {height} pixels, and the detections are about one of "
            f"{message.image_width} x {message.image_height}; remap image_raw to the image that "
            "the detector takes"
        )


def main() -> int:
    """Run the node."""
    return spin(VisualizerNode)


if __name__ == "__main__":
    sys.exit(main())
