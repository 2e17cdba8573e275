# SPDX-License-Identifier: Apache-2.0
import multiprocessing
import threading

import numpy as np
import pytest

from mrmllm_ros.benchmarks import raw_detector as raw
from mrmllm_ros.benchmarks.raw_detector import RawDetector

IMAGE = np.zeros((4, 6, 3), np.uint8)


class FakeDetector:
    """Finds as many objects as an image has rows, when the gate is open."""

    def __init__(self):
        self.gate = threading.Event()

    def load(self):
        def predict(image):
            self.gate.wait(10)
            return range(len(image))

        return predict


@pytest.fixture
def detector():
    return FakeDetector()


@pytest.fixture
def subject(detector):
    ours, theirs = multiprocessing.Pipe()
    thread = threading.Thread(target=raw._serve, args=(detector, theirs))
    thread.start()
    yield RawDetector(1, ours)
    detector.gate.set()
    ours.close()
    thread.join(10)
    assert not thread.is_alive()


def test_a_result_has_its_latency_and_objects(subject, detector):
    detector.gate.set()
    subject.offer(IMAGE)
    subject.receive(10)
    received = subject.take()
    assert (received.offered, received.objects) == (1, 4)
    [latency_s] = received.latencies_s
    assert 0 <= latency_s < 10
    assert subject.take().offered == 0


def test_images_for_a_busy_detector_are_dropped(subject, detector):
    for _ in range(3):
        subject.offer(IMAGE)
    detector.gate.set()
    subject.receive(10)
    # Nothing else is being detected.
    subject.receive(0)
    received = subject.take()
    assert (received.offered, len(received.latencies_s)) == (3, 1)


def test_receiving_without_an_image_returns_after_its_time(subject):
    subject.receive(0)
    assert subject.take().latencies_s == []
