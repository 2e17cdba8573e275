# SPDX-License-Identifier: Apache-2.0
"""Latency of the node compared with its detector, and its behavior with a fast camera.

Three measurements on the same frames:

* latency: `predict` of the raw detector in this process, alternating with the time from publishing
  an image to receiving its detections from the node in another process;
* flood: age of results, dropped images and memory with a camera faster than the detector;
* questions: rate of detections without and with questions.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from subprocess import Popen

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError
from mrmllm_ros.compute import Compute
from mrmllm_ros.detection.playback import readable_frames
from mrmllm_ros.detection.ultralytics_detector import model_path, quantization
from mrmllm_ros.engine.engine_settings import Settings
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
from mrmllm_ros.srv import Query
from mrmllm_ros.weights import locate

NAMESPACE = "/mrmllm_benchmark"
# Long enough for warm caches, short enough for both sides to see the same state of the machine.
_BLOCK = 20
_WARM_UP = 3
_PAUSE_S = 0.03
_RESULT_TIMEOUT_S = 10.0
_START_TIMEOUT_S = 180.0
_MAX_FRAMES, _MAX_BYTES = 200, 2**30


@dataclass
class Result:
    """Received message of detections.

    Attributes:
        stamp_ns: Stamp of the image.
        received_ns: Arrival time on the same clock.
    """

    stamp_ns: int
    received_ns: int

    @property
    def age_s(self) -> float:
        """Seconds from publishing the image to receiving its detections."""
        return (self.received_ns - self.stamp_ns) / 1e9


class Client(Node):
    """Publishes images, receives detections, asks questions."""

    def __init__(self, camera: str = "") -> None:
        """Create publisher, subscription and service client.

        Args:
            camera: Name of the camera; empty if there is only one.
        """
        super().__init__(f"benchmark_{camera}".rstrip("_"), namespace=NAMESPACE)
        prefix = f"{camera}/" if camera else ""
        self.results: list[Result] = []
        self.published = 0
        self._images = self.create_publisher(Image, f"{prefix}image_raw", qos_profile_sensor_data)
        self.create_subscription(
            DetectionArray, f"{prefix}detections", self._on_detections, QoSProfile(depth=100)
        )
        self.query = self.create_client(Query, "query")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

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

    def _on_detections(self, message: DetectionArray) -> None:
        now_ns = self.get_clock().now().nanoseconds
        self.results.append(Result(nanoseconds(message.header.stamp), now_ns))


@dataclass(frozen=True)
class Options:
    """Extent of the measurements.

    Attributes:
        params_file: Parameter file of the node.
        video: Image, folder or video; None for the sample video.
        frames: Number of frames for the latency.
        flood_s: Duration of the flood in seconds.
        flood_rate_hz: Rate of the fast camera.
        question_s: Duration without and with questions, in seconds each.
        question_rate_hz: Rate of the camera during questions.
        progress: Called with a line of text at each step.
    """

    params_file: Path | None = None
    video: Path | None = None
    frames: int = 200
    flood_s: float = 60.0
    flood_rate_hz: float = 60.0
    question_s: float = 20.0
    question_rate_hz: float = 10.0
    progress: Callable[[str], None] = field(default=print)


def run(options: Options) -> dict[str, object]:
    """Run the node and measure.

    Returns:
        Figures: times in milliseconds, ages in seconds, memory in MiB.

    Raises:
        MrmllmError: If the models or the video are missing, or the node ends early.
    """
    source = options.video or locate("vtest") / "vtest.avi"
    images = _load(source, options.progress)
    with running_node(options.params_file) as (process, log):
        options.progress("starting the node")
        client = Client()
        try:
            raw = _raw_detector(options.params_file)
            wait_until_active(client, process, log)
            return {
                "frames": {"source": source.name, "size": list(images[0].shape[1::-1])},
                "latency": _latency(client, raw, images, options),
                "flood": _flood(client, images, process.pid, options),
                "questions": _questions(client, images, options),
            }
        finally:
            client.destroy_node()


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
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "mrmllm_node.log"
        rclpy.init()
        try:
            with running(node_command("mrmllm_node", arguments), log) as process:
                yield process, log
        finally:
            rclpy.try_shutdown()


def _load(source: Path, progress: Callable[[str], None]) -> list[np.ndarray]:
    """Read the first frames, limited by number and memory."""
    images: list[np.ndarray] = []
    for image in readable_frames(source, lambda error: progress(f"skipped: {error}")):
        images.append(image)
        if len(images) == _MAX_FRAMES or sum(i.nbytes for i in images) >= _MAX_BYTES:
            break
    if not images:
        raise BenchmarkError(f"no image in {source} can be read; name another one with --video")
    return images


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


def resident_mib(pid: int) -> float:
    """Resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 2**20, 1)


def _raw_detector(params_file: Path | None) -> Callable[[np.ndarray], object]:
    """The detector of the node, run with ultralytics alone."""
    import ultralytics

    settings = Settings.from_parameter_file(params_file)
    if settings.detector.backend != "ultralytics":
        raise BenchmarkError(
            f"the raw detector cannot be measured with detector.backend "
            f"{settings.detector.backend}; set it to ultralytics"
        )
    detector, compute = settings.detector, Compute.from_settings(settings.compute)
    model = ultralytics.YOLO(model_path(detector.model), task="detect")
    return lambda image: model.predict(
        image,
        conf=detector.score_threshold,
        iou=detector.iou_threshold,
        max_det=detector.max_detections,
        device=str(compute.device),
        quantize=quantization(compute),
        verbose=False,
    )


def _latency(
    client: Client,
    raw: Callable[[np.ndarray], object],
    images: list[np.ndarray],
    options: Options,
) -> dict[str, object]:
    options.progress(
        f"latency: {options.frames} frames, raw detector and node in blocks of {_BLOCK}"
    )
    raw_s: list[float] = []
    node_s: list[float] = []
    source = cycle(images)
    for _ in range(max(1, options.frames // _BLOCK)):
        block = list(islice(source, _WARM_UP + _BLOCK))
        for measure, times in ((_time_raw, raw_s), (_time_node, node_s)):
            times += _measure_block(lambda image, m=measure: m(client, raw, image), block)
    raw_ms = quantiles(np.array(raw_s) * 1e3)
    node_ms = quantiles(np.array(node_s) * 1e3)
    ratios = {name: round(node_ms[name] / raw_ms[name], 3) for name in raw_ms}
    return {"raw_predict_ms": raw_ms, "camera_to_detections_ms": node_ms, "ratio": ratios}


def _measure_block(measure: Callable[[np.ndarray], float], block: list[np.ndarray]) -> list[float]:
    times = []
    for image in block:
        times.append(measure(image))
        time.sleep(_PAUSE_S)
    return times[_WARM_UP:]


def _time_raw(client: Client, raw: Callable[[np.ndarray], object], image: np.ndarray) -> float:
    started = time.perf_counter()
    raw(image)
    return time.perf_counter() - started


def _time_node(client: Client, raw: Callable[[np.ndarray], object], image: np.ndarray) -> float:
    client.results.clear()
    stamp_ns = client.publish(image)
    arrived = client.spin_until(
        lambda: any(r.stamp_ns == stamp_ns for r in client.results), _RESULT_TIMEOUT_S
    )
    return client.results[-1].age_s if arrived else _RESULT_TIMEOUT_S


def _flood(
    client: Client, images: list[np.ndarray], pid: int, options: Options
) -> dict[str, object]:
    options.progress(f"flood: {options.flood_s:.0f} s at {options.flood_rate_hz:.0f} Hz")
    client.results.clear()
    published_before = client.published
    memory = [resident_mib(pid)]
    for part in range(1, 4):
        _stream(client, images, options.flood_rate_hz, options.flood_s / 3)
        memory.append(resident_mib(pid))
        options.progress(f"flood: {part} of 3")
    published = client.published - published_before
    ages = np.array([result.age_s for result in client.results])
    first, *_, last = np.array_split(ages, 3)
    return {
        "published": published,
        "processed": len(ages),
        "dropped": published - len(ages),
        "age_s": quantiles(ages),
        "age_median_first_third_s": round(float(np.median(first)), 4),
        "age_median_last_third_s": round(float(np.median(last)), 4),
        "age_growth_ratio": round(float(np.median(last) / np.median(first)), 3),
        "resident_mib": memory,
    }


def _questions(client: Client, images: list[np.ndarray], options: Options) -> dict[str, object]:
    options.progress(f"questions: {options.question_s:.0f} s without and with")
    without_hz = _detections_hz(client, images, options, lambda: None)
    answers = _QuestionLoop(client)
    with_hz = _detections_hz(client, images, options, answers.keep_asking)
    return {
        "camera_hz": options.question_rate_hz,
        "detections_hz_without": round(without_hz, 2),
        "detections_hz_with": round(with_hz, 2),
        "ratio": round(with_hz / without_hz, 3),
        "answered": answers.answered,
        "errors": answers.errors,
    }


class _QuestionLoop:
    """Asks a question when the last one is answered."""

    def __init__(self, client: Client) -> None:
        self.answered = 0
        self.errors: list[str] = []
        self._client = client
        self._future = None

    def keep_asking(self) -> None:
        """Count the answer, if it has arrived, and ask again."""
        if self._future is not None:
            if not self._future.done():
                return
            response = self._future.result()
            if response.success:
                self.answered += 1
            else:
                self.errors.append(response.error_message)
        request = Query.Request(question="Describe the scene.")
        self._future = self._client.query.call_async(request)


def _detections_hz(
    client: Client, images: list[np.ndarray], options: Options, meanwhile: Callable[[], None]
) -> float:
    client.results.clear()
    _stream(client, images, options.question_rate_hz, options.question_s, meanwhile)
    return len(client.results) / options.question_s


def _stream(
    client: Client,
    images: list[np.ndarray],
    rate_hz: float,
    seconds: float,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Publish images at a rate and receive detections."""
    source: Iterator[np.ndarray] = cycle(images)
    until = time.monotonic() + seconds
    due = time.monotonic()
    while (now := time.monotonic()) < until:
        if now >= due:
            client.publish(next(source))
            # Do not catch up on a late image with a burst.
            due = max(due + 1 / rate_hz, now)
        meanwhile()
        client.receive(max(0.0, min(due - time.monotonic(), 0.01)))


def quantiles(values: np.ndarray) -> dict[str, float]:
    """Median and 95th percentile."""
    median, p95 = np.percentile(values, [50, 95])
    return {"median": round(float(median), 4), "p95": round(float(p95), 4)}
