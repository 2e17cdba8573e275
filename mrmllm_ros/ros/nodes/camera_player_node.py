# SPDX-License-Identifier: Apache-2.0
"""Node that plays an image, a folder of images or a video file as a camera."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import numpy as np
from rclpy.qos import qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.timer import Timer
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.detection.playback import named_frames
from mrmllm_ros.environment import expand
from mrmllm_ros.ros.conversions.camera_info import pinhole_camera_info
from mrmllm_ros.ros.conversions.image_messages import image_from_bgr, jpeg_from_bgr
from mrmllm_ros.ros.nodes.input_watch import InputWatch
from mrmllm_ros.ros.nodes.lifecycle import LOG_PERIOD_S, ManagedNode, spin
from mrmllm_ros.settings import Validated, setting

# Seconds without time on /clock until a warning.
_CLOCK_TIMEOUT_S = 5.0

# File of an image and its pixels, (H, W, 3) uint8 in BGR order.
NamedFrame: TypeAlias = tuple[Path, np.ndarray]


@dataclass(frozen=True)
class PlayerSettings(Validated):
    """Parameters of `camera_player_node`."""

    path: str = setting("", "Image, folder of images or video file to play.")
    rate_hz: float = setting(10.0, "Images per second.", minimum=0.01, maximum=1000.0, live=True)
    loop: bool = setting(
        True, "Whether to restart at the end; otherwise the playback ends.", live=True
    )
    frame_id: str = setting("camera_optical_frame", "Frame of the images.", live=True)
    horizontal_fov_deg: float = setting(
        60.0,
        "Horizontal field of view in camera_info, in degrees.",
        minimum=1.0,
        maximum=179.0,
        live=True,
    )
    jpeg_quality: int = setting(
        90, "JPEG quality of image_raw/compressed.", minimum=1, maximum=100, live=True
    )


class CameraPlayerNode(ManagedNode[PlayerSettings]):
    """Publishes `image_raw`, `camera_info` and `image_raw/compressed` with current stamps.

    Images are compressed only if the topic has subscribers. Files that cannot be read are logged
    and skipped.
    """

    settings_class = PlayerSettings

    def __init__(self) -> None:
        super().__init__("camera_player_node")
        self._frames: Iterator[NamedFrame] = iter(())
        self._reported: set[str] = set()
        self._timer: Timer | None = None

    def configure(self) -> None:
        """See `ManagedNode.configure`."""
        if not self.settings.path:
            raise ImageError("the parameter path is empty; set it to an image, folder or video")
        self._reported = set()
        self._frames = self._frames_from_first_readable()
        topic = self.resolve_topic_name("image_raw")
        options = {
            "qos_profile": qos_profile_sensor_data,
            "qos_overriding_options": QoSOverridingOptions.with_default_policies(),
        }
        self._images = self.create_lifecycle_publisher(Image, topic, **options)
        self._infos = self.create_lifecycle_publisher(CameraInfo, "camera_info", **options)
        self._compressed = self.create_lifecycle_publisher(
            CompressedImage, f"{topic}/compressed", **options
        )
        for publisher in (self._images, self._infos, self._compressed):
            self.release_stack.callback(self.destroy_lifecycle_publisher, publisher)

    def activate(self) -> None:
        """See `ManagedNode.activate`."""
        self._timer = self.create_timer(1 / self.settings.rate_hz, self._play)
        self.deactivate_stack.callback(self._destroy_timer)
        # Watches the clock only.
        self._watch = InputWatch(self, lambda: _CLOCK_TIMEOUT_S)
        self.deactivate_stack.callback(self._watch.destroy)
        self.get_logger().info(f"playing {self.settings.path} on {self._images.topic_name}")

    def release(self) -> None:
        """See `ManagedNode.release`."""
        self._frames = iter(())
        super().release()

    def reconfigure(self) -> None:
        """See `ManagedNode.reconfigure`."""
        period_ns = int(1e9 / self.settings.rate_hz)
        if self._timer is not None and self._timer.timer_period_ns != period_ns:
            self._timer.timer_period_ns = period_ns
            # Otherwise the current period still has the old length.
            self._timer.reset()

    def _destroy_timer(self) -> None:
        self.destroy_timer(self._timer)
        self._timer = None

    def _source(self) -> Iterator[NamedFrame]:
        return named_frames(expand(self.settings.path))

    def _frames_from_first_readable(self) -> Iterator[NamedFrame]:
        """Open the source and skip to its first readable image; log the skipped ones.

        Raises:
            ImageError: If no image can be read.
        """
        source = self._source()
        first, errors = _first_readable(source)
        if first is None and len(errors) > 1:
            raise ImageError(f"none of {len(errors)} images can be read; {errors[0]}")
        if first is None:
            raise errors[0]
        for error in errors:
            self._report(error)
        return chain([first], source)

    def _play(self) -> None:
        try:
            frame = self._next_frame()
        except ImageError as error:
            self._report(error)
            return
        if frame is None:
            self.get_logger().info("playback ended")
            self.deactivate()
        else:
            self._publish(*frame)

    def _next_frame(self) -> NamedFrame | None:
        frame = next(self._frames, None)
        if frame is None and self.settings.loop:
            # Assigned first, so that the second file follows an unreadable first one.
            self._frames = self._source()
            return next(self._frames)
        return frame

    def _report(self, error: ImageError) -> None:
        """Log each error once, and repeated errors at most every `LOG_PERIOD_S`."""
        message = str(error)
        if message in self._reported:
            self.get_logger().error(message, throttle_duration_sec=LOG_PERIOD_S)
        else:
            self._reported.add(message)
            self.get_logger().error(message)

    def _publish(self, path: Path, frame: np.ndarray) -> None:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self.settings.frame_id)
        height, width = frame.shape[:2]
        fov = self.settings.horizontal_fov_deg
        self._infos.publish(pinhole_camera_info(header, (width, height), fov))
        self._images.publish(image_from_bgr(frame, header))
        if self._compressed.get_subscription_count():
            self._publish_compressed(path, frame, header)

    def _publish_compressed(self, path: Path, frame: np.ndarray, header: Header) -> None:
        try:
            self._compressed.publish(jpeg_from_bgr(frame, header, self.settings.jpeg_quality))
        except ImageError as error:
            message = f"cannot compress {path}: {error}"
            if message not in self._reported:
                self._reported.add(message)
                self.get_logger().error(message)


def _first_readable(
    source: Iterator[NamedFrame],
) -> tuple[NamedFrame | None, list[ImageError]]:
    """Return the next readable frame, or None, and the errors of the frames before it."""
    errors: list[ImageError] = []
    while True:
        try:
            return next(source, None), errors
        except ImageError as error:
            errors.append(error)


def main() -> int:
    """Run the node."""
    return spin(CameraPlayerNode)


if __name__ == "__main__":
    sys.exit(main())
