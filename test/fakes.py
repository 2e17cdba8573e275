# SPDX-License-Identifier: Apache-2.0
"""Fake models that tests control step by step, without sleeping."""

import queue
import threading
import time
from threading import Condition

import numpy as np

from mrmllm_ros.answering.answerer import Answer, Answerer, EncodedImage
from mrmllm_ros.compute import at_once
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Detector, Perception
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.detection.images import ImageError
from mrmllm_ros.engine.scene import EnrichedScene, Frame, Scene

# Timeout of failing tests.
PATIENCE_S = 10.0
NOW_NS = 1_000_000_000_000


class Gate:
    """Blocks steps while closed, except for a number of allowed ones."""

    def __init__(self):
        self._changed = Condition()
        self._open = True
        self._permits = 0

    def close(self):
        with self._changed:
            self._open, self._permits = False, 0

    def allow(self, steps=1):
        with self._changed:
            self._permits += steps
            self._changed.notify_all()

    def open(self):
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def step(self):
        with self._changed:
            if not self._changed.wait_for(lambda: self._open or self._permits, PATIENCE_S):
                raise TimeoutError("the test never allowed this step")
            self._permits = max(0, self._permits - 1)


class Inbox(queue.Queue):
    """Queue whose `next` has a timeout."""

    def next(self):
        return self.get(timeout=PATIENCE_S)


def collect_answers(ask, answers):
    """Wrap `ask` to put the answers into an inbox."""

    def ask_and_collect(*arguments):
        pending = ask(*arguments)
        pending.add_done_callback(lambda f: f.exception() or answers.put(f.result()))
        return pending

    return ask_and_collect


class FakeDetector(Detector):
    """Finds one object, named after the brightness of the image.

    Attributes:
        started: Receives the brightness of each image at the start of its detection.
        batches: Brightness of the images of each batch.
        gate: Each batch is a step.
        fails_on: Brightness of images that raise an exception.
        refusal: Exception for a new vocabulary, or None.
        threads: Names of the threads that called `detect`.
        vocabulary_threads: Names of the threads that set a vocabulary.
    """

    name = "fake detector"
    labels = ("object",)
    feature_width = 0

    def __init__(self):
        self.started = Inbox()
        self.batches = []
        self.gate = Gate()
        self.fails_on = set()
        self.refusal = None
        self.settings = None
        self.threads, self.vocabulary_threads = set(), set()

    def configure(self, settings):
        self.settings = settings

    def detect(self, images):
        values = [brightness(image) for image in images]
        self.threads.add(threading.current_thread().name)
        self.batches.append(values)
        for value in values:
            self.started.put(value)
        self.gate.step()
        for value in self.fails_on.intersection(values):
            raise RuntimeError(f"cannot detect in {value}")
        return [perceive(image) for image in images]

    def _set_vocabulary(self, labels):
        self.vocabulary_threads.add(threading.current_thread().name)
        if self.refusal is not None:
            raise self.refusal


class FakeAnswerer(Answerer):
    """Encodes without changes; answers with numbers from 0, one for each token.

    Attributes:
        encoded: Receives the brightness of each image at the start of its encoding.
        encode_gate: Each image is a step.
        fails_to_encode: Brightness of images that raise an exception.
        encode_threads: Names of the threads that called `encode`.
        started: Receives the text of each question at the start of its answer.
        gate: Each token is a step.
        fails_on: Questions that raise an exception.
        answered_images: Encoded image of each question.
        answer_threads: Names of the threads that called `answer`.
        tokens: Number of generated tokens.
        refusal: Exception for a new vocabulary, or None.
        labels: The vocabulary.
        context: Place where the robot is.
        contexts: Context of each question.
    """

    name = "fake answerer"
    state = "fake"

    def __init__(self):
        self.encoded, self.encode_gate, self.fails_to_encode = Inbox(), Gate(), set()
        self.encode_threads = set()
        self.started, self.gate, self.fails_on = Inbox(), Gate(), set()
        self.answered_images = []
        self.answer_threads = set()
        self.tokens = 0
        self.refusal = None
        self.labels = ()
        self.settings = None
        self.context = ""
        self.contexts = []

    def configure(self, settings):
        self.settings = settings

    def set_context(self, context):
        self.context = context

    def set_vocabulary(self, labels):
        if self.refusal is not None:
            raise self.refusal
        self.labels = labels

    def encode(self, images, perceptions, step=at_once):
        [image], [perception] = images, perceptions
        value = brightness(image)
        self.encode_threads.add(threading.current_thread().name)
        self.encoded.put(value)
        self.encode_gate.step()
        if value in self.fails_to_encode:
            raise RuntimeError(f"cannot encode {value}")
        return [EncodedImage(EnrichedDetections.unchanged(perception))]

    def answer(self, encoded, question, listener):
        self.answer_threads.add(threading.current_thread().name)
        self.answered_images.append(encoded)
        self.contexts.append(question.context)
        self.started.put(question.text)
        words = []
        for number in range(question.decoding.max_new_tokens):
            self.gate.step()
            if question.text in self.fails_on:
                raise RuntimeError(f"cannot answer {question.text!r}")
            self.tokens += 1
            words.append(f"{number} ")
            listener.on_text(words[-1])
            if listener.should_stop():
                break
        return Answer(
            "".join(words).strip(),
            confidence=0.5,
            cited=(1,),
            token_ids=tuple(range(len(words))),
            truncated=True,
        )


class FakeClock:
    """Clock that only `advance` changes."""

    def __init__(self):
        self.now_ns = NOW_NS

    def __call__(self):
        return self.now_ns

    def advance(self, seconds):
        self.now_ns += round(seconds * 1e9)


def brightness(image):
    return int(image[0, 0, 0])


def perceive(image):
    """One object of the size of the image."""
    height, width = image.shape[:2]
    candidates = Detections(
        np.array([[0, 0, width, height]], np.float32),
        np.array([0.9], np.float32),
        (f"object {brightness(image)}",),
        (width, height),
    )
    return Perception(candidates, score_threshold=0.3)


def make_frame(value=100, camera="front", stamp_ns=NOW_NS, received_ns=NOW_NS):
    """Small frame of uniform brightness."""
    image = np.full((4, 6, 3), value, np.uint8)
    return Frame(image, camera, f"{camera}_optical_frame", stamp_ns, received_ns)


def decode(item):
    """Return a frame, or make one of a brightness; anything else is an `ImageError`."""
    if isinstance(item, Frame):
        return item
    if isinstance(item, int):
        return make_frame(item)
    raise ImageError(f"{item!r} is not an image")


def make_scene(value=100, **frame):
    """Scene with the current time."""
    frame = make_frame(value, **frame)
    return Scene(frame, perceive(frame.image), latency_s=0.01, perceived_s=time.monotonic())


def make_enriched(value=100, **frame):
    scene = make_scene(value, **frame)
    return EnrichedScene(
        scene, EncodedImage(EnrichedDetections.unchanged(scene.perception)), latency_s=0.02
    )


def explain_silence(camera):
    return f"check the driver of {camera}"


def engine_threads():
    """Names of the running threads of the engine."""
    names = {thread.name for thread in threading.enumerate()}
    return {n for n in names if n.startswith(("perception", "enrichment", "questions", "vocab"))}
