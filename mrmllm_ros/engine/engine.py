# SPDX-License-Identifier: Apache-2.0
"""Perception, enrichment and questions in parallel threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from mrmllm_ros.detection.detector import FixedVocabularyError, Perception
from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.detection.raw_objects import OUTSIDE, describe_dropped
from mrmllm_ros.detection.tracker import Tracker
from mrmllm_ros.engine.answer_future import AnswerFuture, SceneAnswer
from mrmllm_ros.engine.engine_settings import Settings
from mrmllm_ros.engine.enrichment import Enricher, EnrichmentWorker
from mrmllm_ros.engine.metrics import (
    CameraStatistics,
    Counter,
    EngineStatistics,
    QuestionStatistics,
)
from mrmllm_ros.engine.models import Models
from mrmllm_ros.engine.perception_worker import PerceptionWorker
from mrmllm_ros.engine.query_errors import ErrorCode, QueryError
from mrmllm_ros.engine.question_request import QuestionRequest
from mrmllm_ros.engine.question_worker import QuestionWorker
from mrmllm_ros.engine.request_validation import check_labels
from mrmllm_ros.engine.scene import EnrichedScene, Frame, Scene, SceneMemory
from mrmllm_ros.engine.scheduler import Scheduler
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.localization.distances import Distances

T = TypeVar("T")

NO_ANSWERER = (
    "the node has no model that answers (answerer: none); set the parameter answerer to mrmllm or "
    "hf_vlm and configure the node again"
)


class EngineListener(Protocol[T]):
    """Decodes images and receives results, in the engine's threads."""

    def decode(self, image: T) -> Frame:
        """Decode an image from `Engine.offer`.

        Raises:
            ImageError: If the image cannot be decoded.
        """

    def on_scene(self, scene: Scene) -> None:
        """Receive a scene."""

    def on_enriched(self, enriched: EnrichedScene) -> None:
        """Receive an enriched scene."""

    def on_image_error(self, camera: str, error: ImageError) -> None:
        """Receive the error of an image that cannot be decoded."""

    def on_failure(self, error: Exception) -> None:
        """Receive an exception of a model or of this listener; the engine continues."""

    def explain_silence(self, camera: str) -> str:
        """Explain why a camera sends no images, and name the fix."""


class Engine(Generic[T]):
    """Turns images into scenes, and answers questions about them.

    Attributes:
        enabled: Whether images and questions are accepted; may change at any time.
    """

    def __init__(
        self,
        models: Models,
        settings: Settings,
        trackers: Mapping[str, Tracker],
        now_ns: Callable[[], int],
        listener: EngineListener[T],
        *,
        on_cpu: bool = False,
    ) -> None:
        """Create the engine; `start` starts its threads.

        Args:
            models: Detector, and answerer or None.
            settings: Limits and rates.
            trackers: Tracker of each camera, by name of the camera.
            now_ns: Clock of the images' stamps, in nanoseconds.
            listener: Decodes images and receives results.
            on_cpu: Whether the models run on the CPU, so that the workers take turns.
        """
        self.enabled = True
        self._models = models
        self._listener = listener
        self._trackers = trackers
        self._distances = Distances(settings.distance_max_age_s)
        cameras = tuple(trackers)
        self._memory = SceneMemory(cameras, now_ns, listener.explain_silence)
        self._image_counters = {camera: Counter() for camera in cameras}
        self._question_counter = Counter()
        self._last_error = ""
        self._invalid_reasons: dict[str, str] = {}
        self._image_errors: dict[str, str] = {}
        self._scheduler = Scheduler(cameras, enabled=on_cpu)
        self._perception = PerceptionWorker(
            models.detector,
            cameras,
            settings.compute.batch_size,
            self._scheduler,
            decode=listener.decode,
            track=self._track,
            on_scene=self._on_scene,
            on_error=self._on_image_error,
        )
        self._enrichment: EnrichmentWorker | None = None
        self._questions: QuestionWorker | None = None
        if models.answerer is not None:
            enricher = Enricher(
                models.answerer, self._memory, self._on_enriched, self._scheduler.step
            )
            self._enrichment = EnrichmentWorker(
                enricher, cameras, settings.enrich_rate_hz, self._scheduler, self._on_error
            )
            self._questions = QuestionWorker(
                models.answerer,
                enricher,
                self._memory,
                settings.question,
                self._scheduler,
                self._on_error,
            )
        self._vocabulary = ThreadPoolExecutor(1, "vocabulary")
        # Live settings may have changed after the models were loaded.
        self.configure(settings)

    def start(self) -> None:
        """Start all workers."""
        self._perception.start()
        if self._questions is not None:
            self._enrichment.start()
            self._questions.start()

    def stop(self) -> None:
        """Cancel all questions and stop all workers."""
        self._scheduler.close()
        if self._questions is not None:
            self._questions.stop()
            self._enrichment.stop()
        self._perception.stop()
        self._vocabulary.shutdown()

    def offer(self, camera: str, image: T) -> None:
        """Put an image into the slot of its camera, or skip it; returns immediately."""
        if not self.enabled:
            return
        if self._scheduler.admit(camera):
            self._perception.slots.put(camera, image)
        else:
            self._perception.slots.skip(camera)

    def ask(
        self, request: QuestionRequest, on_text: Callable[[str], None] | None = None
    ) -> AnswerFuture:
        """Queue a question; returns immediately.

        Args:
            request: The question.
            on_text: Called with each piece of the answer's text.

        Raises:
            QueryError: If the request is rejected.
        """
        try:
            if self._questions is None:
                raise QueryError(ErrorCode.UNSUPPORTED, NO_ANSWERER)
            if not self.enabled:
                raise QueryError(
                    ErrorCode.NOT_ACTIVE,
                    "perception is disabled; enable it with the service `enable`",
                )
            future = self._questions.submit(request, on_text)
        except QueryError:
            self._question_counter.add("rejected")
            raise
        self._scheduler.begin_question()
        future.add_done_callback(lambda _: self._scheduler.end_question())
        future.add_done_callback(self._on_done)
        return future

    def set_distances(self, camera: str, stamp_ns: int, distances_m: Mapping[str, float]) -> None:
        """Set the distances of tracked objects, for the following images.

        Args:
            camera: Name of the camera.
            stamp_ns: Stamp of the image that they were measured in, in nanoseconds.
            distances_m: Distances in meters by track id.
        """
        self._distances.update(camera, stamp_ns, distances_m)

    def cancel(self, future: AnswerFuture) -> None:
        """Cancel a question; its future fails immediately."""
        if self._questions is not None:
            self._questions.cancel(future)

    def set_vocabulary(self, labels: Sequence[str]) -> Future[None]:
        """Set the labels of detector and answerer; returns immediately.

        Args:
            labels: At least one label.

        Returns:
            Future that raises a `MrmllmError` if the models cannot use the labels.

        Raises:
            QueryError: If a label is too long or contains control characters, there are too many,
                or the engine has stopped.
        """
        check_labels(labels)
        try:
            return self._vocabulary.submit(self._set_vocabulary, tuple(labels))
        except RuntimeError as error:
            raise QueryError(ErrorCode.NOT_ACTIVE, "the node is being deactivated") from error

    def configure(self, settings: Settings) -> None:
        """Apply the live settings."""
        self._models.detector.configure(settings.detector)
        self._scheduler.min_share = settings.enrichment.min_share
        self._scheduler.rate_under_questions_hz = settings.detector.rate_under_questions_hz
        if self._questions is not None:
            self._models.answerer.configure(settings.prompt)
            self._models.answerer.set_context(settings.mrmllm.context)
            self._questions.settings = settings.question
            self._enrichment.rate_hz = settings.enrich_rate_hz
            self._enrichment.prefill = settings.enrichment.prefill
        self._distances.max_age_s = settings.distance_max_age_s
        for tracker in self._trackers.values():
            tracker.configure(settings.tracking)

    def statistics(self) -> EngineStatistics:
        """Statistics of images and questions since the start."""
        return EngineStatistics(
            cameras={camera: self._camera_statistics(camera) for camera in self._image_counters},
            questions=self._question_statistics(),
            last_error=self._last_error,
            enrichment_s=self._scheduler.enrichment_s,
        )

    def _set_vocabulary(self, labels: tuple[str, ...]) -> None:
        setters = [self._perception.set_vocabulary]
        if self._models.answerer is not None:
            setters.append(self._models.answerer.set_vocabulary)
        errors = []
        for set_labels in setters:
            try:
                # A pass that waits for its next step may hold the labels.
                with self._scheduler.urgent_enrichment():
                    set_labels(labels)
            except FixedVocabularyError as error:
                errors.append(str(error))
        if len(errors) == len(setters):
            raise FixedVocabularyError(f"the vocabulary cannot change: {'; and '.join(errors)}")

    def _track(self, frame: Frame, perception: Perception) -> Perception:
        stamp_ns = frame.captured_ns
        tracked = self._trackers[frame.camera].update(perception, stamp_ns / 1e9)
        candidates = self._distances.with_distances(tracked.candidates, frame.camera, stamp_ns)
        return replace(tracked, candidates=candidates)

    def _on_scene(self, scene: Scene) -> None:
        self._memory.put(scene)
        self._count_dropped(scene)
        self._listener.on_scene(scene)
        self._image_counters[scene.frame.camera].add("processed", scene.latency_s)
        if self._enrichment is not None and self._models.answerer.loaded:
            # Last, so that the fusion pass does not compete with the listener.
            self._enrichment.offer(scene)

    def _count_dropped(self, scene: Scene) -> None:
        camera, perception = scene.frame.camera, scene.perception
        counter = self._image_counters[camera]
        counter.add("invalid", count=perception.invalid)
        counter.add("outside", count=perception.dropped.get(OUTSIDE, 0))
        if perception.invalid:
            reasons = describe_dropped(perception.dropped)
            self._invalid_reasons[camera] = reasons
            self._last_error = f"invalid objects in an image of camera {camera}: {reasons}"

    def _on_enriched(self, enriched: EnrichedScene) -> None:
        self._image_counters[enriched.scene.frame.camera].add("enriched", enriched.latency_s)
        self._listener.on_enriched(enriched)

    def _on_done(self, future: Future[SceneAnswer]) -> None:
        error = future.exception()
        if error is None:
            self._question_counter.add("answered", future.result().latency_s)
        else:
            cancelled = error.code is ErrorCode.CANCELLED
            self._question_counter.add("cancelled" if cancelled else "failed")

    def _on_image_error(self, camera: str, error: Exception) -> None:
        reason = str(error) if isinstance(error, MrmllmError) else repr(error)
        self._memory.put_failure(camera, reason)
        self._image_errors[camera] = reason
        if isinstance(error, ImageError):
            self._image_counters[camera].add("unusable")
            self._last_error = f"unusable image of camera {camera}: {error}"
            self._listener.on_image_error(camera, error)
        else:
            self._image_counters[camera].add("failed")
            self._on_error(error)

    def _on_error(self, error: Exception) -> None:
        self._last_error = repr(error)
        self._listener.on_failure(error)

    def _camera_statistics(self, camera: str) -> CameraStatistics:
        slots, counter = self._perception.slots, self._image_counters[camera]
        newest = self._memory.scene(camera)
        return CameraStatistics(
            received=slots.received[camera],
            dropped=slots.dropped[camera],
            **counter.counts("unusable", "failed", "processed", "enriched", "invalid", "outside"),
            latency=counter.latency("processed"),
            enriched_latency=counter.latency("enriched"),
            age_s=None if newest is None else self._memory.age_s(newest),
            last_error=self._image_errors.get(camera, ""),
            invalid_reason=self._invalid_reasons.get(camera, ""),
        )

    def _question_statistics(self) -> QuestionStatistics:
        return QuestionStatistics(
            waiting=0 if self._questions is None else self._questions.waiting,
            running=0 if self._questions is None else self._questions.running,
            **self._question_counter.counts("answered", "rejected", "failed", "cancelled"),
            latency=self._question_counter.latency("answered"),
        )
