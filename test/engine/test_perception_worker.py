# SPDX-License-Identifier: Apache-2.0
import threading
import time

import pytest
from fakes import PATIENCE_S, Inbox, brightness, decode

from mrmllm_ros.engine.perception_worker import PerceptionWorker
from mrmllm_ros.perception.detector import FixedVocabularyError
from mrmllm_ros.perception.images import ImageError


@pytest.fixture
def worker(detector, scenes, errors):
    worker = PerceptionWorker(detector, decode, scenes.put, errors.put)
    worker.start()
    yield worker
    detector.gate.open()
    worker.stop()


def value_of(scene):
    return brightness(scene.frame.image)


@pytest.mark.parametrize("value", [7, 0])
def test_an_image_becomes_a_scene_of_its_frame_and_what_is_in_it(value, worker, scenes, errors):
    before_s = time.monotonic()
    worker.slot.put(value)
    scene = scenes.next()
    assert value_of(scene) == value
    assert scene.perception.detections.labels == (f"object {value}",)
    assert 0 <= scene.latency_s <= time.monotonic() - before_s
    assert before_s <= scene.perceived_s <= time.monotonic()
    assert errors.empty()


def test_the_detector_runs_in_the_workers_thread_only(worker, detector, scenes):
    for value in (1, 2):
        worker.slot.put(value)
        scenes.next()
    assert detector.threads == {"perception"}


def test_while_the_detector_is_busy_only_the_newest_image_waits(worker, detector, scenes):
    detector.gate.close()
    worker.slot.put(1)
    assert detector.started.next() == 1
    for value in (2, 3, 4):
        worker.slot.put(value)
    detector.gate.open()
    assert [value_of(scenes.next()) for _ in range(2)] == [1, 4]
    assert worker.slot.dropped == 2


def test_a_bad_image_is_reported_and_the_next_good_one_works(worker, scenes, errors):
    worker.slot.put("a shoe")
    error = errors.next()
    assert isinstance(error, ImageError)
    assert "a shoe" in str(error)
    worker.slot.put(7)
    assert value_of(scenes.next()) == 7
    assert scenes.empty()


def test_a_detector_that_raises_is_reported_and_the_work_goes_on(worker, detector, scenes, errors):
    detector.fails_on = {6}
    worker.slot.put(6)
    assert "cannot look at 6" in str(errors.next())
    worker.slot.put(7)
    assert value_of(scenes.next()) == 7
    assert scenes.empty()


def test_a_handler_that_raises_is_reported_and_the_work_goes_on(detector, errors):
    seen = Inbox()

    def on_scene(scene):
        seen.put(value_of(scene))
        if seen.queue[-1] == 6:
            raise RuntimeError("no publisher")

    worker = PerceptionWorker(detector, decode, on_scene, errors.put)
    worker.start()
    worker.slot.put(6)
    assert "no publisher" in str(errors.next())
    worker.slot.put(7)
    assert [seen.next(), seen.next()] == [6, 7]
    worker.stop()


def test_stopping_waits_for_the_image_under_way_and_takes_no_other(
    worker, detector, scenes, monkeypatch
):
    closed, close = threading.Event(), worker.slot.close
    monkeypatch.setattr(worker.slot, "close", lambda: (close(), closed.set()))
    detector.gate.close()
    worker.slot.put(1)
    assert detector.started.next() == 1
    worker.slot.put(2)

    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    assert closed.wait(PATIENCE_S)
    assert stopping.is_alive()
    detector.gate.open()
    stopping.join(PATIENCE_S)

    assert not stopping.is_alive()
    assert value_of(scenes.next()) == 1
    assert scenes.empty()
    assert detector.started.empty()


def test_stopping_an_idle_worker_ends_it(worker):
    worker.stop()
    worker.slot.put(1)
    assert worker.slot.dropped == 0


def test_the_vocabulary_reaches_the_detector(worker, detector):
    worker.set_vocabulary(["forklift", " pallet ", "forklift"])
    assert detector.labels == ("forklift", "pallet")


def test_a_detector_that_refuses_a_vocabulary_goes_on_as_before(worker, detector, scenes):
    detector.refusal = FixedVocabularyError("knows its own")
    with pytest.raises(FixedVocabularyError, match="knows its own"):
        worker.set_vocabulary(["forklift"])
    worker.slot.put(7)
    assert value_of(scenes.next()) == 7


def test_the_vocabulary_changes_between_images_and_never_within_one(worker, detector, scenes):
    detector.gate.close()
    worker.slot.put(1)
    assert detector.started.next() == 1
    changing = threading.Thread(target=worker.set_vocabulary, args=(["forklift"],))
    changing.start()
    # Time enough for one that does not wait for the image.
    changing.join(0.02)
    assert detector.labels == ("object",)
    assert changing.is_alive()
    detector.gate.open()
    changing.join(PATIENCE_S)
    assert detector.labels == ("forklift",)
    assert value_of(scenes.next()) == 1
