# SPDX-License-Identifier: Apache-2.0
"""The threads that answer questions, and the line that waits for them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from threading import Condition, Thread

from mrmllm_ros.answering.answerer import Answerer, PromptTooLongError, Question
from mrmllm_ros.answering.generation import Answer, Decoding
from mrmllm_ros.engine.enrichment import Enricher
from mrmllm_ros.engine.query_errors import ErrorCode, QueryError
from mrmllm_ros.engine.question_request import QuestionRequest, check_answer_type
from mrmllm_ros.engine.scene import EnrichedScene, Scene, SceneMemory
from mrmllm_ros.engine.text_check import check_question
from mrmllm_ros.settings import Validated, setting

MAX_NEW_TOKENS = 4096
_SLOW = "the models being at work; ask for fewer tokens, or use a faster model or device"


@dataclass(frozen=True)
class QuestionSettings(Validated):
    """How questions are received and answered."""

    max_new_tokens: int = setting(
        128, "Longest answer in tokens.", minimum=1, maximum=MAX_NEW_TOKENS, live=True
    )
    temperature: float = setting(
        0.0,
        "0 takes the likeliest token each time, so that the same question about the same image "
        "gets the same answer; above it, tokens are drawn.",
        minimum=0.0,
        maximum=2.0,
        live=True,
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
    parallel: int = setting(
        2, "How many questions are answered at the same time.", minimum=1, maximum=64
    )
    max_waiting: int = setting(
        8, "Most questions that wait for their turn.", minimum=1, maximum=1000, live=True
    )
    max_length: int = setting(
        500, "Longest question in characters.", minimum=1, maximum=100_000, live=True
    )


@dataclass(frozen=True, eq=False)
class SceneAnswer:
    """An answer with the scene that it is about.

    Attributes:
        request: The request.
        about: The enriched scene.
        answer: Answer of the model.
        time_to_first_token_s: Seconds from the request to the first piece of text.
        latency_s: Seconds from the request to the complete answer.
    """

    request: QuestionRequest
    about: EnrichedScene
    answer: Answer
    time_to_first_token_s: float
    latency_s: float


class AnswerFuture(Future[SceneAnswer]):
    """Future answer to a request; raises `QueryError` if the request fails.

    It follows the generation of its answer as a `TextListener`. Use `Engine.cancel` to cancel it.

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
        # The worker cancels requests, because `Future.cancel` cannot stop a running one.
        self.set_running_or_notify_cancel()
        self.request = request
        self.submitted_s = time.monotonic()
        self.deadline_s = float("inf")
        self.first_text_s: float | None = None
        self._on_text = on_text

    def settle(self, outcome: SceneAnswer | QueryError) -> bool:
        """Set the answer or error, unless there is one.

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
        """See `TextListener.on_text`; ignored once there is an answer or error."""
        if self.done():
            return
        if self.first_text_s is None:
            self.first_text_s = time.monotonic()
        if self._on_text is not None:
            self._on_text(text)

    def should_stop(self) -> bool:
        """See `TextListener.should_stop`."""
        return self.done() or time.monotonic() > self.deadline_s


class QuestionWorker:
    """Answers questions in the order they came, several at a time."""

    def __init__(
        self,
        answerer: Answerer,
        enricher: Enricher,
        memory: SceneMemory,
        settings: QuestionSettings,
        on_error: Callable[[Exception], None],
    ) -> None:
        """Prepare the worker; `start` starts it.

        Args:
            answerer: Runs in the worker's threads.
            enricher: Reads scenes that nobody has read yet.
            memory: Where the scenes are.
            settings: May be replaced at any time; the number of threads stays.
            on_error: Called with each failure of a model, in one of the worker's threads.
        """
        self.settings = settings
        self._answerer = answerer
        self._enricher = enricher
        self._memory = memory
        self._on_error = on_error
        self._waiting: deque[AnswerFuture] = deque()
        self._current: set[AnswerFuture] = set()
        self._changed = Condition()
        self._stopping = False
        self._threads = [
            Thread(target=self._run, name=f"questions-{i}", daemon=True)
            for i in range(settings.parallel)
        ]

    @property
    def waiting(self) -> int:
        """Number of questions in the line."""
        with self._changed:
            return len(self._waiting)

    def start(self) -> None:
        """Start answering."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Cancel every question and wait for those under way to end at their next token."""
        with self._changed:
            self._stopping = True
            pending = [*self._waiting, *self._current]
            self._changed.notify_all()
        for question in pending:
            self.cancel(question)
        for thread in self._threads:
            thread.join()

    def submit(
        self, request: QuestionRequest, on_text: Callable[[str], None] | None = None
    ) -> AnswerFuture:
        """Put a question in the line; returns at once.

        Args:
            request: The question.
            on_text: Called in a thread of the worker with each piece of the answer's text.

        Raises:
            QueryError: If the question is not valid, or too many are waiting.
        """
        self._check(request)
        pending = AnswerFuture(request, on_text)
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

    def cancel(self, pending: AnswerFuture) -> None:
        """End a question at once; a model that is at work on it stops at its next token."""
        with self._changed:
            if pending in self._waiting:
                self._waiting.remove(pending)
        pending.settle(QueryError(ErrorCode.CANCELLED, "the question was cancelled"))
        self._memory.wake()

    def _check(self, request: QuestionRequest) -> None:
        check_question(request.text, self.settings.max_length)
        invalid = None
        if not 0 <= request.max_age_s < float("inf"):
            invalid = f"max_age is {request.max_age_s}; it must be 0 (default) or more seconds"
        elif request.max_new_tokens > MAX_NEW_TOKENS:
            invalid = f"max_new_tokens is {request.max_new_tokens}; at most {MAX_NEW_TOKENS}"
        if invalid:
            raise QueryError(ErrorCode.INVALID_REQUEST, invalid)
        check_answer_type(request)
        self._memory.camera(request.camera)

    def _run(self) -> None:
        while (pending := self._next()) is not None:
            self._work_on(pending)
            # Else an idle thread would keep the frame that it answered about.
            del pending

    def _work_on(self, pending: AnswerFuture) -> None:
        try:
            self._settle(pending)
        except Exception as error:
            self._on_error(error)
        with self._changed:
            self._current.discard(pending)

    def _next(self) -> AnswerFuture | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._waiting)
            if self._stopping:
                return None
            pending = self._waiting.popleft()
            self._current.add(pending)
            return pending

    def _settle(self, pending: AnswerFuture) -> None:
        try:
            answer = self._answer(pending)
        except QueryError as error:
            # The traceback would hold the frame, and the question the error.
            pending.settle(error.with_traceback(None))
            return
        except PromptTooLongError as error:
            pending.settle(QueryError(ErrorCode.INVALID_REQUEST, str(error)))
            return
        except Exception as error:
            pending.settle(QueryError(ErrorCode.INTERNAL, f"the answer failed: {error!r}"))
            raise
        pending.settle(answer)

    def _answer(self, pending: AnswerFuture) -> SceneAnswer:
        request, settings = pending.request, self.settings
        pending.deadline_s = pending.submitted_s + settings.deadline_s
        if pending.should_stop():
            raise self._too_late(
                "all of which it waited for its turn; ask less often, or raise question.parallel"
            )
        max_age_s = request.max_age_s or settings.max_age_s
        scene = self._memory.fresh(
            self._memory.camera(request.camera),
            max_age_s,
            min(time.monotonic() + settings.image_timeout_s, pending.deadline_s),
            pending.should_stop,
        )
        if scene is None:
            raise self._too_late(
                "waiting for an image that is new enough; check the camera, or ask with a larger "
                "max_age"
            )
        if isinstance(scene, Scene):
            scene = self._enricher.enrich(scene, max_age_s)
        if pending.should_stop():
            raise self._too_late(_SLOW)
        answer = self._answerer.answer(
            scene.encoded,
            Question(
                request.text,
                Decoding(request.max_new_tokens or settings.max_new_tokens, settings.temperature),
            ),
            pending,
        )
        if pending.should_stop():
            raise self._too_late(_SLOW)
        ended_s = time.monotonic()
        return SceneAnswer(
            request=request,
            enriched_scene=scene,
            answer=answer,
            time_to_first_token_s=(pending.first_text_s or ended_s) - pending.submitted_s,
            latency_s=ended_s - pending.submitted_s,
        )

    def _too_late(self, reason: str) -> QueryError:
        """For the deadline; who has cancelled has an answer already and does not see this."""
        return QueryError(
            ErrorCode.DEADLINE_EXCEEDED,
            f"no answer within {self.settings.deadline_s:g} s (question.deadline_s), {reason}",
        )
