# SPDX-License-Identifier: Apache-2.0
import threading
import weakref
from threading import Event

import numpy as np
import pytest

from mrmllm_ros.model.context_shift import (
    MAX_SHIFT,
    REFERENCE_PLACES,
    ContextKnowledge,
    ContextShift,
)
from mrmllm_ros.model.label_scorer import LabelScorer

PATIENCE_S = 10.0
LABELS = ("cup", "traffic light")
NEVER = Event()

pytestmark = pytest.mark.usefixtures("cache")


def no_language_model():
    raise AssertionError("the language model is not needed")


def test_a_shift_is_the_score_in_the_context_minus_the_mean_over_places(tiny_language_model):
    knowledge = ContextKnowledge(tiny_language_model, "a ward", lambda: tiny_language_model)
    assert knowledge.missing(LABELS) == LABELS
    knowledge.learn(LABELS, NEVER)
    scorer = LabelScorer(tiny_language_model, LABELS, ContextKnowledge.examples)
    places = [f"Place: {place}. Object" for place in ("a ward", *REFERENCE_PLACES)]
    scores = np.concatenate(list(scorer.scores(places)), 1)
    expected = scores[:, 0] - scores[:, 1:].mean(1)
    np.testing.assert_allclose(knowledge.shifts(LABELS), expected, atol=1e-3)
    np.testing.assert_allclose(knowledge.shifts(LABELS[::-1]), expected[::-1], atol=1e-3)


def test_shifts_are_read_from_the_cache_without_a_language_model(tiny_language_model, cache):
    first = ContextKnowledge(tiny_language_model, "a ward", lambda: tiny_language_model)
    first.learn(LABELS, NEVER)
    second = ContextKnowledge(tiny_language_model, "a ward", no_language_model)
    assert second.missing(LABELS) == ()
    np.testing.assert_allclose(second.shifts(LABELS), first.shifts(LABELS), atol=0.02)
    other = ContextKnowledge(tiny_language_model, "a street", no_language_model)
    assert other.missing(LABELS) == LABELS
    assert len(list(cache.iterdir())) == 1


def test_a_context_cannot_hold_special_tokens(tiny_language_model):
    shifts = []
    for context in ("a<|im_end|>ward", "a ward"):
        knowledge = ContextKnowledge(tiny_language_model, context, lambda: tiny_language_model)
        knowledge.learn(LABELS, NEVER)
        shifts.append(knowledge.shifts(LABELS))
    np.testing.assert_allclose(*shifts, atol=1e-4)


def test_the_embedded_language_model_knows_where_things_are(language_model):
    labels = ("spoon", "refrigerator", "screwdriver", "bed", "traffic light")
    shifts = {}
    for context in ("the kitchen of a flat", "a warehouse", "a hotel room", "a crossroads"):
        knowledge = ContextKnowledge(language_model, context, lambda: language_model)
        knowledge.learn(labels, NEVER)
        shifts[context] = dict(zip(labels, knowledge.shifts(labels), strict=True))
        assert max(map(abs, shifts[context].values())) <= MAX_SHIFT
    kitchen = shifts["the kitchen of a flat"]
    assert kitchen["spoon"] > kitchen["screwdriver"]
    assert kitchen["refrigerator"] > kitchen["bed"]
    assert shifts["a hotel room"]["bed"] > shifts["a warehouse"]["bed"]
    assert shifts["a crossroads"]["traffic light"] > kitchen["traffic light"]


class FakeKnowledge:
    """Shifts all labels by the length of the context.

    Attributes:
        known: Contexts that need not be learned.
        started: Released when learning has started.
        go: Learning waits for it, or for the end.
        stopped: Contexts of stopped computations.
        error: Exception of learning, or None.
    """

    def __init__(self):
        self.known, self.stopped, self.error = set(), [], None
        self.started, self.go = threading.Semaphore(0), Event()

    def __call__(self, context):
        return FakeContextKnowledge(self, context)


class FakeContextKnowledge:
    def __init__(self, shared, context):
        self._shared, self._context = shared, context

    def missing(self, labels):
        return () if self._context in self._shared.known else labels

    def learn(self, labels, stop):
        self._shared.started.release()
        while not (self._shared.go.wait(0.005) or stop.is_set()):
            pass
        if stop.is_set():
            self._shared.stopped.append(self._context)
        if self._shared.error is not None:
            raise self._shared.error

    def shifts(self, labels):
        return np.full(len(labels), len(self._context), np.float32)


@pytest.fixture
def fake():
    return FakeKnowledge()


@pytest.fixture
def shift(fake):
    shift = ContextShift(fake)
    shift.set_labels(LABELS)
    return shift


def test_without_a_context_there_are_no_shifts(shift):
    assert shift.of(LABELS) is None
    shift.set_context("  ")
    shift.wait()
    assert shift.of(LABELS) is None


def test_shifts_that_are_on_disk_are_known_at_once(shift, fake):
    fake.known.add("ward")
    shift.set_context(" ward ")
    assert shift.of(LABELS).tolist() == [4, 4]
    assert shift.of(("cup",)) is None
    shift.set_context("")
    assert shift.of(LABELS) is None


def test_a_thread_computes_other_shifts_and_until_then_there_are_none(shift, fake):
    shift.set_context("ward")
    assert fake.started.acquire(timeout=PATIENCE_S)
    assert shift.of(LABELS) is None
    fake.go.set()
    shift.wait()
    assert shift.of(LABELS).tolist() == [4, 4]


def test_the_same_context_and_labels_are_not_computed_again(shift, fake):
    fake.go.set()
    shift.set_context("ward")
    shift.wait()
    shift.set_context("ward")
    shift.set_labels(list(LABELS))
    shift.wait()
    assert fake.started.acquire(timeout=PATIENCE_S)
    assert not fake.started.acquire(blocking=False)


def test_another_context_stops_the_computation_for_the_older_one(shift, fake):
    shift.set_context("ward")
    assert fake.started.acquire(timeout=PATIENCE_S)
    older = shift._learner
    fake.known.add("street")
    shift.set_context("street")
    older.join(PATIENCE_S)
    assert fake.stopped == ["ward"]
    assert shift.of(LABELS).tolist() == [6, 6]


def test_other_labels_have_shifts_of_their_own(shift, fake):
    fake.known.add("ward")
    shift.set_context("ward")
    shift.set_labels(("fountain",))
    assert shift.of(LABELS) is None
    assert shift.of(("fountain",)).tolist() == [4]


def test_there_are_no_shifts_if_the_computation_fails(shift, fake, caplog):
    fake.error = RuntimeError("CUDA out of memory")
    fake.go.set()
    shift.set_context("ward")
    shift.wait()
    assert shift.of(LABELS) is None
    assert "CUDA out of memory" in caplog.text


def test_shifts_that_nobody_uses_are_collected_and_stop_the_thread(fake):
    shift = ContextShift(fake)
    shift.set_labels(LABELS)
    shift.set_context("ward")
    assert fake.started.acquire(timeout=PATIENCE_S)
    learner, reference = shift._learner, weakref.ref(shift)
    del shift
    learner.join(PATIENCE_S)
    assert reference() is None
    assert fake.stopped == ["ward"]
