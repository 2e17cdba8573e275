# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.benchmarks.block_comparison import (
    Comparison,
    Measurement,
    Received,
    Schedule,
    comparison_tables,
)
from mrmllm_ros.benchmarks.process_usage import ProcessUsage

SCHEDULE = Schedule(rate_hz=10.0, frames=4, block=2, warm_up=1, settle_s=0.25)
IMAGES = [np.full((2, 3, 3), value, np.uint8) for value in range(5)]


class Machine:
    """Clock that advances while a subject receives, and processor time by process."""

    def __init__(self):
        self.now_s = 100.0
        self.offers = []
        self.cpu_s = {}

    def usage_of(self, pid):
        return ProcessUsage(self.cpu_s[pid], 100.0 * pid, 50.0 * pid)


class FakeSubject:
    """Detects two objects in each image after a time, and takes processor time for each."""

    def __init__(self, machine, name, pid, latency_s=0.02, cpu_s=0.01):
        self.name, self.pid = name, pid
        self._machine, self._latency_s, self._cpu_s = machine, latency_s, cpu_s
        self._due_s = []
        self._received = Received()
        machine.cpu_s[pid] = 0.0

    def offer(self, image):
        machine = self._machine
        machine.offers.append((self.name, int(image[0, 0, 0]), round(machine.now_s, 6)))
        self._received.offered += 1
        self._due_s.append(machine.now_s + self._latency_s)

    def receive(self, timeout_s):
        machine = self._machine
        until_s = machine.now_s + timeout_s
        if self._due_s and self._due_s[0] <= until_s:
            machine.now_s = max(machine.now_s, self._due_s.pop(0))
            machine.cpu_s[self.pid] += self._cpu_s
            self._received.latencies_s.append(self._latency_s)
            self._received.objects += 2
        else:
            machine.now_s = until_s

    def take(self):
        received, self._received = self._received, Received()
        return received


@pytest.fixture
def machine():
    return Machine()


def run(machine, *subjects, schedule=SCHEDULE):
    comparison = Comparison(
        subjects, schedule, usage_of=machine.usage_of, clock=lambda: machine.now_s
    )
    comparison.run(IMAGES)
    return comparison.measurements


def blocks(offers, size):
    return [offers[i : i + size] for i in range(0, len(offers), size)]


def test_subjects_take_turns_with_the_same_images_and_change_their_order(machine):
    run(machine, FakeSubject(machine, "a", 1), FakeSubject(machine, "b", 2))
    played = [
        (block[0][0], [value for _, value, _ in block])
        for block in blocks(machine.offers, SCHEDULE.warm_up + SCHEDULE.block)
    ]
    assert played == [("a", [0, 1, 2]), ("b", [0, 1, 2]), ("b", [3, 4, 0]), ("a", [3, 4, 0])]


def test_images_come_at_the_rate(machine):
    run(machine, FakeSubject(machine, "a", 1), schedule=Schedule(frames=4, block=4, warm_up=0))
    times_s = [time_s for _, _, time_s in machine.offers]
    assert np.diff(times_s) == pytest.approx([0.1] * 3)


def test_warm_up_images_do_not_count(machine):
    measured = run(machine, FakeSubject(machine, "a", 1, cpu_s=0.01))["a"]
    assert measured.received.offered == len(measured.received.latencies_s) == SCHEDULE.frames
    assert measured.received.objects == 2 * SCHEDULE.frames
    assert measured.cpu_ms_per_frame == pytest.approx(10)


@pytest.mark.parametrize(("frames", "rounds"), [(1, 1), (20, 1), (21, 2)])
def test_the_number_of_frames_is_rounded_up_to_whole_blocks(frames, rounds):
    assert Schedule(frames=frames, block=20).rounds == rounds


def test_late_results_count_if_they_arrive_before_the_end_of_their_block(machine):
    late = FakeSubject(machine, "late", 1, latency_s=0.15)
    measured = run(machine, late, schedule=Schedule(frames=4, block=4, warm_up=0))["late"]
    assert measured.received.latencies_s == [0.15] * 3


def test_a_subject_settles_before_the_next_one_receives_images(machine):
    slow, other = FakeSubject(machine, "slow", 1), FakeSubject(machine, "other", 2)
    receive, busy_until_s = slow.receive, []

    def receive_and_work(timeout_s):
        before_s = machine.now_s
        receive(timeout_s)
        if machine.now_s < busy_until_s[0]:
            machine.cpu_s[1] += machine.now_s - before_s

    # The work that the images of the block leave behind takes a second.
    images_s = 0.1 * (SCHEDULE.warm_up + SCHEDULE.block)
    busy_until_s.append(machine.now_s + images_s + 1)
    slow.receive = receive_and_work
    run(machine, slow, other, schedule=Schedule(frames=2, block=2, warm_up=1))
    first_of_other_s = next(time_s for name, _, time_s in machine.offers if name == "other")
    assert first_of_other_s >= busy_until_s[0]


def test_a_subject_that_never_settles_does_not_end_the_comparison(machine):
    greedy = FakeSubject(machine, "greedy", 1)
    receive = greedy.receive

    def receive_and_work(timeout_s):
        before_s = machine.now_s
        receive(timeout_s)
        machine.cpu_s[1] += machine.now_s - before_s

    greedy.receive = receive_and_work
    measured = run(machine, greedy)["greedy"]
    assert measured.received.offered == SCHEDULE.frames


def test_a_subject_that_never_replies_has_no_results(machine):
    measured = run(machine, FakeSubject(machine, "a", 1, latency_s=1e9))["a"]
    assert measured.received.offered == SCHEDULE.frames
    assert measured.received.latencies_s == []


def test_processor_time_without_images_counts_as_idle(machine):
    busy, greedy = FakeSubject(machine, "busy", 1), FakeSubject(machine, "greedy", 2)
    receive = busy.receive

    def receive_and_burn(timeout_s):
        before_s = machine.now_s
        receive(timeout_s)
        # A tenth of a processor, while the other subject has the images.
        machine.cpu_s[2] += 0.1 * (machine.now_s - before_s)

    busy.receive = receive_and_burn
    schedule = Schedule(frames=6, block=2, warm_up=1)
    measured = run(machine, busy, greedy, schedule=schedule)
    assert measured["greedy"].idle_cpu_percent == pytest.approx(10)
    assert measured["busy"].idle_cpu_percent == 0
    assert measured["greedy"].cpu_ms_per_frame == pytest.approx(10)


def test_a_subject_that_is_never_idle_has_no_idle_time(machine):
    schedule = Schedule(frames=2, block=2)
    assert run(machine, FakeSubject(machine, "a", 1), schedule=schedule)["a"].idle_s == 0


def measurement(latencies_s, cpu_s, mib):
    count = len(latencies_s)
    return Measurement(
        Received(offered=count + 1, latencies_s=latencies_s, objects=3 * count, enriched=count),
        busy_s=2.0,
        cpu_s=cpu_s,
        idle_s=4.0,
        idle_cpu_s=0.02,
        usage=ProcessUsage(cpu_s, mib, mib / 2),
    )


def test_the_tables_have_figures_ratios_and_counts():
    tables = comparison_tables(
        {
            "bare": measurement([0.01, 0.02, 0.03], cpu_s=0.06, mib=200.0),
            "ours": measurement([0.02, 0.04, 0.06], cpu_s=0.09, mib=300.0),
        },
        "bare",
    )
    assert tables["results"]["ours"] == {
        "median_ms": 40.0,
        "p95_ms": 58.0,
        "cpu_ms_per_frame": 30.0,
        "idle_cpu_percent": 0.5,
        "resident_mib": 300.0,
        "anonymous_mib": 150.0,
        "enriched_hz": 1.5,
    }
    assert tables["ratio_to_bare"]["ours"] == {
        "median_ms": 2.0,
        "p95_ms": 2.0,
        "cpu_ms_per_frame": 1.5,
        "resident_mib": 1.5,
        "anonymous_mib": 1.5,
    }
    assert set(tables["ratio_to_bare"]["bare"].values()) == {1.0}
    assert tables["counts"]["ours"] == {
        "offered": 4,
        "processed": 3,
        "dropped": 1,
        "objects_per_frame": 3.0,
    }
