# SPDX-License-Identifier: Apache-2.0
"""Future answer to a request, with its deadline and cancellation."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass

from mrmllm_ros.answering.answerer import Answer
from mrmllm_ros.engine.query_errors import QueryError
from mrmllm_ros.engine.question_request import QuestionRequest
from mrmllm_ros.engine.scene import EnrichedScene


@dataclass(frozen=True, eq=False)
class SceneAnswer:
    """Answer about a scene.

    Attributes:
        request: The request.
        enriched_scene: Scene that the answer is about.
        answer: Answer of the model.
        time_to_first_token_s: Seconds from the request to the first piece of text.
        latency_s: Seconds from the request to the complete answer.
    """

    request: QuestionRequest
    enriched_scene: EnrichedScene
    answer: Answer
    time_to_first_token_s: float
    latency_s: float


class AnswerFuture(Future[SceneAnswer]):
    """Future answer to a request; raises `QueryError` if the request fails.

    It is the `TextListener` of its generation. Use `Engine.cancel` to cancel it.

    Attributes:
        request: The request.
        submitted_s: Time of the request on the monotonic clock.
        deadline_s: Time on the monotonic clock at which generation stops.
        first_text_s: Time of the first piece of text on the monotonic clock, or None before it.
    """

    def __init__(
        self, request: QuestionRequest, on_text: Callable[[str], None] | None = None
    ) -> None:
        super().__init__()
        # `Future.cancel` cannot stop a running request; `QuestionWorker.cancel` can.
        self.set_running_or_notify_cancel()
        self.request = request
        self.submitted_s = time.monotonic()
        self.deadline_s = float("inf")
        self.first_text_s: float | None = None
        self._on_text = on_text

    def complete(self, outcome: SceneAnswer | QueryError) -> bool:
        """Set the answer or error, unless one is set.

        Returns:
            Whether it was set.
        """
        try:
            if isinstance(outcome, QueryError):
                self.set_exception(outcome)
            else:
                self.set_result(outcome)
        except InvalidStateError:
            return False
        return True

    def on_text(self, text: str) -> None:
        """Forward a piece of text, unless the answer or an error is set."""
        if self.done():
            return
        if self.first_text_s is None:
            self.first_text_s = time.monotonic()
        if self._on_text is not None:
            self._on_text(text)

    def should_stop(self) -> bool:
        """Whether the answer or an error is set, or the deadline has passed."""
        return self.done() or time.monotonic() > self.deadline_s
