# SPDX-License-Identifier: Apache-2.0
"""Node that detects objects in camera images and answers questions about them."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecyclePublisher
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool

from mrmllm_ros.compute import Compute, DeviceUse, free_memory, share_heap
from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.detection.raw_objects import describe_dropped
from mrmllm_ros.detection.stamps import StampSequence
from mrmllm_ros.detection.tracker import Tracker
from mrmllm_ros.engine.engine import Engine
from mrmllm_ros.engine.engine_settings import Settings
from mrmllm_ros.engine.loading_answerer import LoadingAnswerer
from mrmllm_ros.engine.metrics import EngineStatistics
from mrmllm_ros.engine.models import Models
from mrmllm_ros.engine.query_errors import QueryError
from mrmllm_ros.engine.scene import EnrichedScene, Frame, Scene
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.msg import Answer, ObjectDistances
from mrmllm_ros.ros.conversions.detection_messages import (
    detection_array_from_enriched,
    detection_array_from_scene,
    nanoseconds,
)
from mrmllm_ros.ros.conversions.diagnostic_messages import (
    DiagnosticsSettings,
    EngineDiagnostics,
    Snapshot,
    loading_status,
)
from mrmllm_ros.ros.conversions.image_messages import bgr_from_message
from mrmllm_ros.ros.conversions.location_messages import distances_from_message
from mrmllm_ros.ros.nodes.detection_output import (
    DetectionOutput,
    LabelOutput,
    vision_msgs_setting,
)
from mrmllm_ros.ros.nodes.diagnostics_publisher import DiagnosticsPublisher
from mrmllm_ros.ros.nodes.image_input import (
    CameraSettings,
    image_transport_setting,
    subscribe_to_images,
)
from mrmllm_ros.ros.nodes.input_watch import InputWatch, input_timeout_setting, waits_for_clock
from mrmllm_ros.ros.nodes.lifecycle import LOG_PERIOD_S, ManagedNode, spin
from mrmllm_ros.ros.nodes.question_server import (
    NOT_ACTIVE,
    REQUEST_QOS,
    QuestionServer,
    format_traceback,
    internal_error,
    require_engine,
    wait_for,
)
from mrmllm_ros.ros.nodes.requests import Requests, pause
from mrmllm_ros.settings import group
from mrmllm_ros.srv import SetVocabulary

_ACTIVATION_CHECK_PERIOD_S = 0.1


@dataclass(frozen=True)
class MrmllmSettings(CameraSettings, Settings):
    """Parameters of `mrmllm_node`."""

    image_transport: str = image_transport_setting()
    input_timeout_s: float = input_timeout_setting()
    vision_msgs: bool = vision_msgs_setting()
    diagnostics: DiagnosticsSettings = group(DiagnosticsSettings)


@dataclass(frozen=True, eq=False)
class ReceivedImage:
    """Image message with its camera and its arrival time on the node's clock, in nanoseconds."""

    camera: str
    message: Image | CompressedImage
    received_ns: int


@dataclass(frozen=True, eq=False)
class CameraOutputs:
    """Publishers of the results of one camera; None without an answerer."""

    detections: DetectionOutput
    enriched: DetectionOutput | None
    answers: LifecyclePublisher[Answer] | None


class MrmllmNode(ManagedNode[MrmllmSettings]):
    """Detects objects in the newest image of each camera and answers questions about it.

    Subscribes to `image_raw` or `image_raw/compressed`, and to `object_distances` of a localizer;
    publishes `detections`, `enriched_detections`, `answers` and `/diagnostics`; offers the
    services `query`, `set_vocabulary` and `enable`, and the action `ask`. With several cameras,
    the topics of each are in a namespace with its name, where its visualizer and localizer run.
    """

    settings_class = MrmllmSettings

    def __init__(self) -> None:
        super().__init__("mrmllm_node")
        self._models: Models | None = None
        self._has_loaded = False
        self._engine: Engine[ReceivedImage] | None = None
        self._track_numbers = itertools.count(1)
        self._requests = Requests()

    def configure(self) -> None:
        """See `ManagedNode.configure`."""
        self._load()
        self._outputs = {camera: self._make_outputs(camera) for camera in self.settings.cameras}
        self._labels = LabelOutput(self, vision_msgs=self.settings.vision_msgs)
        self.release_stack.callback(self._labels.destroy)
        self._requests = Requests()
        tracked = self._requests.tracked
        self._make_service(SetVocabulary, "set_vocabulary", tracked(self._on_set_vocabulary))
        self._make_service(SetBool, "enable", self._on_enable)
        questions = QuestionServer(
            self, self._requests, lambda: self._engine, self._publish_answer
        )
        self.release_stack.callback(questions.destroy)

    def activate(self) -> None:
        """See `ManagedNode.activate`."""
        if self._models is None:
            self._load()
        self._engine = Engine(
            self._models,
            self.settings,
            trackers={
                camera: Tracker(self.settings.tracking, self._track_numbers)
                for camera in self.settings.cameras
            },
            now_ns=self._now_ns,
            listener=self,
            on_cpu=self._device.type == "cpu",
        )
        self._stamps = {camera: StampSequence() for camera in self.settings.cameras}
        self._engine.start()
        self._watch = InputWatch(self, lambda: self.settings.input_timeout_s)
        self.deactivate_stack.callback(self._watch.destroy)
        for camera in self.settings.cameras:
            self._subscribe(camera)
        self._publish_labels()
        self._diagnostics = EngineDiagnostics(self._snapshot())
        publisher = DiagnosticsPublisher(self, self.settings.diagnostics.period_s, self._statuses)
        self.deactivate_stack.callback(publisher.destroy)
        if isinstance(self._models.answerer, LoadingAnswerer):
            self._models.answerer.add_done_callback(partial(self._on_answerer_done, self._engine))

    def deactivate(self) -> None:
        """See `ManagedNode.deactivate`. Unloads the models, which frees GPU memory."""
        super().deactivate()
        self._stop_engine()
        self._unload()

    async def drain(self) -> None:
        """See `ManagedNode.drain`."""
        await self._requests.finish(self)

    def release(self) -> None:
        """See `ManagedNode.release`."""
        super().release()
        self._unload()

    def reconfigure(self) -> None:
        """See `ManagedNode.reconfigure`."""
        if self._engine is not None:
            self._engine.configure(self.settings)
            self._publish_labels()

    def _load(self) -> None:
        settings, log = self.settings, self.get_logger()
        self._has_loaded = True
        log.info(f"loading detector {settings.detector.model}")
        with self._reporting_loading():
            self._models = Models.load(settings, log.info, in_background=True)
        self._device = Compute.from_settings(settings.compute).device
        answerer = self._models.answerer
        if answerer is None:
            log.info(f"detecting only, on {self._device} (answerer: none)")
        elif answerer.loaded:
            self._log_answerer()
        else:
            log.info(f"loading answerer {answerer.name}; detection starts before")

    @contextmanager
    def _reporting_loading(self) -> Iterator[None]:
        """Publish on `/diagnostics` that the detector is loaded, within a `with` block."""
        model = self.settings.detector.model
        publisher = DiagnosticsPublisher(
            self, self.settings.diagnostics.period_s, lambda: [loading_status(model)]
        )
        try:
            yield
        finally:
            publisher.destroy()

    def _log_answerer(self) -> None:
        answerer = self._models.answerer
        self.get_logger().info(
            f"loaded answerer {answerer.name} ({answerer.state}) on {self._device}"
        )

    def _on_answerer_done(self, engine: Engine[ReceivedImage], error: Exception | None) -> None:
        """Continue in the executor's thread when the answerer is loaded, or cannot be."""
        if self.executor is not None:
            task = self._use_answerer if error is None else partial(self._give_up, error)
            self.executor.create_task(task, engine)

    def _use_answerer(self, engine: Engine[ReceivedImage]) -> None:
        if self._engine is engine:
            self._log_answerer()
            self._publish_labels()

    async def _give_up(self, error: Exception, engine: Engine[ReceivedImage]) -> None:
        """Become unconfigured, as after a failed transition."""
        reason = str(error) if isinstance(error, MrmllmError) else format_traceback(error)
        self.get_logger().error(f"cannot load the answerer: {reason}")
        # Autostart may still be activating in another thread.
        while self._engine is engine and not self.is_active:
            await pause(self, _ACTIVATION_CHECK_PERIOD_S)
        if self._engine is engine:
            self.trigger_deactivate()
            self.trigger_cleanup()

    def _stop_engine(self) -> None:
        # A local name, since memory is not freed while a reference exists.
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.stop()
            self._log_statistics(engine.statistics())

    def _unload(self) -> None:
        # Freeing memory may take a second, which would delay a shutdown without models.
        if self._has_loaded:
            if self._models is not None:
                self._models.wait()
            self._models = None
            free_memory()
            self._has_loaded = False

    def _topic(self, camera: str, name: str) -> str:
        return name if len(self.settings.cameras) == 1 else f"{camera}/{name}"

    def _subscribe(self, camera: str) -> None:
        images = subscribe_to_images(
            self,
            self.settings.image_transport,
            partial(self._on_image, camera),
            self._topic(camera, "image_raw"),
        )
        self._watch.add(_input_name(camera), images)
        distances = self.create_subscription(
            ObjectDistances,
            self._topic(camera, "object_distances"),
            partial(self._on_distances, camera),
            QoSProfile(depth=5),
        )
        for subscription in (images, distances):
            self.deactivate_stack.callback(self.destroy_subscription, subscription)
        self.get_logger().info(f"subscribed to camera {camera!r} on {images.topic_name}")

    def _make_outputs(self, camera: str) -> CameraOutputs:
        answers = self.settings.answerer != "none"
        return CameraOutputs(
            detections=self._make_detection_output(camera, "detections"),
            enriched=self._make_detection_output(camera, "enriched_detections")
            if answers
            else None,
            answers=self._make_answer_publisher(camera) if answers else None,
        )

    def _make_detection_output(self, camera: str, name: str) -> DetectionOutput:
        output = DetectionOutput(
            self, self._topic(camera, name), vision_msgs=self.settings.vision_msgs
        )
        self.release_stack.callback(output.destroy)
        return output

    def _make_answer_publisher(self, camera: str) -> LifecyclePublisher[Answer]:
        publisher = self.create_lifecycle_publisher(
            Answer,
            self._topic(camera, "answers"),
            10,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self.release_stack.callback(self.destroy_lifecycle_publisher, publisher)
        return publisher

    def _make_service(self, service_type: type, name: str, callback: Callable) -> None:
        service = self.create_service(
            service_type,
            name,
            callback,
            qos_profile=REQUEST_QOS,
            callback_group=ReentrantCallbackGroup(),
        )
        self.release_stack.callback(self.destroy_service, service)

    def explain_silence(self, camera: str) -> str:
        """See `EngineListener.explain_silence`."""
        return self._watch.explain(_input_name(camera))

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _publish_labels(self) -> None:
        # The node may have been deactivated while a vocabulary was set.
        if self._models is None:
            return
        threshold = self.settings.detector.score_threshold
        answerer = self._models.answerer
        labels = (*self._models.detector.labels, *(answerer.labels if answerer else ()))
        self._labels.publish(tuple(dict.fromkeys(labels)), threshold)

    def _snapshot(self) -> Snapshot:
        detector, answerer = self._models.detector, self._models.answerer
        loaded = answerer is not None and answerer.loaded
        return Snapshot(
            statistics=self._engine.statistics(),
            time_s=time.monotonic(),
            enabled=self._engine.enabled,
            enrich_rate_hz=self.settings.enrich_rate_hz if loaded else 0.0,
            models={
                "detector": detector.name,
                "answerer": f"{answerer.name} ({answerer.state})" if answerer else "none",
            },
            loading="" if loaded or answerer is None else answerer.name,
            device=DeviceUse.of(self._device),
            inputs={camera: self.explain_silence(camera) for camera in self.settings.cameras},
            waits_for_clock=waits_for_clock(self),
        )

    def _statuses(self) -> list[DiagnosticStatus]:
        return self._diagnostics.statuses(self._snapshot(), self.settings.diagnostics)

    def _log_statistics(self, statistics: EngineStatistics) -> None:
        for camera, images in statistics.cameras.items():
            self.get_logger().info(
                f"inactive; camera {camera!r}: {images.received} images received, "
                f"{images.processed} processed, {images.dropped} dropped, "
                f"{images.unusable} unusable"
            )

    def _on_image(self, camera: str, message: Image | CompressedImage) -> None:
        stamp_ns, received_ns = nanoseconds(message.header.stamp), self._now_ns()
        if stamp_ns == 0:
            self.get_logger().warning(
                "image stamps are zero; using arrival time for age", once=True
            )
        step_ns = self._stamps[camera].advance(stamp_ns or received_ns)
        if step_ns < 0:
            self.get_logger().warning(
                f"stamps of camera {camera!r} jumped back by {-step_ns / 1e9:.1f} s; "
                "resetting its tracker"
            )
        self._engine.offer(camera, ReceivedImage(camera, message, received_ns))

    def _on_distances(self, camera: str, message: ObjectDistances) -> None:
        try:
            distances_m = distances_from_message(message)
        except ValueError as error:
            self.get_logger().warning(
                f"distances of camera {camera!r} ignored: {error}",
                throttle_duration_sec=LOG_PERIOD_S,
            )
            return
        self._engine.set_distances(camera, nanoseconds(message.header.stamp), distances_m)

    def decode(self, received: ReceivedImage) -> Frame:
        """See `EngineListener.decode`."""
        message = received.message
        return Frame(
            image=bgr_from_message(message),
            camera=received.camera,
            frame_id=message.header.frame_id,
            stamp_ns=nanoseconds(message.header.stamp),
            received_ns=received.received_ns,
        )

    def on_scene(self, scene: Scene) -> None:
        """See `EngineListener.on_scene`."""
        if scene.perception.dropped:
            self._log_dropped(scene)
        output = self._outputs[scene.frame.camera].detections
        if output.has_subscribers:
            output.publish(detection_array_from_scene(scene, self._models.detector.name))

    def _log_dropped(self, scene: Scene) -> None:
        log = self.get_logger()
        text = (
            f"dropped objects in an image of camera {scene.frame.camera!r}: "
            f"{describe_dropped(scene.perception.dropped)}"
        )
        if scene.perception.invalid:
            log.warning(text, throttle_duration_sec=LOG_PERIOD_S)
        else:
            log.info(text, throttle_duration_sec=LOG_PERIOD_S)

    def on_enriched(self, enriched: EnrichedScene) -> None:
        """See `EngineListener.on_enriched`."""
        output = self._outputs[enriched.scene.frame.camera].enriched
        if output.has_subscribers:
            name = f"{self._models.detector.name}+{self._models.answerer.name}"
            output.publish(detection_array_from_enriched(enriched, name))

    def _publish_answer(self, answer: Answer) -> None:
        self._outputs[answer.camera].answers.publish(answer)

    def on_image_error(self, camera: str, error: ImageError) -> None:
        """See `EngineListener.on_image_error`."""
        self.get_logger().error(
            f"unusable image of camera {camera!r}: {error}", throttle_duration_sec=LOG_PERIOD_S
        )

    def on_failure(self, error: Exception) -> None:
        """See `EngineListener.on_failure`."""
        self.get_logger().error(
            f"inference failed: {format_traceback(error)}", throttle_duration_sec=LOG_PERIOD_S
        )

    async def _on_set_vocabulary(
        self, request: SetVocabulary.Request, response: SetVocabulary.Response
    ) -> SetVocabulary.Response:
        try:
            await wait_for(self, require_engine(self._engine).set_vocabulary(request.labels))
            response.success = True
            self._publish_labels()
            self.get_logger().info(f"vocabulary set to {', '.join(request.labels)}")
        except (MrmllmError, QueryError) as error:
            response.message = str(error)
            self.get_logger().warning(f"vocabulary not changed: {error}")
        except Exception as error:
            # An exception would end the executor and the node.
            response.message = str(internal_error(self, error))
        return response

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if self._engine is None:
            response.message = NOT_ACTIVE
            return response
        self._engine.enabled = request.data
        response.success = True
        response.message = f"perception is {'enabled' if request.data else 'disabled'}"
        self.get_logger().info(response.message)
        return response


def _input_name(camera: str) -> str:
    return f"image of camera {camera!r}"


def main() -> int:
    """Run the node."""
    share_heap()
    return spin(MrmllmNode)


if __name__ == "__main__":
    sys.exit(main())
