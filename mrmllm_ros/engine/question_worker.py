# SPDX-License-Identifier: Apache-2.0
"""Threads that answer questions, and their queue."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition, Thread

from mrmllm_ros.answering.answerer import Answerer, Decoding, PromptTooLongError, Question
from mrmllm_ros.engine.answer_future import AnswerFuture, SceneAnswer
from mrmllm_ros.engine.enrichment import Enricher
from mrmllm_ros.engine.query_errors import ErrorCode, QueryError
from mrmllm_ros.engine.question_request import QuestionRequest
from mrmllm_ros.engine.request_validation import MAX_NEW_TOKENS, check_request
from mrmllm_ros.engine.scene import Scene, SceneMemory
from mrmllm_ros.engine.scheduler import Scheduler
from mrmllm_ros.settings import Validated, setting

# A question that waits for the model notices its deadline and cancellation within this time.
_LOADING_CHECK_PERIOD_S = 0.1


@dataclass(frozen=True)
class QuestionSettings(Validated):
    """Limits of questions and decoding of answers."""

    max_new_tokens: int = setting(
        128,
        "Maximum number of generated tokens of an answer.",
        minimum=1,
        maximum=MAX_NEW_TOKENS,
        live=True,
    )
    temperature: float = setting(
        0.0,
        "Sampling temperature. 0 decodes greedily: the same question about the same image gets "
        "the same answer.",
        minimum=0.0,
        maximum=2.0,
        live=True,
    )
    max_age_s: float = setting(
        2.0,
        "Maximum age of the image that an answer is about, in seconds.",
        minimum=0.01,
        maximum=3600.0,
        live=True,
    )
    image_timeout_s: float = setting(
        3.0,
        "Maximum time to wait for a recent image, in seconds.",
        minimum=0.0,
        maximum=3600.0,
        live=True,
    )
    deadline_s: float = setting(
        60.0,
        "Maximum time from request to answer, in seconds; later, the request fails.",
        minimum=0.1,
        maximum=3600.0,
        live=True,
    )
    parallel: int = setting(
        2, "Number of questions that are answered in parallel.", minimum=1, maximum=64
    )
    max_waiting: int = setting(
        8, "Maximum number of waiting questions.", minimum=1, maximum=1000, live=True
    )
    max_length: int = setting(
        500,
        "Maximum length of a question in characters.",
        minimum=1,
        maximum=100_000,
        live=True,
    )


class _YieldingListener:
    """Follows an answer for its future, and yields to detection after each token."""

    def __init__(self, future: AnswerFuture, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.on_text = future.on_text
        self._should_stop = future.should_stop

    def should_stop(self) -> bool:
        self._scheduler.yield_to_detection()
        return self._should_stop()


class QuestionWorker:
    """Answers questions in the order of arrival, several in parallel."""

    def __init__(
        self,
        answerer: Answerer,
        enricher: Enricher,
        memory: SceneMemory,
        settings: QuestionSettings,
        scheduler: Scheduler,
        on_error: Callable[[Exception], None],
    ) -> None:
        """Create the worker; `start` starts its threads.

        Args:
            answerer: Answers questions, in the worker's threads.
            enricher: Enriches scenes that are not enriched yet.
            memory: Provides the scenes.
            settings: Limits; may be replaced at any time, except the number of threads.
            scheduler: Gives questions the processor before enrichment, and after detection.
            on_error: Called with each exception of a model, in a thread of the worker.
        """
        self.settings = settings
        self._answerer = answerer
        self._enricher = enricher
        self._memory = memory
        self._scheduler = scheduler
        self._on_error = on_error
        self._waiting: deque[AnswerFuture] = deque()
        self._running: set[AnswerFuture] = set()
        self._changed = Condition()
        self._stopping = False
        self._threads = [
            Thread(target=self._run, name=f"questions-{i}", daemon=True)
            for i in range(settings.parallel)
        ]

    @property
    def waiting(self) -> int:
        """Number of waiting questions."""
        with self._changed:
            return len(self._waiting)

    @property
    def running(self) -> int:
        """Number of questions that are being answered."""
        with self._changed:
            return len(self._running)

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Cancel all questions and join the threads; running ones stop at the next token."""
        with self._changed:
            self._stopping = True
            futures = [*self._waiting, *self._running]
            self._changed.notify_all()
        for future in futures:
            self.cancel(future)
        for thread in self._threads:
            thread.join()

    def submit(
        self, request: QuestionRequest, on_text: Callable[[str], None] | None = None
    ) -> AnswerFuture:
        """Queue a question; returns immediately.

        Args:
            request: The question.
            on_text: Called with each piece of the answer's text, in a thread of the worker.

        Raises:
            QueryError: If the request is invalid, or too many questions are waiting.
        """
        check_request(request, self.settings.max_length)
        self._memory.resolve_camera(request.camera)
        future = AnswerFuture(request, on_text)
        with self._changed:
            if self._stopping:
                raise QueryError(ErrorCode.NOT_ACTIVE, "the node is being deactivated")
            if len(self._waiting) >= self.settings.max_waiting:
                raise QueryError(
                    ErrorCode.BUSY,
                    f"{len(self._waiting)} questions are waiting already; ask again later, or "
                    "raise question.max_waiting",
                )
            self._waiting.append(future)
            self._changed.notify()
        return future

    def cancel(self, future: AnswerFuture) -> None:
        """Cancel a question; its generation stops at the next token."""
        with self._changed:
            if future in self._waiting:
                self._waiting.remove(future)
        future.complete(QueryError(ErrorCode.CANCELLED, "the question was cancelled"))
        self._memory.wake()

    def _run(self) -> None:
        while (future := self._next()) is not None:
            try:
                self._process(future)
            except Exception as error:
                self._on_error(error)
            with self._changed:
                self._running.discard(future)
            # An idle thread must not keep the frame of its last answer.
            del future

    def _next(self) -> AnswerFuture | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._waiting)
            if self._stopping:
                return None
            future = self._waiting.popleft()
            self._running.add(future)
            return future

    def _process(self, future: AnswerFuture) -> None:
        try:
            answer = self._answer(future)
        except QueryError as error:
            # The traceback references the frame.
            future.complete(error.with_traceback(None))
        except PromptTooLongError as error:
            future.complete(QueryError(ErrorCode.INVALID_REQUEST, str(error)))
        except Exception as error:
            future.complete(QueryError(ErrorCode.INTERNAL, f"inference failed: {error!r}"))
            raise
        else:
            future.complete(answer)

    def _answer(self, future: AnswerFuture) -> SceneAnswer:
        request, settings = future.request, self.settings
        future.deadline_s = future.submitted_s + settings.deadline_s
        if future.should_stop():
            raise self._deadline_error(
                "the question was still waiting; ask less often, or raise question.parallel"
            )
        while not self._answerer.wait_until_loaded(_LOADING_CHECK_PERIOD_S):
            if future.should_stop():
                raise self._deadline_error("the model is still loading; ask again later")
        max_age_s = request.max_age_s or settings.max_age_s
        scene = self._memory.wait_for_recent(
            self._memory.resolve_camera(request.camera),
            max_age_s,
            min(time.monotonic() + settings.image_timeout_s, future.deadline_s),
            future.should_stop,
        )
        if scene is None:
            raise self._deadline_error(
                "no recent image has arrived; check the camera, or ask with a larger max_age"
            )
        # Enrichment that has begun may be waiting for the end of this question.
        with self._scheduler.urgent_enrichment():
            if isinstance(scene, Scene):
                scene = self._enricher.enrich(scene, max_age_s)
            scene.encoded.prefill()
        if future.should_stop():
            raise self._inference_deadline_error()
        answer = self._answerer.answer(
            scene.encoded,
            Question(
                request.text,
                Decoding(request.max_new_tokens or settings.max_new_tokens, settings.temperature),
                request.context,
            ),
            _YieldingListener(future, self._scheduler),
        )
        if future.should_stop():
            raise self._inference_deadline_error()
        ended_s = time.monotonic()
        return SceneAnswer(
            request=request,
            enriched_scene=scene,
            answer=answer,
            time_to_first_token_s=(future.first_text_s or ended_s) - future.submitted_s,
            latency_s=ended_s - future.submitted_s,
        )

    def _inference_deadline_error(self) -> QueryError:
        return self._deadline_error(
            "inference was still running; ask for fewer tokens, or use a faster model or device"
        )

    def _deadline_error(self, reason: str) -> QueryError:
        """Error of a missed deadline; has no effect on a cancelled question."""
        return QueryError(
            ErrorCode.DEADLINE_EXCEEDED,
            f"no answer within {self.settings.deadline_s:g} s (question.deadline_s): {reason}",
        )
