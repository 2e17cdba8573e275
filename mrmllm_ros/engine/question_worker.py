# SPDX-License-Identifier: Apache-2.0
"""The thread that answers questions, and the line that waits for it."""

from __future__ import annotations

import time
import unicodedata
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Condition, Event, Thread

from mrmllm_ros.engine.errors import ErrorCode, QueryError
from mrmllm_ros.engine.scene import Scene, SceneMemory
from mrmllm_ros.model.answerer import Answer, Answerer, Question
from mrmllm_ros.settings import Validated, setting

MAX_NEW_TOKENS = 4096


@dataclass(frozen=True)
class QuestionSettings(Validated):
    """How questions are received and answered."""

    max_new_tokens: int = setting(
        64, "Longest answer in tokens.", minimum=1, maximum=MAX_NEW_TOKENS, live=True
    )
    max_age_s: float = setting(
        2.0,
        "An answer is about an image not older than this, in seconds.",
        minimum=0.01,
        maximum=3600.0,
        live=True,
    )
    image_timeout_s: float = setting(
        3.0,
        "How long to wait for an image that is new enough, in seconds.",
        minimum=0.0,
        maximum=3600.0,
        live=True,
    )
    deadline_s: float = setting(
        60.0,
        "A question not answered within this many seconds of its receipt gets an error.",
        minimum=0.1,
        maximum=3600.0,
        live=True,
    )
    max_waiting: int = setting(
        8, "Most questions that wait for their turn.", minimum=1, maximum=1000, live=True
    )
    max_length: int = setting(
        500, "Longest question in characters.", minimum=1, maximum=100_000, live=True
    )


@dataclass(frozen=True)
class Query:
    """A question as a user asks it.

    Attributes:
        text: The question; empty asks for a description of the scene.
        camera: Name of the camera; empty where there is only one.
        max_age_s: Greatest age of the image in seconds; 0 for the default.
        max_new_tokens: Longest answer; 0 for the default.
    """

    text: str
    camera: str = ""
    max_age_s: float = 0.0
    max_new_tokens: int = 0


@dataclass(frozen=True, eq=False)
class SceneAnswer:
    """An answer and the scene it is about.

    Attributes:
        query: The question.
        scene: The scene.
        answer: What the model said.
        time_to_first_token_s: From receiving the question to the first piece of text.
        latency_s: From receiving the question to the complete answer.
    """

    query: Query
    scene: Scene
    answer: Answer
    time_to_first_token_s: float
    latency_s: float


class PendingAnswer:
    """A question on its way to an answer.

    Attributes:
        query: The question.
        future: Gets the `SceneAnswer`, or a `QueryError`.
    """

    def __init__(self, query: Query, on_text: Callable[[str], None] | None) -> None:
        self.query = query
        self.future: Future[SceneAnswer] = Future()
        # Questions are cancelled through the worker, never through the future.
        self.future.set_running_or_notify_cancel()
        self.submitted_s = time.monotonic()
        self.first_text_s: float | None = None
        self.cancelled = Event()
        self._on_text = on_text

    def hand_on(self, text: str) -> None:
        """Note the first piece of text and pass every piece on."""
        if self.first_text_s is None:
            self.first_text_s = time.monotonic()
        if self._on_text is not None:
            self._on_text(text)


class QuestionWorker:
    """Answers questions one after the other, in the order they came."""

    def __init__(
        self,
        answerer: Answerer,
        memory: SceneMemory,
        settings: QuestionSettings,
        on_answer: Callable[[SceneAnswer], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """Prepare the worker; `start` starts it.

        Args:
            answerer: Runs in the worker's thread only.
            memory: Where the scenes are.
            settings: May be replaced at any time.
            on_answer: Called in the worker's thread with each answer, once its future is set.
            on_error: Called in the worker's thread with each failure of a model.
        """
        self.settings = settings
        self._answerer = answerer
        self._memory = memory
        self._on_answer = on_answer
        self._on_error = on_error
        self._waiting: deque[PendingAnswer] = deque()
        self._current: PendingAnswer | None = None
        self._changed = Condition()
        self._stopping = False
        self._thread = Thread(target=self._run, name="questions", daemon=True)

    def start(self) -> None:
        """Start answering."""
        self._thread.start()

    def stop(self) -> None:
        """Cancel every question and wait for the one under way to end at its next token."""
        with self._changed:
            self._stopping = True
            pending = [*self._waiting, *([self._current] if self._current else [])]
            self._changed.notify()
        for question in pending:
            self.cancel(question)
        self._thread.join()

    def submit(self, query: Query, on_text: Callable[[str], None] | None = None) -> PendingAnswer:
        """Put a question in the line; returns at once.

        Args:
            query: The question.
            on_text: Called in the worker's thread with each piece of the answer's text.

        Raises:
            QueryError: If the question is not valid, or too many are waiting.
        """
        self._check(query)
        pending = PendingAnswer(query, on_text)
        with self._changed:
            if self._stopping:
                raise QueryError(ErrorCode.NOT_ACTIVE, "the node is being deactivated")
            if len(self._waiting) >= self.settings.max_waiting:
                raise QueryError(
                    ErrorCode.BUSY,
                    f"{len(self._waiting)} questions are waiting already; ask again later, or "
                    "raise question.max_waiting",
                )
            self._waiting.append(pending)
            self._changed.notify()
        return pending

    def cancel(self, pending: PendingAnswer) -> None:
        """End a question: at once if it waits, at the next token if it is being answered."""
        pending.cancelled.set()
        with self._changed:
            waiting = pending in self._waiting
            if waiting:
                self._waiting.remove(pending)
        if waiting:
            pending.future.set_exception(_cancelled())
        self._memory.wake()

    def _check(self, query: Query) -> None:
        invalid = None
        if len(query.text) > self.settings.max_length:
            invalid = (
                f"the question has {len(query.text)} characters; at most "
                f"{self.settings.max_length} are allowed (question.max_length)"
            )
        elif any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in query.text):
            invalid = "the question holds control characters"
        elif not 0 <= query.max_age_s < float("inf"):
            invalid = f"max_age is {query.max_age_s}; it must be 0 (default) or more seconds"
        elif query.max_new_tokens > MAX_NEW_TOKENS:
            invalid = f"max_new_tokens is {query.max_new_tokens}; at most {MAX_NEW_TOKENS}"
        if invalid:
            raise QueryError(ErrorCode.INVALID_REQUEST, invalid)
        self._memory.camera(query.camera)

    def _run(self) -> None:
        while (pending := self._next()) is not None:
            try:
                self._settle(pending)
            except Exception as error:
                self._on_error(error)

    def _settle(self, pending: PendingAnswer) -> None:
        try:
            answer = self._answer(pending)
        except QueryError as error:
            pending.future.set_exception(error)
            return
        except Exception as error:
            failure = QueryError(ErrorCode.INTERNAL, f"the answer failed: {error}")
            pending.future.set_exception(failure)
            raise
        pending.future.set_result(answer)
        self._on_answer(answer)

    def _next(self) -> PendingAnswer | None:
        with self._changed:
            self._current = None
            self._changed.wait_for(lambda: self._stopping or self._waiting)
            if self._stopping:
                return None
            self._current = self._waiting.popleft()
            return self._current

    def _answer(self, pending: PendingAnswer) -> SceneAnswer:
        query, settings = pending.query, self.settings
        deadline_s = pending.submitted_s + settings.deadline_s

        def should_stop() -> bool:
            return pending.cancelled.is_set() or time.monotonic() > deadline_s

        scene = self._memory.fresh(
            self._memory.camera(query.camera),
            query.max_age_s or settings.max_age_s,
            min(time.monotonic() + settings.image_timeout_s, deadline_s),
            should_stop,
        )
        if scene is None:
            raise self._stopped(pending)
        answer = self._answerer.answer(
            scene.frame.image,
            scene.perception,
            Question(query.text, query.max_new_tokens or settings.max_new_tokens),
            pending.hand_on,
            should_stop,
        )
        if should_stop():
            raise self._stopped(pending)
        ended_s = time.monotonic()
        return SceneAnswer(
            query=query,
            scene=scene,
            answer=answer,
            time_to_first_token_s=(pending.first_text_s or ended_s) - pending.submitted_s,
            latency_s=ended_s - pending.submitted_s,
        )

    def _stopped(self, pending: PendingAnswer) -> QueryError:
        if pending.cancelled.is_set():
            return _cancelled()
        return QueryError(
            ErrorCode.DEADLINE_EXCEEDED,
            f"no answer within {self.settings.deadline_s:g} s (question.deadline_s); ask for "
            "fewer tokens, or use a faster model or device",
        )


def _cancelled() -> QueryError:
    return QueryError(ErrorCode.CANCELLED, "the question was cancelled")
