# SPDX-License-Identifier: Apache-2.0
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from fakes import PATIENCE_S, Inbox, brightness, decode, make_frame, perceive

from mrmllm_ros.detection.detector import FixedVocabularyError
from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.engine.perception_worker import PerceptionWorker
from mrmllm_ros.engine.scheduler import Scheduler

CAMERAS = ("front", "left", "rear")


@pytest.fixture
def make_worker(detector, scheduler, scenes, errors):
    """Function that makes a started worker, stopped after the test."""
    workers = []

    def make(
        on_scene=scenes.put,
        batch_size=8,
        track=lambda frame, perception: perception,
        scheduler=scheduler,
    ):
        worker = PerceptionWorker(
            detector,
            CAMERAS,
            batch_size,
            scheduler,
            decode=decode,
            track=track,
            on_scene=on_scene,
            on_error=lambda *error: errors.put(error),
        )
        worker.start()
        workers.append(worker)
        return worker

    yield make
    detector.gate.open()
    for worker in workers:
        worker.stop()


@pytest.fixture
def worker(make_worker):
    return make_worker()


@pytest.fixture
def put_together(detector):
    """Let frames of several cameras wait behind a running one."""

    def put(worker, **values):
        detector.gate.close()
        worker.slots.put("front", 100)
        assert detector.started.next() == 100
        for camera, value in values.items():
            worker.slots.put(camera, make_frame(value, camera))
        detector.gate.open()

    return put


def value_of(scene):
    return brightness(scene.frame.image)


@pytest.mark.parametrize("value", [7, 0])
def test_an_image_becomes_a_scene_with_frame_and_perception(value, worker, scenes, errors):
    before_s = time.monotonic()
    worker.slots.put("front", value)
    scene = scenes.next()
    assert value_of(scene) == value
    assert scene.perception.detections.labels == (f"object {value}",)
    assert 0 <= scene.latency_s <= time.monotonic() - before_s
    assert before_s <= scene.perceived_s <= time.monotonic()
    assert errors.empty()


def test_the_detector_runs_in_the_workers_thread_only(worker, detector, scenes):
    for value in (1, 2):
        worker.slots.put("front", value)
        scenes.next()
    assert detector.threads == {"perception"}


def test_while_the_detector_is_busy_only_the_newest_image_waits(worker, detector, scenes):
    detector.gate.close()
    worker.slots.put("front", 1)
    assert detector.started.next() == 1
    for value in (2, 3, 4):
        worker.slots.put("front", value)
    detector.gate.open()
    assert [value_of(scenes.next()) for _ in range(2)] == [1, 4]
    assert worker.slots.dropped["front"] == 2


def test_a_bad_image_is_reported_and_the_next_good_one_works(worker, scenes, errors):
    worker.slots.put("front", "a shoe")
    camera, error = errors.next()
    assert camera == "front"
    assert isinstance(error, ImageError)
    assert "a shoe" in str(error)
    worker.slots.put("front", 7)
    assert value_of(scenes.next()) == 7
    assert scenes.empty()


def test_detection_is_announced_from_decoding_to_the_scene(make_worker, detector, scenes):
    running = []

    class Announced(Scheduler):
        @contextmanager
        def detection(self):
            running.append("start")
            yield
            running.append("end")

    def on_scene(scene):
        running.append("scene")
        scenes.put(scene)

    worker = make_worker(on_scene, scheduler=Announced(CAMERAS, enabled=True))
    worker.slots.put("front", "a shoe")
    worker.slots.put("rear", 7)
    scenes.next()
    worker.stop()
    assert running[-3:] == ["start", "scene", "end"]
    assert running.count("start") == running.count("end")


def test_a_detector_that_raises_is_reported_and_the_work_continues(
    worker, detector, scenes, errors
):
    detector.fails_on = {6}
    worker.slots.put("front", 6)
    assert "cannot detect in 6" in str(errors.next())
    worker.slots.put("front", 7)
    assert value_of(scenes.next()) == 7
    assert scenes.empty()


def test_a_handler_that_raises_is_reported_and_the_work_continues(make_worker, errors):
    seen = Inbox()

    def on_scene(scene):
        seen.put(value_of(scene))
        if seen.queue[-1] == 6:
            raise RuntimeError("no publisher")

    worker = make_worker(on_scene)
    worker.slots.put("front", 6)
    assert "no publisher" in str(errors.next())
    worker.slots.put("front", 7)
    assert [seen.next(), seen.next()] == [6, 7]


def test_stopping_waits_for_the_current_image_and_takes_no_other(
    worker, detector, scenes, monkeypatch
):
    closed, close = threading.Event(), worker.slots.close
    monkeypatch.setattr(worker.slots, "close", lambda: (close(), closed.set()))
    detector.gate.close()
    worker.slots.put("front", 1)
    assert detector.started.next() == 1
    worker.slots.put("front", 2)

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
    worker.slots.put("front", 1)
    assert worker.slots.received["front"] == 0


def test_the_vocabulary_reaches_the_detector(worker, detector):
    worker.set_vocabulary(["forklift", " pallet ", "forklift"])
    assert detector.labels == ("forklift", "pallet")


def test_a_detector_that_rejects_a_vocabulary_continues_as_before(worker, detector, scenes):
    detector.refusal = FixedVocabularyError("knows its own")
    with pytest.raises(FixedVocabularyError, match="knows its own"):
        worker.set_vocabulary(["forklift"])
    worker.slots.put("front", 7)
    assert value_of(scenes.next()) == 7


def test_the_vocabulary_changes_between_images_and_never_within_one(worker, detector, scenes):
    detector.gate.close()
    worker.slots.put("front", 1)
    assert detector.started.next() == 1
    changing = threading.Thread(target=worker.set_vocabulary, args=(["forklift"],))
    changing.start()
    # Long enough for a worker that does not wait for the image.
    changing.join(0.02)
    assert detector.labels == ("object",)
    assert changing.is_alive()
    detector.gate.open()
    changing.join(PATIENCE_S)
    assert detector.labels == ("forklift",)
    assert value_of(scenes.next()) == 1


def test_frames_of_several_cameras_that_wait_together_go_through_the_detector_as_one_batch(
    worker, put_together, detector, scenes
):
    put_together(worker, front=1, left=2, rear=3)
    found = {scene.frame.camera: scene for scene in [scenes.next() for _ in range(4)]}
    assert sorted(detector.batches[1]) == [1, 2, 3]
    assert len(detector.batches) == 2
    for camera, value in {"front": 1, "left": 2, "rear": 3}.items():
        assert found[camera].perception.detections.labels == (f"object {value}",)


def test_a_batch_is_never_larger_than_allowed(make_worker, put_together, detector, scenes):
    put_together(make_worker(batch_size=2), front=1, left=2, rear=3)
    for _ in range(4):
        scenes.next()
    assert detector.batches == [[100], [2, 3], [1]]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_cameras_faster_than_the_detector_wait_at_most_one_pass(
    batch_size, make_worker, detector, scenes, monkeypatch
):
    passes = 20

    def detect(images):
        detector.batches.append(images)
        if len(detector.batches) < passes:
            for camera, frames in (("front", 3), ("rear", 1)):
                for _ in range(frames):
                    worker.slots.put(camera, make_frame(1, camera))
        return [perceive(image) for image in images]

    monkeypatch.setattr(detector, "detect", detect)
    worker = make_worker(batch_size=batch_size)
    worker.slots.put("front", make_frame(1, "front"))
    served = [scenes.next().frame.camera for _ in range(1 + batch_size * (passes - 1))]
    assert served[0] == "front"
    turns = served[1:]
    assert set(turns[::2]) == {"rear"}
    assert set(turns[1::2]) == {"front"}


def test_an_undecodable_image_does_not_affect_other_cameras(
    worker, put_together, detector, scenes, errors
):
    detector.gate.close()
    worker.slots.put("front", 100)
    assert detector.started.next() == 100
    worker.slots.put("left", "a shoe")
    worker.slots.put("rear", make_frame(3, "rear"))
    detector.gate.open()
    assert [value_of(scenes.next()) for _ in range(2)] == [100, 3]
    camera, error = errors.next()
    assert camera == "left"
    assert isinstance(error, ImageError)


def test_a_detector_failure_does_not_affect_images_of_other_cameras(
    worker, put_together, detector, scenes, errors
):
    detector.fails_on = {2}
    put_together(worker, front=1, left=2, rear=3)
    assert {value_of(scenes.next()) for _ in range(3)} == {100, 1, 3}
    camera, error = errors.next()
    assert camera == "left"
    assert "cannot detect in 2" in str(error)
    assert errors.empty()


def test_a_batch_without_usable_images_does_not_reach_the_detector(worker, detector, errors):
    worker.slots.put("left", "a shoe")
    errors.next()
    worker.stop()
    assert detector.batches == []


def test_each_cameras_perceptions_are_tracked_in_their_order(make_worker, put_together, scenes):
    tracked = {camera: [] for camera in CAMERAS}

    def track(frame, perception):
        tracked[frame.camera].append(perception.candidates.labels[0])
        return replace(perception, score_threshold=0.95)

    worker = make_worker(track=track)
    put_together(worker, front=1, rear=3)
    for _ in range(3):
        # The scene has the tracked perception.
        assert scenes.next().perception.reported == 0
    assert tracked == {"front": ["object 100", "object 1"], "left": [], "rear": ["object 3"]}


def test_a_tracking_failure_is_reported_and_other_cameras_continue(
    make_worker, put_together, scenes, errors
):
    def track(frame, perception):
        if frame.camera == "left":
            raise RuntimeError("lost")
        return perception

    worker = make_worker(track=track)
    put_together(worker, left=2, rear=3)
    assert [value_of(scenes.next()) for _ in range(2)] == [100, 3]
    camera, error = errors.next()
    assert (camera, str(error)) == ("left", "lost")
