# SPDX-License-Identifier: Apache-2.0
"""Node that draws detections and answers into images and RViz markers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from visualization_msgs.msg import Marker, MarkerArray

from mrmllm_ros.detection.annotation import draw_caption, draw_detections
from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.localization.stamped_buffer import StampedBuffer
from mrmllm_ros.msg import Answer, DetectionArray
from mrmllm_ros.ros.conversions.camera_info import CameraInfoError, is_calibrated
from mrmllm_ros.ros.conversions.detection_messages import (
    detections_from_message,
    nanoseconds,
)
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
from mrmllm_ros.ros.nodes.detection_queue import DetectionQueue, drop_invalid_detections
from mrmllm_ros.ros.nodes.image_input import image_transport_setting, subscribe_to_images
from mrmllm_ros.ros.nodes.input_watch import InputWatch, input_timeout_setting
from mrmllm_ros.ros.nodes.lifecycle import LOG_PERIOD_S, ManagedNode, spin
from mrmllm_ros.settings import Validated, setting

# Consecutive detections without an image until a warning; single images may be lost.
_MAX_UNMATCHED = 10


@dataclass(frozen=True)
class VisualizerSettings(Validated):
    """Parameters of `visualizer_node`."""

    image_transport: str = image_transport_setting()
    input_timeout_s: float = input_timeout_setting()
    buffered_images: int = setting(
        30,
        "Number of images to buffer until their detections arrive.",
        minimum=1,
        maximum=1000,
        live=True,
    )
    answer_s: float = setting(
        10.0,
        "Time for which the last answer is shown, in seconds; 0 disables it.",
        minimum=0.0,
        maximum=3600.0,
        live=True,
    )
    plane_distance_m: float = setting(
        1.0,
        "Distance of the image-plane markers from the camera, in meters.",
        minimum=0.01,
        maximum=1000.0,
        live=True,
    )
    marker_lifetime_s: float = setting(
        5.0,
        "Lifetime of markers in seconds; must exceed the period of the detections.",
        minimum=0.1,
        maximum=3600.0,
        live=True,
    )
    novelty_threshold: float = setting(
        0.7,
        "Minimum novelty of objects that are drawn dashed and captioned as novel.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )


class VisualizerNode(ManagedNode[VisualizerSettings]):
    """Publishes `annotated_image` and `markers`.

    Detections are drawn into the image with the same stamp; if they arrive before the image, they
    wait for it. If stamps are zero, they are drawn into the newest image. Markers on the image
    plane need a calibrated `camera_info`; markers of `detections_3d` do not. Nothing is drawn
    without subscribers.
    """

    settings_class = VisualizerSettings

    def __init__(self) -> None:
        super().__init__("visualizer_node")

    def configure(self) -> None:
        """See `ManagedNode.configure`."""
        # A picture that is larger than a packet may need to be sent again.
        self._annotated = self.create_lifecycle_publisher(Image, "annotated_image", 5)
        # Deep enough that no deletion is lost.
        self._markers = self.create_lifecycle_publisher(MarkerArray, "markers", 10)
        for publisher in (self._annotated, self._markers):
            self.release_stack.callback(self.destroy_lifecycle_publisher, publisher)

    def activate(self) -> None:
        """See `ManagedNode.activate`."""
        self._images: StampedBuffer[Image | CompressedImage] = StampedBuffer()
        self._waiting = DetectionQueue()
        self._camera_info: CameraInfo | None = None
        self._answer: Answer | None = None
        self._plane_updates, self._box_updates = MarkerUpdates(), MarkerUpdates()
        self._answer_updates = MarkerUpdates()
        self._unmatched = 0
        # Deep enough for the images that arrive during the drawing of a picture.
        images = subscribe_to_images(
            self,
            self.settings.image_transport,
            self._on_image,
            depth=self.settings.buffered_images,
        )
        infos = self.create_subscription(
            CameraInfo, "camera_info", self._on_camera_info, qos_profile_sensor_data
        )
        self._image_topic, self._info_topic = images.topic_name, infos.topic_name
        results = [
            self.create_subscription(message_type, topic, callback, QoSProfile(depth=10))
            for message_type, topic, callback in (
                (DetectionArray, "enriched_detections", self._on_detections),
                (DetectionArray, "detections_3d", self._on_detections_3d),
                (Answer, "answers", self._on_answer),
            )
        ]
        for subscription in (images, infos, *results):
            self.deactivate_stack.callback(self.destroy_subscription, subscription)
        self._watch = InputWatch(self, lambda: self.settings.input_timeout_s)
        self.deactivate_stack.callback(self._watch.destroy)
        self._watch.add("image", images)
        self._watch.add(
            "camera_info (image-plane markers need it)",
            infos,
            once=True,
            needed=self._markers.get_subscription_count,
        )
        self._watch.add("enriched_detections", results[0], results=True)

    def _on_image(self, message: Image | CompressedImage) -> None:
        stamp_ns = nanoseconds(message.header.stamp)
        if stamp_ns == 0:
            self.get_logger().warning(
                "image stamps are zero; drawing detections into the newest image", once=True
            )
        self._images.put(stamp_ns, message, self.settings.buffered_images)
        self._annotate_due()

    def _on_camera_info(self, message: CameraInfo) -> None:
        if is_calibrated(message):
            self._camera_info = message
            return
        self.get_logger().warning(
            f"no markers on the image plane: {self._info_topic} is not calibrated; calibrate the "
            "camera",
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
        drop_invalid_detections(self, message)
        if self._markers.get_subscription_count():
            markers = box_markers(message, self.settings.novelty_threshold)
            self._show(self._box_updates, message, markers, self.settings.marker_lifetime_s)

    def _on_detections(self, message: DetectionArray) -> None:
        drop_invalid_detections(self, message)
        if self._has_image_plane():
            with self._reporting_camera_info():
                self._outline(message)
        self._waiting.put(message)
        self._annotate_due()

    def _annotate_due(self) -> None:
        capacity = self.settings.buffered_images
        for message in self._waiting.pop_due(self._images.newest_ns, capacity):
            if self._annotated.get_subscription_count():
                self._annotate(message)

    def _annotate(self, message: DetectionArray) -> None:
        image = self._images.nearest(nanoseconds(message.header.stamp), tolerance_ns=0)
        if image is None:
            self._report_unmatched()
            return
        self._unmatched = 0
        try:
            drawn = self._draw(bgr_from_message(image), message)
        except (ImageError, ValueError) as error:
            self.get_logger().error(
                f"cannot draw into an image of {self._image_topic}: {error}",
                throttle_duration_sec=LOG_PERIOD_S,
            )
            return
        if caption := self._caption():
            drawn = draw_caption(drawn, caption)
        self._annotated.publish(image_from_bgr(drawn, image.header))

    def _report_unmatched(self) -> None:
        """Warn of consecutive detections without image; `InputWatch` warns of missing images."""
        self._unmatched += 1
        if self._images.newest_ns is not None and self._unmatched >= _MAX_UNMATCHED:
            self.get_logger().warning(
                f"nothing drawn: none of the last {self._unmatched} messages of detections has "
                f"the stamp of a buffered image of {self._image_topic}; remap image_raw to the "
                "image topic of mrmllm_node, or raise buffered_images",
                throttle_duration_sec=LOG_PERIOD_S,
            )

    def _has_image_plane(self) -> bool:
        """Return whether the camera is calibrated and `markers` has subscribers."""
        return self._camera_info is not None and self._markers.get_subscription_count() > 0

    @contextmanager
    def _reporting_camera_info(self) -> Iterator[None]:
        """Log a warning if `camera_info` does not describe the image."""
        try:
            yield
        except CameraInfoError as error:
            self.get_logger().warning(
                f"no markers on the image plane: {self._info_topic}: {error}",
                throttle_duration_sec=LOG_PERIOD_S,
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
    """Check that an image has the size that the detections refer to.

    Raises:
        ImageError: If the sizes differ.
    """
    height, width = image.shape[:2]
    if (width, height) != (message.image_width, message.image_height):
        raise ImageError(
            f"the image has {width} x {height} pixels, but the detections refer to "
            f"{message.image_width} x {message.image_height}; remap image_raw to the image topic "
            "of the detector"
        )


def main() -> int:
    """Run the node."""
    return spin(VisualizerNode)


if __name__ == "__main__":
    sys.exit(main())
