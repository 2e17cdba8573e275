# SPDX-License-Identifier: Apache-2.0
"""Perception, fusion and questions side by side: perception waits for neither."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from mrmllm_ros.engine.enrichment import Enricher, EnrichmentWorker
from mrmllm_ros.engine.errors import ErrorCode, QueryError
from mrmllm_ros.engine.models import Models, Settings
from mrmllm_ros.engine.perception_worker import PerceptionWorker
from mrmllm_ros.engine.question_worker import (
    PendingAnswer,
    Query,
    QuestionHandlers,
    QuestionWorker,
    SceneAnswer,
)
from mrmllm_ros.engine.scene import EnrichedScene, Frame, Scene, SceneMemory
from mrmllm_ros.perception.detector import FixedVocabularyError

T = TypeVar("T")


@dataclass(frozen=True)
class Handlers(Generic[T]):
    """What the engine calls, each in one of its own threads.

    Attributes:
        decode: Makes a frame of an image as it was offered; raises `ImageError`.
        on_scene: Gets each scene.
        on_enriched: Gets each enriched scene.
        on_answer: Gets each answer.
        on_error: Gets each image or model failure; the engine goes on.
    """

    decode: Callable[[T], Frame]
    on_scene: Callable[[Scene], None]
    on_enriched: Callable[[EnrichedScene], None]
    on_answer: Callable[[SceneAnswer], None]
    on_error: Callable[[Exception], None]


class Engine(Generic[T]):
    """Images and questions in, scenes and answers out.

    Attributes:
        enabled: Whether images and questions are taken; may be changed at any time.
    """

    def __init__(
        self,
        models: Models,
        settings: Settings,
        cameras: Sequence[str],
        now_ns: Callable[[], int],
        handlers: Handlers[T],
    ) -> None:
        """Prepare the engine; `start` starts it.

        Args:
            models: Detector and answerer.
            settings: Limits and rates.
            cameras: Names of the cameras.
            now_ns: The clock of the images' stamps, in nanoseconds.
            handlers: What to call.
        """
        self.enabled = True
        self._models = models
        self._handlers = handlers
        self._memory = SceneMemory(cameras, now_ns)
        enricher = Enricher(models.answerer, self._memory, handlers.on_enriched)
        self._perception = PerceptionWorker(
            models.detector, handlers.decode, self._on_scene, handlers.on_error
        )
        self._enrichment = EnrichmentWorker(enricher, settings.enrich_rate_hz, handlers.on_error)
        self._questions = QuestionWorker(
            models.answerer,
            enricher,
            self._memory,
            settings.question,
            QuestionHandlers(handlers.on_answer, handlers.on_error),
        )
        self._vocabulary = ThreadPoolExecutor(1, "vocabulary")
        # Live settings may have changed since the models were loaded.
        self.configure(settings)

    @property
    def dropped(self) -> int:
        """Images that a newer one replaced before they were taken up."""
        return self._perception.slot.dropped

    def start(self) -> None:
        """Start all workers."""
        self._perception.start()
        self._enrichment.start()
        self._questions.start()

    def stop(self) -> None:
        """Cancel all questions, end all workers."""
        self._questions.stop()
        self._enrichment.stop()
        self._perception.stop()
        self._vocabulary.shutdown()

    def offer(self, image: T) -> None:
        """Take an image if it is the newest when its turn comes; returns at once."""
        if self.enabled:
            self._perception.slot.put(image)

    def ask(self, query: Query, on_text: Callable[[str], None] | None = None) -> PendingAnswer:
        """Put a question in the line; returns at once.

        Args:
            query: The question.
            on_text: Called with each piece of the answer's text.

        Raises:
            QueryError: If the question cannot be taken.
        """
        if not self.enabled:
            raise QueryError(
                ErrorCode.NOT_ACTIVE,
                "perception is switched off; switch it on with the service `enable`",
            )
        return self._questions.submit(query, on_text)

    def cancel(self, pending: PendingAnswer) -> None:
        """End a question: its future gets the error at once."""
        self._questions.cancel(pending)

    def set_vocabulary(self, labels: Sequence[str]) -> Future[None]:
        """Look for, and choose among, these labels from now on; returns at once.

        Args:
            labels: At least one text.

        Returns:
            Gets None, or a `MrmllmError` that says what cannot use them.

        Raises:
            QueryError: If the engine has stopped.
        """
        try:
            return self._vocabulary.submit(self._set_vocabulary, tuple(labels))
        except RuntimeError as error:
            raise QueryError(ErrorCode.NOT_ACTIVE, "the node is being deactivated") from error

    def configure(self, settings: Settings) -> None:
        """Take over the settings that can change at run time."""
        self._models.detector.configure(settings.detector)
        self._models.answerer.configure(settings.prompt)
        self._questions.settings = settings.question
        self._enrichment.rate_hz = settings.enrich_rate_hz

    def _set_vocabulary(self, labels: tuple[str, ...]) -> None:
        refusals = []
        for use in (self._perception.set_vocabulary, self._models.answerer.set_vocabulary):
            try:
                use(labels)
            except FixedVocabularyError as error:
                refusals.append(str(error))
        if len(refusals) == 2:
            raise FixedVocabularyError(f"nothing can use other labels: {'; and '.join(refusals)}")

    def _on_scene(self, scene: Scene) -> None:
        self._memory.put(scene)
        self._handlers.on_scene(scene)
        # Last, so that its thread does not compete with what is done with the scene.
        self._enrichment.offer(scene)
