# SPDX-License-Identifier: Apache-2.0
"""Client of a node under measurement: publishes images, receives detections."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from subprocess import Popen

import cv2
import numpy as np
import rclpy
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.detection.playback import readable_frames
from mrmllm_ros.msg import DetectionArray
from mrmllm_ros.ros.conversions.detection_messages import nanoseconds
from mrmllm_ros.ros.conversions.image_messages import image_from_bgr
from mrmllm_ros.ros.nodes.processes import (
    ProcessError,
    check_running,
    node_command,
    ros_arguments,
    running,
)
from mrmllm_ros.weights import locate

NAMESPACE = "/mrmllm_benchmark"
_START_TIMEOUT_S = 180.0
_MAX_FRAMES, _MAX_BYTES = 200, 2**30


@dataclass(frozen=True)
class Result:
    """Received message of detections.

    Attributes:
        stamp_ns: Stamp of the image.
        received_ns: Arrival time on the same clock.
        objects: Number of objects.
    """

    stamp_ns: int
    received_ns: int
    objects: int

    @property
    def age_s(self) -> float:
        """Seconds from publishing the image to receiving its detections."""
        return (self.received_ns - self.stamp_ns) / 1e9


class Client(Node):
    """Publishes images and receives detections.

    Attributes:
        results: Results since the list was last cleared.
        enriched: Number of enriched results.
        published: Number of images.
    """

    def __init__(
        self, camera: str = "", *, namespace: str = NAMESPACE, executor: Executor | None = None
    ) -> None:
        """Create publisher and subscriptions.

        Args:
            camera: Name of the camera; empty if there is only one.
            namespace: Namespace of the node under measurement.
            executor: Executor of several clients; None for one of this client.
        """
        super().__init__(f"benchmark_{camera}".rstrip("_"), namespace=namespace)
        prefix = f"{camera}/" if camera else ""
        self.results: list[Result] = []
        self.enriched = 0
        self.published = 0
        self._images = self.create_publisher(Image, f"{prefix}image_raw", qos_profile_sensor_data)
        qos = QoSProfile(depth=100)
        self.create_subscription(DetectionArray, f"{prefix}detections", self._on_detections, qos)
        self.create_subscription(
            DetectionArray, f"{prefix}enriched_detections", self._on_enriched, qos
        )
        self._own_executor = SingleThreadedExecutor() if executor is None else None
        self._executor = executor or self._own_executor
        self._executor.add_node(self)

    def destroy_node(self) -> None:
        """Destroy the node, and its executor before the context ends."""
        if self._own_executor is not None:
            self._own_executor.shutdown()
        super().destroy_node()

    def publish(self, frame: np.ndarray) -> int:
        """Publish an image with the current time; returns the stamp in nanoseconds."""
        message = image_from_bgr(frame, Header(frame_id="benchmark"))
        stamp = self.get_clock().now()
        message.header.stamp = stamp.to_msg()
        self._images.publish(message)
        self.published += 1
        return stamp.nanoseconds

    def spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Receive messages until a condition is true; returns the condition."""
        until = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < until:
            # Only a message can change the condition.
            self.receive(until - time.monotonic())
        return condition()

    def receive(self, timeout_s: float) -> None:
        """Receive at most one message within a time."""
        self._executor.spin_once(timeout_sec=timeout_s)

    def has_camera_listener(self) -> bool:
        """Whether the node subscribes to the camera."""
        return self._images.get_subscription_count() > 0

    def stream(
        self,
        images: list[np.ndarray],
        rate_hz: float,
        seconds: float,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Publish images at a rate and receive detections.

        Args:
            images: (H, W, 3) uint8 BGR images, repeated as often as needed.
            rate_hz: Rate of the camera.
            seconds: Duration in seconds.
            meanwhile: Called between messages.
        """
        source: Iterator[np.ndarray] = cycle(images)
        until = time.monotonic() + seconds
        due = time.monotonic()
        while (now := time.monotonic()) < until:
            if now >= due:
                self.publish(next(source))
                # Do not catch up on a late image with a burst.
                due = max(due + 1 / rate_hz, now)
            meanwhile()
            self.receive(max(0.0, min(due - time.monotonic(), 0.01)))

    def _on_detections(self, message: DetectionArray) -> None:
        now_ns = self.get_clock().now().nanoseconds
        stamp_ns = nanoseconds(message.header.stamp)
        self.results.append(Result(stamp_ns, now_ns, len(message.detections)))

    def _on_enriched(self, message: DetectionArray) -> None:
        self.enriched += 1


@contextmanager
def ros_context() -> Iterator[Path]:
    """Run rclpy within a `with` block; yields a folder for the logs of nodes."""
    with tempfile.TemporaryDirectory() as folder:
        rclpy.init()
        try:
            yield Path(folder)
        finally:
            rclpy.try_shutdown()


@contextmanager
def running_node(
    params_file: Path | None, **parameters: object
) -> Iterator[tuple[Popen[bytes], Path]]:
    """Run mrmllm_node in a process, and rclpy in this one; yields the process and its log.

    Args:
        params_file: Parameter file of the node.
        parameters: Parameters that override the file.
    """
    arguments = ros_arguments(params_file=params_file, namespace=NAMESPACE, **parameters)
    with ros_context() as folder:
        log = folder / "mrmllm_node.log"
        with running(node_command("mrmllm_node", arguments), log) as process:
            yield process, log


def wait_until_active(client: Client, process: Popen[bytes], log: Path) -> None:
    """Wait until the node subscribes to the camera.

    Raises:
        ProcessError: If it does not in time, or has ended.
    """
    until = time.monotonic() + _START_TIMEOUT_S
    while not client.spin_until(client.has_camera_listener, 0.5):
        check_running(process, log)
        if time.monotonic() > until:
            raise ProcessError(
                f"the node is not active after {_START_TIMEOUT_S:.0f} s; its log:\n"
                f"{log.read_text()}"
            )


def load_images(
    source: Path | None, size: tuple[int, int] | None, progress: Callable[[str], None]
) -> list[np.ndarray]:
    """Read the first images, limited by number and memory.

    Args:
        source: Image, folder or video; None for the sample video.
        size: Width and height to resize the images to, in pixels; None to keep theirs.
        progress: Called with the error of each image that cannot be read.

    Returns:
        (H, W, 3) uint8 BGR images.

    Raises:
        MrmllmError: If no image can be read.
    """
    source = source or locate("vtest") / "vtest.avi"
    images: list[np.ndarray] = []
    for image in readable_frames(source, lambda error: progress(f"skipped: {error}")):
        images.append(image if size is None else cv2.resize(image, size))
        if len(images) == _MAX_FRAMES or sum(i.nbytes for i in images) >= _MAX_BYTES:
            break
    if not images:
        raise BenchmarkError(f"no image in {source} can be read; name another one with --video")
    return images


def quantiles(values: np.ndarray) -> dict[str, float]:
    """Median and 95th percentile."""
    median, p95 = np.percentile(values, [50, 95])
    return {"median": round(float(median), 4), "p95": round(float(p95), 4)}
