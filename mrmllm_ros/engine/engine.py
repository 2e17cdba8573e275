# SPDX-License-Identifier: Apache-2.0
"""Perception and questions side by side: neither waits for the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from mrmllm_ros.engine.errors import ErrorCode, QueryError
from mrmllm_ros.engine.models import Models, Settings
from mrmllm_ros.engine.perception_worker import PerceptionWorker
from mrmllm_ros.engine.question_worker import PendingAnswer, Query, QuestionWorker, SceneAnswer
from mrmllm_ros.engine.scene import Frame, Scene, SceneMemory

T = TypeVar("T")


@dataclass(frozen=True)
class Handlers(Generic[T]):
    """What the engine calls, each in one of its own threads.

    Attributes:
        decode: Makes a frame of an image as it was offered; raises `ImageError`.
        on_scene: Gets each scene.
        on_answer: Gets each answer.
        on_error: Gets each image or model failure; the engine goes on.
    """

    decode: Callable[[T], Frame]
    on_scene: Callable[[Scene], None]
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
            settings: Limits for questions.
            cameras: Names of the cameras.
            now_ns: The clock of the images' stamps, in nanoseconds.
            handlers: What to call.
        """
        self.enabled = True
        self._models = models
        self._handlers = handlers
        self._memory = SceneMemory(cameras, now_ns)
        self._perception = PerceptionWorker(
            models.detector, handlers.decode, self._on_scene, handlers.on_error
        )
        self._questions = QuestionWorker(
            models.answerer,
            self._memory,
            settings.question,
            handlers.on_answer,
            handlers.on_error,
        )

    @property
    def dropped(self) -> int:
        """Images that a newer one replaced before they were taken up."""
        return self._perception.slot.dropped

    def start(self) -> None:
        """Start both workers."""
        self._perception.start()
        self._questions.start()

    def stop(self) -> None:
        """Cancel all questions, end both workers."""
        self._questions.stop()
        self._perception.stop()

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

    def configure(self, settings: Settings) -> None:
        """Take over the settings that can change at run time."""
        self._models.detector.configure(settings.detector)
        self._models.answerer.configure(settings.prompt)
        self._questions.settings = settings.question

    def _on_scene(self, scene: Scene) -> None:
        self._memory.put(scene)
        self._handlers.on_scene(scene)
