# SPDX-License-Identifier: Apache-2.0
"""Node that plays an image, a folder of images or of rendered scenes, or a video as a camera."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from rclpy.qos import qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.timer import Timer
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.detection.playback import RecordedFrame, recorded_frames
from mrmllm_ros.environment import expand
from mrmllm_ros.ros.conversions.camera_info import pinhole_camera_info
from mrmllm_ros.ros.conversions.image_messages import image_from_bgr, jpeg_from_bgr
from mrmllm_ros.ros.nodes.depth_output import DepthOutput, depth_camera_info
from mrmllm_ros.ros.nodes.input_watch import InputWatch
from mrmllm_ros.ros.nodes.lifecycle import LOG_PERIOD_S, ManagedNode, spin
from mrmllm_ros.settings import SettingsError, Validated, setting

# Seconds without time on /clock until a warning.
_CLOCK_TIMEOUT_S = 5.0
# Rate of sources without stamps.
_DEFAULT_RATE_HZ = 10.0
_MIN_RATE_HZ = 0.01


@dataclass(frozen=True)
class PlayerSettings(Validated):
    """Parameters of `camera_player_node`."""

    path: str = setting(
        "", "Image, folder of images or of rendered scenes, or video file to play."
    )
    rate_hz: float = setting(
        0.0,
        "Images per second, at least 0.01; 0 plays rendered sequences at the spacing of their "
        "stamps, and everything else at 10 images per second.",
        minimum=0.0,
        maximum=1000.0,
        live=True,
    )
    loop: bool = setting(
        True, "Whether to restart at the end; otherwise the playback ends.", live=True
    )
    frame_id: str = setting("camera_optical_frame", "Frame of the images.", live=True)
    horizontal_fov_deg: float = setting(
        60.0,
        "Horizontal field of view in camera_info, in degrees; rendered scenes have their own.",
        minimum=1.0,
        maximum=179.0,
        live=True,
    )
    jpeg_quality: int = setting(
        90, "JPEG quality of image_raw/compressed.", minimum=1, maximum=100, live=True
    )

    def __post_init__(self) -> None:
        """See `Validated`; a rate is 0 or at least 0.01."""
        super().__post_init__()
        if 0 < self.rate_hz < _MIN_RATE_HZ:
            raise SettingsError(
                f"rate_hz: {self.rate_hz} is below the minimum of {_MIN_RATE_HZ}; 0 selects the "
                "rate of the source"
            )


class CameraPlayerNode(ManagedNode[PlayerSettings]):
    """Publishes `image_raw`, `camera_info` and `image_raw/compressed` with current stamps.

    Rendered scenes also have depth and camera poses, with the stamps of the images. Images are
    compressed only if the topic has subscribers. Files that cannot be read are logged and skipped.
    """

    settings_class = PlayerSettings

    def __init__(self) -> None:
        super().__init__("camera_player_node")
        self._frames: Iterator[RecordedFrame] = iter(())
        self._reported: set[str] = set()
        self._timer: Timer | None = None
        # Seconds from the current image to the next one in a sequence.
        self._duration_s: float | None = None
        self._depth: DepthOutput | None = None

    def configure(self) -> None:
        """See `ManagedNode.configure`."""
        if not self.settings.path:
            raise ImageError("the parameter path is empty; set it to an image, folder or video")
        self._reported = set()
        first, self._frames = self._open()
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
        self._depth = None
        if first.depth is not None:
            self._depth = DepthOutput(self, options)
            self.release_stack.callback(self._depth.destroy)

    def activate(self) -> None:
        """See `ManagedNode.activate`."""
        self._duration_s = None
        self._timer = self.create_timer(self._period_s(), self._play)
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
        period_ns = int(1e9 * self._period_s())
        if self._timer is not None and self._timer.timer_period_ns != period_ns:
            self._timer.timer_period_ns = period_ns
            # Otherwise the current period still has the old length.
            self._timer.reset()

    def _period_s(self) -> float:
        """Seconds from the current image to the next one."""
        if self.settings.rate_hz:
            return 1 / self.settings.rate_hz
        return self._duration_s or 1 / _DEFAULT_RATE_HZ

    def _destroy_timer(self) -> None:
        self.destroy_timer(self._timer)
        self._timer = None

    def _source(self) -> Iterator[RecordedFrame]:
        return recorded_frames(expand(self.settings.path))

    def _open(self) -> tuple[RecordedFrame, Iterator[RecordedFrame]]:
        """Open the source and skip to its first readable image; log the skipped ones.

        Returns:
            The first readable image, and an iterator that begins with it.

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
        return first, chain([first], source)

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
            self._publish(frame)
            self._duration_s = None if frame.depth is None else frame.depth.duration_s
            self.reconfigure()

    def _next_frame(self) -> RecordedFrame | None:
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

    def _publish(self, frame: RecordedFrame) -> None:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self.settings.frame_id)
        # The folder may have changed since it was opened.
        if self._depth is not None and frame.depth is not None:
            self._depth.publish(frame.depth, header)
        self._infos.publish(self._camera_info(frame, header))
        self._images.publish(image_from_bgr(frame.bgr, header))
        if self._compressed.get_subscription_count():
            self._publish_compressed(frame, header)

    def _camera_info(self, frame: RecordedFrame, header: Header) -> CameraInfo:
        if frame.depth is not None:
            return depth_camera_info(frame.depth, header)
        height, width = frame.bgr.shape[:2]
        return pinhole_camera_info(header, (width, height), self.settings.horizontal_fov_deg)

    def _publish_compressed(self, frame: RecordedFrame, header: Header) -> None:
        quality = self.settings.jpeg_quality
        try:
            self._compressed.publish(jpeg_from_bgr(frame.bgr, header, quality))
        except ImageError as error:
            message = f"cannot compress {frame.path}: {error}"
            if message not in self._reported:
                self._reported.add(message)
                self.get_logger().error(message)


def _first_readable(
    source: Iterator[RecordedFrame],
) -> tuple[RecordedFrame | None, list[ImageError]]:
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
