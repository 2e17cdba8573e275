# SPDX-License-Identifier: Apache-2.0
import heapq
import itertools
import math
import threading

import pytest
from fakes import PATIENCE_S

from mrmllm_ros.engine.scheduler import EnrichmentSettings, Scheduler
from mrmllm_ros.settings import SettingsError


class Timeline:
    """Monotonic clock, and a condition whose waits advance it from event to event.

    Everything runs in the thread of the test.

    Attributes:
        now_s: Current time in seconds.
    """

    def __init__(self):
        self.now_s = 100.0
        self._events = []
        self._numbers = itertools.count()

    def __call__(self):
        return self.now_s

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def notify_all(self):
        pass

    def at(self, time_s, event):
        heapq.heappush(self._events, (time_s, next(self._numbers), event))

    def after(self, seconds, event):
        self.at(self.now_s + seconds, event)

    def wait(self, timeout=math.inf):
        """Advance to the next event, or by the timeout."""
        until_s = self.now_s + timeout
        if self._events and self._events[0][0] <= until_s:
            self.now_s, _, event = heapq.heappop(self._events)
            event()
        else:
            assert until_s < math.inf, "nothing ends this wait"
            self.now_s = until_s

    def wait_for(self, condition, timeout):
        until_s = self.now_s + timeout
        while not condition() and self.now_s < until_s:
            self.wait(until_s - self.now_s)

    def advance(self, seconds):
        self.wait_for(lambda: False, seconds)


class Simulation:
    """A camera, a detector and the steps of enrichment on a timeline.

    Attributes:
        detections: Start and end of each detection in seconds.
        steps: Start and end of each step in seconds.
    """

    def __init__(self, timeline, scheduler):
        self.detections, self.steps = [], []
        self._timeline, self._scheduler = timeline, scheduler
        self._running = None
        self._waits = False

    def play(self, period_s, detection_s, images):
        """Let a camera send images; the detector takes the newest one when it is free."""
        self._detection_s = detection_s
        for number in range(images):
            self._timeline.after(number * period_s, self._arrive)

    def run_steps(self, seconds, count=1):
        for _ in range(count):
            with self._scheduler.step("crops"):
                started_s = self._timeline.now_s
                self._timeline.advance(seconds)
                self.steps.append((started_s, self._timeline.now_s))

    def overlap_s(self):
        """Seconds in which steps ran beside detection."""
        pairs = itertools.product(self.steps, self.detections)
        return sum(max(0, min(a[1], b[1]) - max(a[0], b[0])) for a, b in pairs)

    def _arrive(self):
        if self._scheduler.admit("front"):
            self._waits = True
            self._start()

    def _start(self):
        if self._waits and self._running is None:
            self._waits = False
            self._running = self._scheduler.detection()
            self._running.__enter__()
            self.detections.append((self._timeline.now_s, math.inf))
            self._timeline.after(self._detection_s, self._end)

    def _end(self):
        self.detections[-1] = (self.detections[-1][0], self._timeline.now_s)
        self._running.__exit__(None, None, None)
        self._running = None
        self._start()


@pytest.fixture
def timeline():
    return Timeline()


@pytest.fixture
def scheduler(timeline):
    return Scheduler(["front", "rear"], enabled=True, monotonic=timeline, changed=timeline)


@pytest.fixture
def simulation(timeline, scheduler):
    return Simulation(timeline, scheduler)


def test_without_images_a_step_runs_at_once(simulation, timeline):
    before_s = timeline.now_s
    simulation.run_steps(0.1)
    assert simulation.steps == [(before_s, pytest.approx(before_s + 0.1))]


def test_a_step_waits_for_the_end_of_detection(simulation, timeline):
    simulation.play(1.0, 0.03, images=1)
    timeline.advance(0.01)
    simulation.run_steps(0.01)
    assert simulation.steps[0][0] == pytest.approx(simulation.detections[0][1])


def test_a_step_waits_for_an_image_that_has_arrived_but_is_not_detected_yet(
    scheduler, timeline, simulation
):
    scheduler.admit("front")
    detection = scheduler.detection()
    timeline.after(0.001, detection.__enter__)
    timeline.after(0.031, lambda: detection.__exit__(None, None, None))
    before_s = timeline.now_s
    simulation.run_steps(0.01)
    assert simulation.steps[0][0] == pytest.approx(before_s + 0.031)


def test_a_step_that_would_not_end_before_the_next_image_waits_for_its_detection(
    simulation, timeline
):
    simulation.run_steps(0.02)
    simulation.play(0.1, 0.03, images=12)
    timeline.advance(1.085)
    simulation.run_steps(0.02)
    assert simulation.steps[1][0] == pytest.approx(simulation.detections[11][1])


def test_a_step_that_would_end_just_before_the_next_image_waits_too(simulation, timeline):
    simulation.run_steps(0.02)
    simulation.play(0.1, 0.03, images=12)
    timeline.advance(1.078)
    simulation.run_steps(0.02)
    assert simulation.steps[1][0] == pytest.approx(simulation.detections[11][1])


def test_a_step_that_ends_before_the_next_image_runs_at_once(simulation, timeline):
    simulation.run_steps(0.02)
    simulation.play(0.1, 0.03, images=12)
    timeline.advance(1.07)
    now_s = timeline.now_s
    simulation.run_steps(0.02)
    assert simulation.steps[1][0] == now_s
    assert simulation.overlap_s() == 0


def test_a_camera_that_stops_delays_a_step_by_a_quarter_of_its_period(simulation, timeline):
    simulation.run_steps(0.02)
    started_s = timeline.now_s
    simulation.play(0.1, 0.03, images=10)
    timeline.advance(0.99)
    simulation.run_steps(0.02)
    assert simulation.steps[1][0] == pytest.approx(started_s + 1.025)
    before_s = timeline.now_s
    simulation.run_steps(0.02)
    assert simulation.steps[2][0] == before_s


def test_a_missed_image_does_not_change_the_expected_period(scheduler, timeline, simulation):
    simulation.run_steps(0.02)
    for wait_s in [0.1] * 5 + [0.3] + [0.1] * 3:
        timeline.advance(wait_s)
        scheduler.admit("front")
        with scheduler.detection():
            pass
    timeline.advance(0.09)
    before_s = timeline.now_s
    with scheduler.step("crops"):
        assert timeline.now_s > before_s + 0.01


def test_beside_a_camera_at_10_hz_a_pass_takes_less_than_a_second_and_overlaps_no_detection(
    simulation, timeline
):
    simulation.play(0.1, 0.03, images=100)
    # The durations of steps and the period are measured first.
    timeline.advance(0.45)
    simulation.run_steps(0.012)
    started_s = timeline.now_s
    simulation.run_steps(0.012, count=15)
    assert timeline.now_s - started_s < 1
    assert simulation.overlap_s() == 0


@pytest.mark.parametrize("min_share", [0.05, 0.5])
def test_beside_a_detector_that_is_never_idle_steps_have_their_minimum_share(
    min_share, scheduler, simulation, timeline
):
    scheduler.min_share = min_share
    simulation.play(0.03, 0.04, images=1000)
    timeline.advance(1.0)
    simulation.run_steps(0.02)
    started_s = timeline.now_s
    simulation.run_steps(0.02, count=10)
    assert 10 * 0.02 / (timeline.now_s - started_s) == pytest.approx(min_share, rel=0.01)


def test_a_step_waits_while_a_question_is_pending(scheduler, simulation, timeline):
    scheduler.begin_question()
    scheduler.begin_question()
    before_s = timeline.now_s
    timeline.after(2.0, scheduler.end_question)
    timeline.after(5.0, scheduler.end_question)
    simulation.run_steps(0.01)
    assert simulation.steps[0][0] == before_s + 5.0


def test_a_step_that_a_question_needs_waits_neither_for_questions_nor_for_detection(
    scheduler, simulation, timeline
):
    scheduler.begin_question()
    with scheduler.urgent_enrichment(), scheduler.detection():
        before_s = timeline.now_s
        simulation.run_steps(0.01)
    assert simulation.steps[0][0] == before_s


def test_a_waiting_step_runs_when_a_question_needs_it(scheduler, simulation, timeline):
    scheduler.begin_question()
    urgent = scheduler.urgent_enrichment()
    timeline.after(0.5, urgent.__enter__)
    before_s = timeline.now_s
    simulation.run_steps(0.01)
    assert simulation.steps[0][0] == before_s + 0.5


def test_closing_ends_waits(scheduler, simulation, timeline):
    scheduler.begin_question()
    timeline.after(0.5, scheduler.close)
    before_s = timeline.now_s
    simulation.run_steps(0.01, count=2)
    assert simulation.steps[0][0] == before_s + 0.5
    assert simulation.steps[1][0] == simulation.steps[0][1]


def test_a_disabled_scheduler_measures_and_never_waits(timeline):
    scheduler = Scheduler(["front"], enabled=False, monotonic=timeline, changed=timeline)
    scheduler.rate_under_questions_hz = 0.1
    scheduler.begin_question()
    assert all(scheduler.admit("front") for _ in range(9))
    before_s = timeline.now_s
    with scheduler.detection():
        scheduler.yield_to_detection()
        Simulation(timeline, scheduler).run_steps(0.25)
    assert timeline.now_s == before_s + 0.25
    assert scheduler.enrichment_s == pytest.approx(0.25)


def test_a_failed_step_is_measured_and_raises(scheduler, timeline):
    def fail():
        timeline.advance(0.5)
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"), scheduler.step("crops"):
        fail()
    assert scheduler.enrichment_s == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("camera_hz", "max_hz", "processed_hz"), [(10, 9, 9), (30, 9, 9), (5, 9, 5), (10, 0, 10)]
)
def test_while_a_question_is_pending_images_are_processed_at_a_limited_rate(
    camera_hz, max_hz, processed_hz, scheduler, timeline
):
    scheduler.rate_under_questions_hz = max_hz
    scheduler.begin_question()
    admitted = []
    for _ in range(10 * camera_hz):
        timeline.advance(1 / camera_hz)
        admitted.append(scheduler.admit("front"))
    assert sum(admitted) == pytest.approx(10 * processed_hz, abs=2)


def test_without_a_question_all_images_are_processed(scheduler, timeline):
    scheduler.rate_under_questions_hz = 1.0
    scheduler.begin_question()
    scheduler.end_question()
    assert all(scheduler.admit("front") for _ in range(100))


def test_after_a_pause_of_the_camera_two_images_are_processed_at_once(scheduler, timeline):
    scheduler.rate_under_questions_hz = 9.0
    scheduler.begin_question()
    assert scheduler.admit("front")
    timeline.advance(60)
    assert [scheduler.admit("front") for _ in range(3)] == [True, True, False]


def test_each_camera_has_its_own_rate(scheduler, timeline):
    scheduler.rate_under_questions_hz = 9.0
    scheduler.begin_question()
    assert [scheduler.admit("front") for _ in range(3)] == [True, True, False]
    assert [scheduler.admit("rear") for _ in range(3)] == [True, True, False]


def test_a_token_waits_for_the_detection_that_is_running_and_not_for_the_next_one(
    scheduler, simulation, timeline
):
    simulation.play(0.02, 0.03, images=100)
    timeline.advance(0.01)
    scheduler.yield_to_detection()
    assert timeline.now_s == pytest.approx(simulation.detections[0][1])
    assert len(simulation.detections) == 2


def test_without_detection_a_token_does_not_wait(scheduler, timeline):
    before_s = timeline.now_s
    scheduler.yield_to_detection()
    assert timeline.now_s == before_s


def test_a_token_waits_at_most_a_second(scheduler, timeline):
    before_s = timeline.now_s
    with scheduler.detection():
        scheduler.yield_to_detection()
    assert timeline.now_s == before_s + 1.0


def test_between_threads_a_step_starts_when_detection_ends():
    scheduler = Scheduler(["front"], enabled=True)
    scheduler.min_share = 1e-6
    entered, ended = threading.Event(), []

    def enrich():
        entered.set()
        with scheduler.step("crops"):
            ended.append(detection_has_ended.is_set())

    detection_has_ended = threading.Event()
    thread = threading.Thread(target=enrich)
    with scheduler.detection():
        thread.start()
        assert entered.wait(PATIENCE_S)
        detection_has_ended.set()
    thread.join(PATIENCE_S)
    assert ended == [True]


@pytest.mark.parametrize("share", [0.0, 1.1])
def test_a_share_outside_its_range_is_rejected(share):
    with pytest.raises(SettingsError, match="min_share"):
        EnrichmentSettings(min_share=share)
