# SPDX-License-Identifier: Apache-2.0
import gc
import threading
import time
import weakref
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fakes import PATIENCE_S, Inbox, collect_answers, explain_silence, make_enriched, make_scene

from mrmllm_ros.answering.answerer import PromptTooLongError
from mrmllm_ros.engine import answer_future, question_worker
from mrmllm_ros.engine.enrichment import Enricher
from mrmllm_ros.engine.query_errors import ErrorCode, QueryError
from mrmllm_ros.engine.question_request import About, AnswerType, QuestionRequest
from mrmllm_ros.engine.question_worker import (
    MAX_NEW_TOKENS,
    AnswerFuture,
    QuestionSettings,
    QuestionWorker,
)
from mrmllm_ros.engine.scene import SceneMemory
from mrmllm_ros.engine.scheduler import Scheduler
from mrmllm_ros.settings import SettingsError

SETTINGS = QuestionSettings(max_new_tokens=3, max_age_s=2.0, image_timeout_s=0.0, parallel=1)


@pytest.fixture
def scene():
    return make_scene()


@pytest.fixture
def memory(clock, scene):
    """Memory with the scene."""
    memory = SceneMemory(["front"], clock, explain_silence)
    memory.put(scene)
    return memory


@pytest.fixture
def make_worker(answerer, memory, scheduler, enriched, answers, errors):
    """Function that makes a started worker, by default with one thread, stopped after the test."""
    workers = []

    def make(settings=SETTINGS, memory=memory, answers=answers, on_enriched=enriched.put):
        enricher = Enricher(answerer, memory, on_enriched)
        worker = QuestionWorker(answerer, enricher, memory, settings, scheduler, errors.put)
        worker.start()
        if answers is not None:
            worker.submit = collect_answers(worker.submit, answers)
        workers.append(worker)
        return worker

    yield make
    answerer.encode_gate.open()
    answerer.gate.open()
    for worker in workers:
        worker.stop()


@pytest.fixture
def worker(make_worker):
    return make_worker()


def code_of(pending):
    """Error code of a failed question."""
    error = pending.exception(PATIENCE_S)
    assert isinstance(error, QueryError), error
    return error.code


def answer_of(pending):
    return pending.result(PATIENCE_S)


def start_one(worker, answerer, text="running"):
    """Start a question; each token of its answer is a step."""
    answerer.gate.close()
    pending = worker.submit(QuestionRequest(text))
    assert answerer.started.next() == text
    return pending


def test_a_question_is_answered_about_the_newest_scene(worker, answerer, scene, errors):
    answer = answer_of(worker.submit(QuestionRequest("how many?")))
    assert answer.answer.text == "0 1 2"
    assert answer.request == QuestionRequest("how many?")
    assert answer.enriched_scene.scene is scene
    assert answerer.answered_images == [answer.enriched_scene.encoded]
    assert answer.enriched_scene.encoded.enriched.fused is scene.perception.candidates
    assert errors.empty()


def test_the_text_is_streamed_piece_by_piece(worker, answerer):
    pieces = Inbox()
    answerer.gate.close()
    pending = worker.submit(QuestionRequest("how many?"), pieces.put)
    for number in range(3):
        answerer.gate.allow()
        assert pieces.next() == f"{number} "
        assert pieces.empty()
    answer_of(pending)


def test_each_token_yields_to_detection_and_a_needed_pass_is_urgent(
    answerer, memory, enriched, errors
):
    calls = []

    class Recorded(Scheduler):
        def yield_to_detection(self):
            calls.append("token")

        @contextmanager
        def urgent_enrichment(self):
            calls.append("urgent")
            yield
            calls.append("enriched")

    scheduler = Recorded(["front"], enabled=True)
    enricher = Enricher(answerer, memory, enriched.put)
    worker = QuestionWorker(answerer, enricher, memory, SETTINGS, scheduler, errors.put)
    worker.start()
    answer_of(worker.submit(QuestionRequest("how many?")))
    worker.stop()
    assert calls == ["urgent", "enriched", "token", "token", "token"]


def test_the_first_text_comes_before_the_whole_answer(worker):
    answer = answer_of(worker.submit(QuestionRequest("how many?")))
    assert 0 <= answer.time_to_first_token_s <= answer.latency_s


def test_zero_tokens_and_zero_age_mean_the_defaults(worker, clock):
    assert answer_of(worker.submit(QuestionRequest("?", max_new_tokens=0))).answer.tokens == 3
    clock.advance(1.9)
    assert answer_of(worker.submit(QuestionRequest("?", max_age_s=0.0))).answer.tokens == 3
    clock.advance(0.2)
    assert code_of(worker.submit(QuestionRequest("?", max_age_s=0.0))) is ErrorCode.STALE_IMAGE


def test_a_question_may_ask_for_more_tokens_and_a_greater_age(worker, clock):
    clock.advance(5)
    answer = answer_of(worker.submit(QuestionRequest("?", max_age_s=10.0, max_new_tokens=5)))
    assert answer.answer.tokens == 5


def test_a_question_may_ask_for_a_smaller_age(worker, clock):
    clock.advance(1)
    assert code_of(worker.submit(QuestionRequest("?", max_age_s=0.5))) is ErrorCode.STALE_IMAGE


def test_questions_are_answered_in_the_order_they_came(worker, answerer, answers):
    start_one(worker, answerer, "0")
    for number in range(1, 6):
        worker.submit(QuestionRequest(str(number)))
    answerer.gate.open()
    assert [answers.next().request.text for _ in range(6)] == list("012345")


def test_without_any_image_the_error_is_no_image(make_worker, clock):
    worker = make_worker(memory=SceneMemory(["front"], clock, explain_silence))
    assert code_of(worker.submit(QuestionRequest("?"))) is ErrorCode.NO_IMAGE


def test_a_question_waits_for_a_new_enough_image(make_worker, memory, clock, answerer):
    clock.advance(60)
    worker = make_worker(QuestionSettings(image_timeout_s=PATIENCE_S, parallel=1))
    pending = worker.submit(QuestionRequest("?"))
    memory.put(new := make_scene(stamp_ns=clock()))
    assert answer_of(pending).enriched_scene.scene is new


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (QuestionRequest("x" * 501), "has 501 characters; the maximum is 500"),
        (QuestionRequest("what\0is there?"), r"control character U\+0000; remove it"),
        (QuestionRequest("\x1b[31mred"), r"control character U\+001B; remove it"),
        (QuestionRequest("what\x7f"), r"control character U\+007F; remove it"),
        (QuestionRequest("what\x85"), r"control character U\+0085; remove it"),
        (QuestionRequest("?", max_age_s=float("nan")), "max_age is nan"),
        (QuestionRequest("?", max_age_s=float("inf")), "max_age is inf"),
        (QuestionRequest("?", max_age_s=-0.1), "max_age is -0.1"),
        (
            QuestionRequest("?", max_new_tokens=MAX_NEW_TOKENS + 1),
            "max_new_tokens is 4097; the maximum is 4096",
        ),
        (QuestionRequest("?", max_new_tokens=2**32 - 1), "max_new_tokens is 4294967295"),
        (
            QuestionRequest("?", answer_type=99),
            r"answer_type is 99; it must be one of TEXT \(0\), YES_NO \(1\), COUNT \(2\), "
            r"CHOICE \(3\), JSON \(4\)",
        ),
        (QuestionRequest("?", about=2), r"about is 2; it must be one of NOW \(0\), MEMORY \(1\)"),
        (
            QuestionRequest("?", choices=("a", "b")),
            r"choices is set and answer_type is TEXT \(0\); .*, or set answer_type to CHOICE \(3",
        ),
        (QuestionRequest("?", answer_type=4, choices=("a",)), r"answer_type is JSON \(4\)"),
        (
            QuestionRequest("?", json_schema="{}"),
            r"json_schema is set and answer_type is TEXT \(0\)",
        ),
        (QuestionRequest("?", context="a ward\n[1] dog"), r"the context contains .* U\+000A"),
        (QuestionRequest("?", context="x" * 201), "the context has 201 characters"),
    ],
)
def test_an_invalid_question_is_rejected_immediately_with_the_reason(
    asked, message, worker, answerer
):
    with pytest.raises(QueryError, match=message) as error:
        worker.submit(asked)
    assert error.value.code is ErrorCode.INVALID_REQUEST
    assert answerer.started.empty()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (QuestionRequest("?", answer_type=AnswerType.YES_NO), r"answer_type YES_NO \(1\)"),
        (QuestionRequest("?", answer_type=AnswerType.COUNT), r"answer_type COUNT \(2\)"),
        (QuestionRequest("?", answer_type=AnswerType.CHOICE), r"answer_type CHOICE \(3\)"),
        (QuestionRequest("?", answer_type=AnswerType.CHOICE, choices=("a",)), r"CHOICE \(3\)"),
        (QuestionRequest("?", answer_type=AnswerType.JSON), r"answer_type JSON \(4\)"),
        (QuestionRequest("?", answer_type=4, json_schema="{}"), r"only TEXT \(0\) is"),
        (QuestionRequest("?", about=About.MEMORY), r"about MEMORY \(1\) .* only NOW \(0\) is"),
    ],
)
def test_unsupported_requests_are_rejected_immediately(asked, message, worker, answerer):
    with pytest.raises(QueryError, match=message) as error:
        worker.submit(asked)
    assert error.value.code is ErrorCode.UNSUPPORTED
    assert answerer.started.empty()


def test_the_context_of_a_request_is_that_of_its_question_alone(worker, answerer):
    answer_of(worker.submit(QuestionRequest("?", context="a hospital corridor")))
    answer_of(worker.submit(QuestionRequest("?")))
    assert answerer.contexts == ["a hospital corridor", ""]


@pytest.mark.parametrize("text", ["", "x" * 500, "one\ntwo\tthree", "有几个人? 👀 ¿cuántos?"])
def test_any_other_text_is_a_question(text, worker):
    assert answer_of(worker.submit(QuestionRequest(text))).request.text == text


def test_an_unknown_camera_is_rejected_immediately(worker):
    with pytest.raises(QueryError, match="cameras: front") as error:
        worker.submit(QuestionRequest("?", camera="rear"))
    assert error.value.code is ErrorCode.UNKNOWN_CAMERA


def test_of_several_cameras_one_must_be_named(make_worker, clock):
    memory = SceneMemory(["front", "rear"], clock, explain_silence)
    memory.put(make_scene(camera="rear"))
    worker = make_worker(memory=memory)
    with pytest.raises(QueryError, match="cameras: front, rear") as error:
        worker.submit(QuestionRequest("?"))
    assert error.value.code is ErrorCode.CAMERA_REQUIRED
    assert (
        answer_of(worker.submit(QuestionRequest("?", "rear"))).enriched_scene.scene.frame.camera
        == "rear"
    )


@pytest.fixture
def full(make_worker, answerer):
    """Worker with one running and two waiting questions, the maximum."""
    worker = make_worker(QuestionSettings(max_waiting=2, parallel=1))
    running = start_one(worker, answerer)
    waiting = [worker.submit(QuestionRequest(text)) for text in ("second", "third")]
    return SimpleNamespace(worker=worker, running=running, waiting=waiting)


def test_when_the_queue_is_full_the_next_question_is_rejected(full):
    with pytest.raises(QueryError, match="2 questions are waiting already") as error:
        full.worker.submit(QuestionRequest("fourth"))
    assert error.value.code is ErrorCode.BUSY


def test_cancelling_a_waiting_question_frees_its_place_immediately(full, answerer, answers):
    full.worker.cancel(full.waiting[0])
    assert full.waiting[0].done()
    assert code_of(full.waiting[0]) is ErrorCode.CANCELLED
    full.worker.submit(QuestionRequest("fourth"))
    answerer.gate.open()
    assert [answers.next().request.text for _ in range(3)] == ["running", "third", "fourth"]


def test_a_changed_limit_counts_from_the_next_question_on(full):
    full.worker.settings = QuestionSettings(max_waiting=3)
    full.worker.submit(QuestionRequest("fourth"))
    with pytest.raises(QueryError, match="3 questions are waiting"):
        full.worker.submit(QuestionRequest("fifth"))


def test_a_started_question_frees_its_place_in_the_queue(full, answerer):
    answerer.gate.open()
    assert answerer.started.next() == "second"
    full.worker.submit(QuestionRequest("fourth"))


def test_cancelling_a_running_question_stops_generation_at_the_next_token(
    worker, answerer, answers
):
    pieces = Inbox()
    answerer.gate.close()
    pending = worker.submit(QuestionRequest("running"), pieces.put)
    after = worker.submit(QuestionRequest("after", max_new_tokens=1))
    answerer.gate.allow()
    assert pieces.next() == "0 "
    worker.cancel(pending)
    assert pending.done()
    assert code_of(pending) is ErrorCode.CANCELLED
    answerer.gate.allow(2)
    assert answers.next().request is after.request
    assert answerer.tokens == 3
    assert pieces.empty()
    assert answers.empty()


def test_a_question_cancelled_before_its_first_token_streams_no_text(worker, answerer, answers):
    pieces = Inbox()
    answerer.gate.close()
    pending = worker.submit(QuestionRequest("running"), pieces.put)
    assert answerer.started.next() == "running"
    worker.cancel(pending)
    assert pending.done()
    after = worker.submit(QuestionRequest("after", max_new_tokens=1))
    answerer.gate.allow(2)
    assert answer_of(after) is answers.next()
    assert answerer.tokens == 2
    assert pieces.empty()


def test_cancelling_a_question_during_its_fusion_pass_ends_it_immediately(
    worker, answerer, answers, errors
):
    answerer.encode_gate.close()
    pending = worker.submit(QuestionRequest("cancelled"))
    assert answerer.encoded.next() == 100
    worker.cancel(pending)
    assert pending.done()
    assert code_of(pending) is ErrorCode.CANCELLED
    after = worker.submit(QuestionRequest("after"))
    answerer.encode_gate.open()
    assert answer_of(after) is answers.next()
    assert answerer.started.next() == "after"
    assert answerer.started.empty()
    # The scene of the cancelled question is not enriched again for the next one.
    assert answerer.encoded.empty()
    assert answers.empty()
    assert errors.empty()


def test_a_model_that_fails_after_its_question_was_cancelled_is_still_reported(
    worker, answerer, errors
):
    answerer.fails_on = {"running"}
    pending = start_one(worker, answerer)
    worker.cancel(pending)
    answerer.gate.open()
    assert "cannot answer 'running'" in str(errors.next())
    assert code_of(pending) is ErrorCode.CANCELLED


def test_after_a_cancelled_question_the_next_is_answered(worker, answerer):
    pending = start_one(worker, answerer)
    worker.cancel(pending)
    after = worker.submit(QuestionRequest("next"))
    answerer.gate.open()
    assert code_of(pending) is ErrorCode.CANCELLED
    assert answer_of(after).request.text == "next"


def test_cancelling_a_question_that_waits_for_an_image_ends_it_immediately(make_worker, clock):
    looked = threading.Event()

    class Memory(SceneMemory):
        def resolve_camera(self, name):
            if threading.current_thread().name == "questions-0":
                looked.set()
            return super().resolve_camera(name)

    worker = make_worker(
        QuestionSettings(image_timeout_s=3600.0), memory=Memory(["front"], clock, explain_silence)
    )
    pending = worker.submit(QuestionRequest("?"))
    assert looked.wait(PATIENCE_S)
    worker.cancel(pending)
    assert code_of(pending) is ErrorCode.CANCELLED


def test_cancelling_twice_or_too_late_changes_nothing(worker, answerer):
    running = start_one(worker, answerer)
    waiting = worker.submit(QuestionRequest("waiting"))
    for _ in range(2):
        worker.cancel(waiting)
    assert code_of(waiting) is ErrorCode.CANCELLED
    answerer.gate.open()
    answer = answer_of(running)
    worker.cancel(running)
    assert answer_of(running) is answer


@pytest.fixture
def monotonic(monkeypatch):
    """Monotonic clock of the worker, which tests advance."""
    offset = SimpleNamespace(seconds=0.0)
    fake = SimpleNamespace(monotonic=lambda: time.monotonic() + offset.seconds)
    for module in (question_worker, answer_future):
        monkeypatch.setattr(module, "time", fake)
    return offset


def test_a_running_answer_ends_at_the_first_token_after_the_deadline(
    worker, answerer, monotonic, answers
):
    pieces = Inbox()
    answerer.gate.close()
    pending = worker.submit(QuestionRequest("running"), pieces.put)
    answerer.gate.allow()
    pieces.next()
    monotonic.seconds += 61
    answerer.gate.allow()
    assert code_of(pending) is ErrorCode.DEADLINE_EXCEEDED
    error = str(pending.exception())
    assert "no answer within 60 s (question.deadline_s): inference was still running" in error
    assert answerer.tokens == 2
    assert answers.empty()


def test_a_question_still_waiting_at_its_deadline_is_not_started(worker, answerer, monotonic):
    start_one(worker, answerer)
    waiting = worker.submit(QuestionRequest("waiting"))
    monotonic.seconds += 61
    after = worker.submit(QuestionRequest("after"))
    answerer.gate.open()
    assert code_of(waiting) is ErrorCode.DEADLINE_EXCEEDED
    assert "was still waiting" in str(waiting.exception())
    assert "faster model" not in str(waiting.exception())
    answer_of(after)
    assert answerer.started.next() == "after"


def test_waiting_for_an_image_ends_at_the_deadline(make_worker, clock):
    settings = QuestionSettings(image_timeout_s=3600.0, deadline_s=0.1)
    worker = make_worker(settings, memory=SceneMemory(["front"], clock, explain_silence))
    pending = worker.submit(QuestionRequest("?"))
    assert code_of(pending) is ErrorCode.DEADLINE_EXCEEDED
    assert "no recent image has arrived" in str(pending.exception())
    assert "faster model" not in str(pending.exception())


def test_an_answerer_that_raises_is_reported_and_the_next_question_works(worker, answerer, errors):
    answerer.fails_on = {"bad"}
    bad, good = worker.submit(QuestionRequest("bad")), worker.submit(QuestionRequest("good"))
    assert code_of(bad) is ErrorCode.INTERNAL
    assert "cannot answer 'bad'" in str(bad.exception())
    assert "cannot answer 'bad'" in str(errors.next())
    assert answer_of(good).request.text == "good"
    assert errors.empty()


def test_a_listener_that_raises_ends_its_own_question_only(worker, errors):
    def on_text(text):
        raise RuntimeError("the listener has gone")

    assert code_of(worker.submit(QuestionRequest("first"), on_text)) is ErrorCode.INTERNAL
    assert "the listener has gone" in str(errors.next())
    answer_of(worker.submit(QuestionRequest("second")))


def test_user_errors_are_not_reported_as_failures(worker, clock, errors):
    clock.advance(60)
    assert code_of(worker.submit(QuestionRequest("?"))) is ErrorCode.STALE_IMAGE
    assert errors.empty()


def test_stopping_cancels_every_question_immediately_and_waits_for_the_thread(
    full, answerer, answers
):
    stopping = threading.Thread(target=full.worker.stop)
    stopping.start()
    for pending in (*full.waiting, full.running):
        assert code_of(pending) is ErrorCode.CANCELLED
    assert stopping.is_alive()
    answerer.gate.allow()
    stopping.join(PATIENCE_S)
    assert not stopping.is_alive()
    assert answerer.tokens == 1
    assert answers.empty()


def test_after_stopping_no_question_is_taken(worker):
    worker.stop()
    with pytest.raises(QueryError) as error:
        worker.submit(QuestionRequest("?"))
    assert error.value.code is ErrorCode.NOT_ACTIVE


def test_stopping_ends_a_question_that_waits_for_an_image(make_worker, clock):
    settings = QuestionSettings(image_timeout_s=3600.0)
    worker = make_worker(settings, memory=SceneMemory(["front"], clock, explain_silence))
    pending = worker.submit(QuestionRequest("?"))
    worker.stop()
    assert code_of(pending) is ErrorCode.CANCELLED


def test_stopping_ends_a_question_during_its_fusion_pass(worker, answerer, answers):
    answerer.encode_gate.close()
    pending = worker.submit(QuestionRequest("?"))
    answerer.encoded.next()
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    assert code_of(pending) is ErrorCode.CANCELLED
    assert stopping.is_alive()
    answerer.encode_gate.open()
    stopping.join(PATIENCE_S)
    assert not stopping.is_alive()
    assert answerer.started.empty()
    assert answers.empty()


def test_a_question_about_an_enriched_scene_needs_no_fusion_pass(
    worker, memory, answerer, enriched
):
    memory.put_enriched(known := make_enriched(1))
    memory.put(make_scene(2))
    assert answer_of(worker.submit(QuestionRequest("?"))).enriched_scene is known
    assert answerer.answered_images == [known.encoded]
    assert answerer.encoded.empty()
    assert enriched.empty()


def test_if_the_enriched_scene_is_too_old_the_newest_is_enriched(
    worker, memory, answerer, clock, enriched
):
    memory.put_enriched(make_enriched(1))
    clock.advance(1)
    memory.put(newest := make_scene(2, stamp_ns=clock()))
    answer = answer_of(worker.submit(QuestionRequest("?", max_age_s=0.5)))
    assert answer.enriched_scene.scene is newest
    assert answerer.encoded.next() == 2
    assert enriched.next() is answer.enriched_scene is memory.enriched("front")


def test_a_scene_is_enriched_once_for_all_questions_about_it(worker, answerer):
    answers = [answer_of(worker.submit(QuestionRequest(text))) for text in ("how many?", "which?")]
    assert answers[0].enriched_scene is answers[1].enriched_scene
    assert answerer.encoded.next() == 100
    assert answerer.encoded.empty()


def test_a_failed_fusion_pass_fails_only_its_question(worker, memory, answerer, clock, errors):
    answerer.fails_to_encode = {100}
    bad = worker.submit(QuestionRequest("bad"))
    assert code_of(bad) is ErrorCode.INTERNAL
    assert "cannot encode 100" in str(bad.exception())
    assert "cannot encode 100" in str(errors.next())
    memory.put(readable := make_scene(7))
    assert answer_of(worker.submit(QuestionRequest("good"))).enriched_scene.scene is readable
    assert answerer.started.next() == "good"


def test_two_threads_answer_two_questions_in_parallel(make_worker, answerer):
    worker = make_worker(replace(SETTINGS, parallel=2))
    answerer.gate.close()
    pending = [worker.submit(QuestionRequest(text)) for text in ("first", "second", "third")]
    assert {answerer.started.next(), answerer.started.next()} == {"first", "second"}
    assert not any(question.done() for question in pending)
    assert answerer.answer_threads == {"questions-0", "questions-1"}
    answerer.gate.open()
    assert [answer_of(question).request.text for question in pending] == [
        "first",
        "second",
        "third",
    ]
    assert answerer.answer_threads == {"questions-0", "questions-1"}


def test_with_one_thread_questions_are_answered_one_after_the_other(worker, answerer):
    events = Inbox()
    answerer.gate.close()
    pending = [
        worker.submit(QuestionRequest(text), lambda piece, text=text: events.put((text, piece)))
        for text in ("first", "second")
    ]
    for event in [("first", "0 "), ("first", "1 "), ("first", "2 "), ("second", "0 ")]:
        answerer.gate.allow()
        assert events.next() == event
    assert pending[0].done()
    assert not pending[1].done()
    answerer.gate.open()
    answer_of(pending[1])
    assert answerer.answer_threads == {"questions-0"}


def test_parallel_questions_have_separate_texts_and_ends(make_worker, answerer):
    worker = make_worker(replace(SETTINGS, parallel=2))
    answerer.gate.close()
    texts = {"first": Inbox(), "second": Inbox()}
    first, second = (worker.submit(QuestionRequest(text), texts[text].put) for text in texts)
    assert {answerer.started.next(), answerer.started.next()} == {"first", "second"}
    worker.cancel(first)
    assert first.done()
    assert not second.done()
    answerer.gate.open()
    assert answer_of(second).answer.text == "0 1 2"
    assert [texts["second"].next() for _ in range(3)] == ["0 ", "1 ", "2 "]
    assert code_of(first) is ErrorCode.CANCELLED
    assert texts["first"].empty()


def test_two_questions_about_the_same_scene_enrich_it_once(make_worker, answerer, scene, enriched):
    worker = make_worker(replace(SETTINGS, parallel=2))
    answerer.encode_gate.close()
    pending = [worker.submit(QuestionRequest(text)) for text in ("first", "second")]
    assert answerer.encoded.next() == 100
    answerer.encode_gate.open()
    first, second = map(answer_of, pending)
    assert first.enriched_scene is second.enriched_scene is enriched.next()
    assert first.enriched_scene.scene is scene
    assert answerer.encoded.empty()
    assert enriched.empty()


def test_a_question_that_has_waited_for_a_pass_takes_its_scene_if_that_is_new_enough(
    make_worker, memory, answerer, clock
):
    worker = make_worker(replace(SETTINGS, parallel=2))
    answerer.encode_gate.close()
    first = worker.submit(QuestionRequest("first"))
    assert answerer.encoded.next() == 100
    clock.advance(1)
    memory.put(newer := make_scene(7, stamp_ns=clock()))
    second = worker.submit(QuestionRequest("second"))
    answerer.encode_gate.open()
    assert answer_of(second).enriched_scene is answer_of(first).enriched_scene
    assert (
        answer_of(worker.submit(QuestionRequest("third", max_age_s=0.5))).enriched_scene.scene
        is newer
    )


def test_stopping_cancels_all_running_questions(make_worker, answerer, answers):
    worker = make_worker(replace(SETTINGS, parallel=2))
    answerer.gate.close()
    pending = [worker.submit(QuestionRequest(text)) for text in ("first", "second", "third")]
    assert {answerer.started.next(), answerer.started.next()} == {"first", "second"}
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    assert [code_of(question) for question in pending] == [ErrorCode.CANCELLED] * 3
    answerer.gate.allow(2)
    stopping.join(PATIENCE_S)
    assert not stopping.is_alive()
    assert answerer.tokens == 2
    assert answers.empty()


@pytest.fixture
def pending():
    """Future of a question outside of a worker, and its streamed text."""
    pieces = []
    pending = AnswerFuture(QuestionRequest("?"), pieces.append)
    pending.pieces = pieces
    return pending


CANCELLED, BUSY = QueryError(ErrorCode.CANCELLED, "gone"), QueryError(ErrorCode.BUSY, "later")


def test_a_question_is_completed_once(pending):
    assert not pending.done()
    assert pending.complete(CANCELLED)
    assert pending.done()
    assert not pending.complete(BUSY)
    assert pending.exception(0) is CANCELLED


def test_an_answer_is_a_result_and_later_errors_do_not_change_it(pending):
    assert pending.complete(answer := object())
    assert not pending.complete(CANCELLED)
    assert pending.result(0) is answer


def test_text_is_streamed_until_the_question_is_completed(pending):
    pending.on_text("before ")
    first_text_s = pending.first_text_s
    pending.complete(CANCELLED)
    pending.on_text("after ")
    assert pending.pieces == ["before "]
    assert pending.first_text_s == first_text_s is not None


def test_a_question_cannot_be_cancelled_through_its_future(pending):
    assert not pending.cancel()
    assert not pending.done()


def test_a_callback_of_a_completed_question_may_cancel_it(worker):
    ended = Inbox()

    def on_end(future):
        worker.cancel(pending)
        ended.put(future.exception())

    pending = AnswerFuture(QuestionRequest("?"), None)
    pending.add_done_callback(on_end)
    settling = threading.Thread(target=pending.complete, args=(CANCELLED,), daemon=True)
    settling.start()
    assert ended.next() is CANCELLED


@pytest.mark.parametrize(
    "values",
    [
        {"max_new_tokens": 0},
        {"max_new_tokens": MAX_NEW_TOKENS + 1},
        {"max_age_s": 0.0},
        {"image_timeout_s": -1.0},
        {"deadline_s": 0.0},
        {"parallel": 0},
        {"parallel": 65},
        {"max_waiting": 0},
        {"max_length": 0},
    ],
)
def test_limits_that_make_no_sense_are_rejected(values):
    with pytest.raises(SettingsError):
        QuestionSettings(**values)


def test_a_prompt_that_is_too_long_is_a_user_error(worker, answerer, errors, monkeypatch):
    def refuse(*_):
        raise PromptTooLongError("too long by 7 tokens")

    monkeypatch.setattr(answerer, "answer", refuse)
    pending = worker.submit(QuestionRequest("?"))
    assert code_of(pending) is ErrorCode.INVALID_REQUEST
    assert "too long by 7" in str(pending.exception())
    assert errors.empty()


@pytest.mark.parametrize("deadline_s", [60.0, 0.1])
def test_an_idle_worker_keeps_no_reference_to_its_last_frame(
    deadline_s, make_worker, answerer, memory
):
    worker = make_worker(
        replace(SETTINGS, deadline_s=deadline_s),
        answers=None,
        on_enriched=lambda enriched: None,
    )
    answerer.gate.close()
    pending = worker.submit(QuestionRequest("?"))
    answerer.started.get(timeout=PATIENCE_S)
    encoded = weakref.ref(answerer.answered_images.pop())
    gc.disable()
    try:
        if deadline_s < 1:
            time.sleep(deadline_s)
        answerer.gate.open()
        pending.exception(PATIENCE_S)
        del pending
        memory._enriched.clear()
        until = time.monotonic() + PATIENCE_S
        while encoded() is not None and time.monotonic() < until:
            time.sleep(0.01)
        assert encoded() is None
    finally:
        gc.enable()
