# SPDX-License-Identifier: Apache-2.0
"""Models that do what a test tells them, step by step, so that no test has to sleep."""

import queue
import threading
from threading import Semaphore

import numpy as np

from mrmllm_ros.engine.scene import Frame, Scene
from mrmllm_ros.model.answerer import Answer, Answerer
from mrmllm_ros.perception.detections import Detections
from mrmllm_ros.perception.detector import Detector, Perception
from mrmllm_ros.perception.images import ImageError

# Only ever waited for by a test that fails.
PATIENCE_S = 10.0
NOW_NS = 1_000_000_000_000


class Gate:
    """Lets steps through: all of them, or, once closed, as many as are allowed."""

    def __init__(self):
        self._permits = None

    def close(self):
        self._permits = Semaphore(0)

    def allow(self, steps=1):
        self._permits.release(steps)

    def open(self):
        permits, self._permits = self._permits, None
        if permits is not None:
            permits.release()

    def step(self):
        permits = self._permits
        if permits is not None and not permits.acquire(timeout=PATIENCE_S):
            raise TimeoutError("the test never allowed this step")


class FakeDetector(Detector):
    """Finds one object, named after the brightness of the image.

    Attributes:
        started: Gets the brightness of each image when its turn has come.
        gate: Each image is a step.
        fails_on: Brightness of images that it raises on.
    """

    name = "fake detector"
    labels = ("object",)

    def __init__(self):
        self.started = queue.Queue()
        self.gate = Gate()
        self.fails_on = set()
        self.settings = None
        self.threads = set()

    def configure(self, settings):
        self.settings = settings

    def detect(self, images):
        [image] = images
        value = int(image[0, 0, 0])
        self.threads.add(threading.current_thread().name)
        self.started.put(value)
        self.gate.step()
        if value in self.fails_on:
            raise RuntimeError(f"cannot look at {value}")
        return [Perception(one_object(image, f"object {value}"))]


class FakeAnswerer(Answerer):
    """Counts from zero, one token after the other, as far as the question allows.

    Attributes:
        started: Gets the text of each question when its turn has come.
        gate: Each token is a step.
        fails_on: Questions that it raises on.
        images: The image of each question.
        perceptions: What it was told about each image.
        tokens: Tokens made in all.
    """

    name = "fake answerer"

    def __init__(self):
        self.started = queue.Queue()
        self.gate = Gate()
        self.fails_on = set()
        self.images, self.perceptions = [], []
        self.tokens = 0
        self.settings = None

    def configure(self, settings):
        self.settings = settings

    def answer(self, image, perception, question, on_text, should_stop):
        self.images.append(image)
        self.perceptions.append(perception)
        self.started.put(question.text)
        words = []
        for number in range(question.max_new_tokens):
            self.gate.step()
            if question.text in self.fails_on:
                raise RuntimeError(f"cannot answer {question.text!r}")
            self.tokens += 1
            words.append(f"{number} ")
            on_text(words[-1])
            if should_stop():
                break
        return Answer("".join(words).strip(), confidence=0.5, cited=(1,), tokens=len(words))


class FakeClock:
    """A clock that stands still until it is set."""

    def __init__(self):
        self.now_ns = NOW_NS

    def __call__(self):
        return self.now_ns

    def advance(self, seconds):
        self.now_ns += round(seconds * 1e9)


def one_object(image, label):
    height, width = image.shape[:2]
    return Detections(
        np.array([[0, 0, width, height]], np.float32),
        np.array([0.9], np.float32),
        (label,),
        (width, height),
    )


def make_frame(value=100, camera="front", stamp_ns=NOW_NS, received_ns=NOW_NS):
    """A small frame of uniform brightness."""
    image = np.full((4, 6, 3), value, np.uint8)
    return Frame(image, camera, f"{camera}_optical_frame", stamp_ns, received_ns)


def decode(item):
    """Makes a frame of a brightness or takes a frame as it is; nothing else is an image."""
    if isinstance(item, Frame):
        return item
    if isinstance(item, int):
        return make_frame(item)
    raise ImageError(f"{item!r} is not an image")


def make_scene(value=100, **frame):
    frame = make_frame(value, **frame)
    return Scene(frame, Perception(one_object(frame.image, f"object {value}")), latency_s=0.01)


class Inbox(queue.Queue):
    """A queue whose `next` does not wait for ever."""

    def next(self):
        return self.get(timeout=PATIENCE_S)
