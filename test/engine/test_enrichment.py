# SPDX-License-Identifier: Apache-2.0
import itertools
import threading
from types import SimpleNamespace

import pytest
from fakes import PATIENCE_S, Gate, Inbox, brightness, explain_silence, make_enriched, make_scene

from mrmllm_ros.engine import enrichment
from mrmllm_ros.engine.enrichment import Enricher, EnrichmentWorker
from mrmllm_ros.engine.scene import SceneMemory
from mrmllm_ros.engine.scheduler import Scheduler

CAMERAS = ("front", "rear")


@pytest.fixture
def memory(clock):
    return SceneMemory(CAMERAS, clock, explain_silence)


@pytest.fixture
def enricher(answerer, memory, enriched):
    return Enricher(answerer, memory, enriched.put)


class Rest(threading.Event):
    """Event whose wait a test controls; the clock then advances by the timeout.

    Attributes:
        asked_s: Gets the length of each rest.
        gate: Each rest is a step.
    """

    def __init__(self, monotonic):
        super().__init__()
        self.asked_s = Inbox()
        self.gate = Gate()
        self._monotonic = monotonic

    def wait(self, timeout=None):
        self.asked_s.put(timeout)
        if not self.is_set():
            self.gate.step()
        self._monotonic.seconds += timeout
        return self.is_set()


@pytest.fixture
def monotonic(monkeypatch):
    """Monotonic clock of enricher and worker; only waits advance it."""
    now = SimpleNamespace(seconds=1000.0)
    fake = SimpleNamespace(monotonic=lambda: now.seconds)
    monkeypatch.setattr(enrichment, "time", fake)
    return now


@pytest.fixture
def rest(monkeypatch, monotonic):
    """The worker's wait between two passes."""
    rest = Rest(monotonic)
    monkeypatch.setattr(enrichment, "Event", lambda: rest)
    return rest


@pytest.fixture
def make_worker(rest, enricher, answerer, scheduler, errors):
    """Function that makes a started worker, stopped after the test."""
    workers = []

    def make(rate_hz=4.0, enricher=enricher, scheduler=scheduler):
        worker = EnrichmentWorker(enricher, CAMERAS, rate_hz, scheduler, errors.put)
        worker.start()
        workers.append(worker)
        return worker

    yield make
    answerer.encode_gate.open()
    rest.gate.open()
    for worker in workers:
        worker.stop()


@pytest.fixture
def worker(make_worker):
    return make_worker()


def value_of(enriched_scene):
    return brightness(enriched_scene.scene.frame.image)


def test_an_enriched_scene_is_reported_and_stored(enricher, memory, enriched, answerer):
    result = enricher.enrich(scene := make_scene(7))
    assert result.scene is scene
    assert result.encoded.enriched.fused is scene.perception.candidates
    assert enriched.next() is result is memory.enriched("front")
    assert answerer.encoded.next() == 7


def test_its_latency_is_from_decoding_to_the_end_of_the_pass(
    enricher, answerer, monotonic, monkeypatch
):
    scene = make_scene()
    monotonic.seconds = scene.perceived_s + 2

    def encode(images, perceptions, step):
        monotonic.seconds += 3
        return [make_enriched().encoded]

    monkeypatch.setattr(answerer, "encode", encode)
    assert enricher.enrich(scene).latency_s == pytest.approx(scene.latency_s + 5)


def test_a_scene_is_enriched_once(enricher, answerer, enriched):
    first = enricher.enrich(scene := make_scene(7))
    assert enricher.enrich(scene) is first is enriched.next()
    assert answerer.encoded.next() == 7
    assert answerer.encoded.empty()
    assert enriched.empty()


def test_a_scene_is_enriched_once_for_concurrent_callers(enricher, worker, answerer, enriched):
    scene = make_scene(7)
    answerer.encode_gate.close()
    worker.offer(scene)
    assert answerer.encoded.next() == 7
    results = Inbox()
    asking = [
        threading.Thread(target=lambda: results.put(enricher.enrich(scene))) for _ in range(2)
    ]
    for thread in asking:
        thread.start()
    answerer.encode_gate.open()
    assert results.next() is results.next() is enriched.next()
    for thread in asking:
        thread.join(PATIENCE_S)
    assert answerer.encoded.empty()
    assert enriched.empty()
    assert answerer.encode_threads == {"enrichment"}


def test_an_older_scene_is_returned_if_its_image_is_recent_enough(enricher, clock, answerer):
    known = enricher.enrich(make_scene(1, stamp_ns=clock()))
    clock.advance(2)
    newer = make_scene(2, stamp_ns=clock())
    assert enricher.enrich(newer, max_age_s=2.0) is known
    assert enricher.enrich(newer, max_age_s=1.9).scene is newer
    assert [answerer.encoded.next() for _ in range(2)] == [1, 2]


def test_an_older_scene_from_the_future_is_not_returned(enricher, clock):
    enricher.enrich(make_scene(1, stamp_ns=clock()))
    clock.advance(-500)
    newer = make_scene(2, stamp_ns=clock())
    assert enricher.enrich(newer, max_age_s=2.0).scene is newer


def test_without_maximum_age_no_older_scene_is_returned(enricher):
    enricher.enrich(make_scene(1))
    assert enricher.enrich(newer := make_scene(2)).scene is newer


def test_after_a_failed_pass_the_next_caller_tries_again(enricher, answerer):
    answerer.fails_to_encode = {7}
    scene = make_scene(7)
    with pytest.raises(RuntimeError, match="cannot encode 7"):
        enricher.enrich(scene)
    answerer.fails_to_encode = set()
    assert enricher.enrich(scene).scene is scene


def test_an_older_scene_does_not_replace_a_newer_one(enricher, memory, answerer, enriched):
    older, newer = make_scene(1), make_scene(2)
    known = enricher.enrich(newer)
    assert enricher.enrich(older) is known is memory.enriched("front")
    assert answerer.encoded.next() == 2
    assert answerer.encoded.empty()
    assert enriched.next() is known
    assert enriched.empty()


def test_a_newer_scene_replaces_an_older_one(enricher, memory):
    older, newer = make_scene(1), make_scene(2)
    enricher.enrich(older)
    assert enricher.enrich(newer) is memory.enriched("front")
    assert memory.enriched("front").scene is newer


def test_after_a_jump_back_of_the_cameras_clock_later_scenes_still_count_as_newer(
    enricher, memory, clock
):
    enricher.enrich(make_scene(1, stamp_ns=clock()))
    clock.advance(-500)
    after = make_scene(2, stamp_ns=clock())
    assert enricher.enrich(after).scene is after
    assert memory.enriched("front").scene is after


def test_a_newer_scene_of_another_camera_changes_nothing(enricher, memory):
    front, rear = make_scene(1), make_scene(2, camera="rear")
    assert enricher.enrich(rear).scene is rear
    assert enricher.enrich(front).scene is front
    assert [memory.enriched(camera).scene for camera in ("front", "rear")] == [front, rear]


def test_the_worker_enriches_offered_scenes_in_its_thread(worker, enriched, answerer):
    for value in (1, 2):
        worker.offer(make_scene(value))
        assert value_of(enriched.next()) == value
    assert answerer.encode_threads == {"enrichment"}


def test_while_a_pass_hangs_offering_returns_immediately_and_only_the_newest_waits(
    worker, enriched, answerer
):
    answerer.encode_gate.close()
    worker.offer(make_scene(1))
    assert answerer.encoded.next() == 1
    for value in (2, 3, 4):
        worker.offer(make_scene(value))
    answerer.encode_gate.open()
    assert [value_of(enriched.next()) for _ in range(2)] == [1, 4]
    assert enriched.empty()


def test_the_cameras_take_turns_however_many_scenes_one_has(worker, enriched, answerer):
    answerer.encode_gate.close()
    worker.offer(make_scene(1))
    assert answerer.encoded.next() == 1
    for value in (2, 3):
        worker.offer(make_scene(value))
        worker.offer(make_scene(value + 10, camera="rear"))
    answerer.encode_gate.allow(1)
    assert answerer.encoded.next() == 13
    worker.offer(make_scene(14, camera="rear"))
    answerer.encode_gate.open()
    assert [value_of(enriched.next()) for _ in range(4)] == [1, 13, 3, 14]


@pytest.mark.parametrize(
    ("took_s", "left_s"), [(0.0, [0.25]), (0.1, [0.15]), (0.25, []), (7.0, [])]
)
def test_the_worker_waits_for_the_rest_of_its_period(
    took_s, left_s, make_worker, rest, answerer, enriched, monotonic
):
    worker = make_worker(rate_hz=4.0)
    answerer.encode_gate.close()
    worker.offer(make_scene())
    answerer.encoded.next()
    monotonic.seconds += took_s
    answerer.encode_gate.open()
    enriched.next()
    assert [rest.asked_s.next() for _ in left_s] == pytest.approx(left_s)
    worker.rate_hz = 0.0
    worker.stop()
    assert rest.asked_s.empty()


def test_while_the_worker_waits_nothing_is_enriched(worker, rest, answerer, enriched):
    rest.gate.close()
    worker.offer(make_scene(1))
    assert value_of(enriched.next()) == 1
    rest.asked_s.next()
    for value in (2, 3):
        worker.offer(make_scene(value))
    assert worker.slots.dropped["front"] == 1
    assert answerer.encoded.next() == 1
    assert answerer.encoded.empty()
    rest.gate.allow()
    assert value_of(enriched.next()) == 3
    rest.asked_s.next()
    assert enriched.empty()


def test_a_failed_pass_counts_for_the_rate_too(worker, rest, answerer, errors, monotonic):
    answerer.fails_to_encode = {6}
    worker.offer(make_scene(6))
    errors.next()
    assert rest.asked_s.next() == pytest.approx(0.25)


def test_at_rate_0_scenes_are_left_to_questions(make_worker, enricher, answerer, enriched):
    worker = make_worker(rate_hz=0.0)
    worker.offer(make_scene(1))
    worker.stop()
    assert answerer.encoded.empty()
    assert enricher.enrich(scene := make_scene(2)).scene is scene


def test_a_changed_rate_counts_from_the_next_scene_on(make_worker, rest, enriched, monotonic):
    worker = make_worker(rate_hz=0.0)
    worker.offer(make_scene(1))
    worker.rate_hz = 10.0
    worker.offer(make_scene(2))
    assert value_of(enriched.next()) == 2
    assert rest.asked_s.next() == pytest.approx(0.1)
    worker.rate_hz = 2.0
    worker.offer(make_scene(3))
    assert value_of(enriched.next()) == 3
    assert rest.asked_s.next() == pytest.approx(0.5)


def test_after_a_rate_of_0_during_a_pass_the_worker_does_not_wait(
    worker, rest, answerer, enriched
):
    answerer.encode_gate.close()
    worker.offer(make_scene(1))
    answerer.encoded.next()
    worker.rate_hz = 0.0
    answerer.encode_gate.open()
    assert value_of(enriched.next()) == 1
    worker.stop()
    assert rest.asked_s.empty()


def test_a_rate_may_become_0_while_the_wait_is_computed(
    rest, enricher, scheduler, enriched, errors
):
    class Changing(EnrichmentWorker):
        rates = itertools.chain([4.0, 0.0], itertools.repeat(4.0))
        rate_hz = property(lambda self: next(self.rates), lambda self, rate_hz: None)

    worker = Changing(enricher, CAMERAS, 4.0, scheduler, errors.put)
    worker.start()
    for value in (1, 2):
        worker.slots.put("front", make_scene(value))
        assert value_of(enriched.next()) == value
    worker.stop()


def test_a_failed_pass_is_reported_and_the_next_scene_is_enriched(
    worker, answerer, errors, enriched
):
    answerer.fails_to_encode = {6}
    worker.offer(make_scene(6))
    assert "cannot encode 6" in str(errors.next())
    worker.offer(make_scene(7))
    assert value_of(enriched.next()) == 7
    assert enriched.empty()


def test_a_handler_that_raises_is_reported_and_the_work_continues(
    make_worker, answerer, memory, errors
):
    seen = Inbox()

    def on_enriched(enriched_scene):
        seen.put(value_of(enriched_scene))
        if seen.queue[-1] == 6:
            raise RuntimeError("no publisher")

    worker = make_worker(enricher=Enricher(answerer, memory, on_enriched))
    worker.offer(make_scene(6))
    assert "no publisher" in str(errors.next())
    worker.offer(make_scene(7))
    assert [seen.next(), seen.next()] == [6, 7]


class PrefillingAnswerer:
    """Answerer whose images record their prefill."""

    def __init__(self):
        self.prefilled = Inbox()
        self.fails = False

    def encode(self, images, perceptions, step):
        return [SimpleNamespace(prefill=lambda step: self._prefill(brightness(images[0]), step))]

    def _prefill(self, value, step):
        with step("prefill"):
            self.prefilled.put(value)
        if self.fails:
            raise RuntimeError("no memory")


@pytest.fixture
def prefilling():
    return PrefillingAnswerer()


@pytest.fixture
def prefill_worker(make_worker, prefilling, memory, enriched):
    worker = make_worker(enricher=Enricher(prefilling, memory, enriched.put))
    worker.prefill = True
    return worker


def test_an_enriched_scene_is_prefilled_if_the_setting_says_so(
    prefill_worker, prefilling, enriched
):
    prefill_worker.offer(make_scene(1))
    assert prefilling.prefilled.next() == 1
    prefill_worker.prefill = False
    for value in (2, 3):
        prefill_worker.offer(make_scene(value))
        enriched.next()
    prefill_worker.stop()
    assert prefilling.prefilled.empty()


def test_a_prefill_waits_until_no_question_is_pending(make_worker, prefilling, memory, enriched):
    scheduler = Scheduler(CAMERAS, enabled=True)
    worker = make_worker(enricher=Enricher(prefilling, memory, enriched.put), scheduler=scheduler)
    worker.prefill = True
    scheduler.begin_question()
    worker.offer(make_scene(1))
    enriched.next()
    assert prefilling.prefilled.empty()
    scheduler.end_question()
    assert prefilling.prefilled.next() == 1


def test_a_failed_prefill_is_reported_and_the_scene_stays(
    prefill_worker, prefilling, memory, errors
):
    prefilling.fails = True
    prefill_worker.offer(scene := make_scene(1))
    assert "no memory" in str(errors.next())
    assert memory.enriched("front").scene is scene


def test_a_pass_runs_in_the_steps_that_the_enricher_was_given(memory, enriched):
    def step(name):
        raise AssertionError("not called by this test")

    given = []

    def encode(images, perceptions, step):
        given.append(step)
        return [make_enriched().encoded]

    Enricher(SimpleNamespace(encode=encode), memory, enriched.put, step).enrich(make_scene())
    assert given == [step]


def test_stopping_waits_for_the_current_pass_and_starts_no_other(
    worker, rest, answerer, enriched, monkeypatch
):
    closed, close = threading.Event(), worker.slots.close
    monkeypatch.setattr(worker.slots, "close", lambda: (close(), closed.set()))
    answerer.encode_gate.close()
    worker.offer(make_scene(1))
    assert answerer.encoded.next() == 1
    worker.offer(make_scene(2))

    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    assert closed.wait(PATIENCE_S)
    assert stopping.is_alive()
    answerer.encode_gate.open()
    stopping.join(PATIENCE_S)

    assert not stopping.is_alive()
    assert value_of(enriched.next()) == 1
    assert enriched.empty()
    assert answerer.encoded.empty()


def test_stopping_ends_the_wait(enricher, scheduler, enriched, errors):
    worker = EnrichmentWorker(enricher, CAMERAS, 1e-6, scheduler, errors.put)
    worker.start()
    worker.offer(make_scene())
    enriched.next()
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    stopping.join(PATIENCE_S)
    assert not stopping.is_alive()


def test_after_stopping_no_scene_is_taken(worker, answerer):
    worker.stop()
    worker.offer(make_scene())
    assert worker.slots.take() == {}
    assert answerer.encoded.empty()


def test_a_low_rate_is_kept(make_worker, monotonic, enriched):
    worker = make_worker(rate_hz=0.01)
    started_s = monotonic.seconds
    for value in (1, 2):
        worker.offer(make_scene(value))
        assert value_of(enriched.next()) == value
    assert monotonic.seconds - started_s >= 99.9


def test_a_higher_rate_takes_effect_during_the_wait(make_worker, rest, monotonic, enriched):
    worker = make_worker(rate_hz=1e-10)
    started_s = monotonic.seconds
    rest.gate.close()
    worker.offer(make_scene(1))
    enriched.next()
    rest.asked_s.next()
    worker.rate_hz = 10.0
    worker.offer(make_scene(2))
    rest.gate.open()
    enriched.next()
    assert monotonic.seconds - started_s < 2
