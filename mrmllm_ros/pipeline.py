# SPDX-License-Identifier: Apache-2.0
"""Detect objects and answer questions about images in Python, without ROS.

Example:
    >>> import mrmllm_ros
    >>> with mrmllm_ros.load() as model:
    ...     detections = model.detect("photo.jpg")
    ...     answer = model.ask(detections, "How many people are there?")
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock, Thread, current_thread
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, finalize

from mrmllm_ros.answering.answerer import (
    Answer,
    Answerer,
    Decoding,
    EncodedImage,
    Question,
    SilentListener,
    TextListener,
)
from mrmllm_ros.compute import free_memory
from mrmllm_ros.detection.captions import correction
from mrmllm_ros.detection.colors import with_colors
from mrmllm_ros.detection.detections import Attribute
from mrmllm_ros.detection.detector import Detector
from mrmllm_ros.detection.enriched_detections import EnrichedDetections
from mrmllm_ros.detection.images import to_bgr
from mrmllm_ros.engine.engine_settings import Settings
from mrmllm_ros.engine.models import Models
from mrmllm_ros.environment import expand
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.model.prompt import context_error
from mrmllm_ros.settings import SettingsError, dotted, profile_file


class PipelineError(MrmllmError):
    """A pipeline is closed, or an argument is not valid for it."""


@dataclass(frozen=True)
class Detection:
    """An object in an image.

    Attributes:
        id: Number of the object in its image, from 1, as cited in answers.
        label: Label after fusion.
        score: Confidence after fusion, 0 to 1.
        xyxy: Left, top, right and bottom of the box in pixels.
        detector_label: Label from the detector.
        detector_score: Confidence of the detector, 0 to 1.
        novelty: 0 for a familiar object, 1 for a corner case.
        attributes: Attributes by name, such as `color`.
    """

    id: int
    label: str
    score: float
    xyxy: tuple[float, float, float, float]
    detector_label: str
    detector_score: float
    novelty: float
    attributes: Mapping[str, Attribute]

    @classmethod
    def of(cls, enriched: EnrichedDetections, index: int) -> Detection:
        """Create the detection of the candidate at an index; its id is `index + 1`."""
        fused, detector = enriched.fused, enriched.detector
        return cls(
            id=index + 1,
            label=fused.labels[index],
            score=float(fused.scores[index]),
            xyxy=tuple(fused.xyxy[index].tolist()),
            detector_label=detector.labels[index],
            detector_score=float(detector.scores[index]),
            novelty=float(enriched.novelty[index]),
            attributes={attribute.name: attribute for attribute in enriched.attributes[index]},
        )

    @property
    def correction(self) -> str:
        """Why the label differs from the detector's; empty if it does not."""
        return correction(self.label, self.detector_label, self.attributes.values())

    def to_dict(self) -> dict[str, Any]:
        """Convert to values for JSON, rounded; attributes have values without scores."""
        return {
            "id": self.id,
            "label": self.label,
            "score": round(self.score, 4),
            "xyxy": [round(value, 1) for value in self.xyxy],
            "detector_label": self.detector_label,
            "detector_score": round(self.detector_score, 4),
            "novelty": round(self.novelty, 4),
            "attributes": {a.name: a.value for a in self.attributes.values()},
        }

    def __str__(self) -> str:
        box = ", ".join(f"{value:.0f}" for value in self.xyxy)
        corrected = f", {self.correction}" if self.correction else ""
        return f"[{self.id}] {self.label} {self.score:.2f} ({box}){corrected}"


@dataclass(frozen=True, eq=False, repr=False)
class ImageDetections(Sequence[Detection]):
    """Reported objects of an image, sorted by id.

    Pass it to `Pipeline.ask` instead of the image to encode the image only once.

    Attributes:
        enriched: All candidates as arrays, with masks if the detector predicts them.
    """

    enriched: EnrichedDetections

    def __len__(self) -> int:
        return len(self.enriched.reported)

    def __getitem__(self, position: Any) -> Any:
        return self._items[position]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(map(str, self)) or 'nothing'}>"

    @cached_property
    def _items(self) -> tuple[Detection, ...]:
        return tuple(
            Detection.of(self.enriched, index) for index in self.enriched.reported.tolist()
        )


@dataclass(frozen=True)
class ImageAnswer:
    """Answer to a question about an image.

    Attributes:
        question: The question; empty asks for a description of the scene.
        text: The answer; objects are cited as `[id]`.
        confidence: Mean probability of its tokens, 0 to 1.
        cited: Cited objects, in the order of first citation.
        tokens: Number of generated tokens.
        truncated: Whether the text ended at the maximum number of tokens.
        detections: All objects in the image.
    """

    question: str
    text: str
    confidence: float
    cited: tuple[Detection, ...]
    tokens: int
    truncated: bool
    detections: ImageDetections

    @classmethod
    def of(cls, question: str, answer: Answer, detections: ImageDetections) -> ImageAnswer:
        """Create an image answer from the answer of a model."""
        return cls(
            question=question,
            text=answer.text,
            confidence=answer.confidence,
            cited=tuple(Detection.of(detections.enriched, i - 1) for i in answer.cited),
            tokens=answer.tokens,
            truncated=answer.truncated,
            detections=detections,
        )

    def __str__(self) -> str:
        return self.text


class AnswerStream(Iterator[str], AbstractContextManager["AnswerStream"]):
    """Iterator over the text of an answer, piece by piece during generation.

    Generation stops at the next token after the stream is closed or garbage-collected.
    """

    def __init__(self, generate: Callable[[TextListener], ImageAnswer]) -> None:
        """Start generation in a thread.

        Args:
            generate: Function that generates the answer.
        """
        pieces: SimpleQueue[str | None] = SimpleQueue()
        future: Future[ImageAnswer] = Future()
        stopped = Event()

        # Does not reference the stream, so that an unused stream is collected.
        def run() -> None:
            try:
                future.set_result(generate(_QueueListener(pieces, stopped)))
            # Raised again by the stream.
            except Exception as error:
                future.set_exception(error)
            finally:
                pieces.put(None)

        thread = Thread(target=run, name="answer", daemon=True)
        self._pieces, self._future = pieces, future
        self._stop = finalize(self, _stop, stopped, thread)
        thread.start()

    @property
    def answer(self) -> ImageAnswer:
        """Wait for the complete answer; after `close` it has the text so far.

        Raises:
            PromptTooLongError: If prompt and answer exceed the model's context length.
        """
        return self._future.result()

    def __next__(self) -> str:
        piece = self._pieces.get()
        if piece is None:
            self._pieces.put(None)
            self._future.result()
            raise StopIteration
        return piece

    def close(self) -> None:
        """Stop generation."""
        self._stop()

    def __exit__(self, *exception: object) -> None:
        """Stop generation."""
        self.close()


class Pipeline(AbstractContextManager["Pipeline"]):
    """Detector and answerer for single images; thread-safe.

    An image is a path, an (H, W, 3) uint8 array in BGR order as in OpenCV, or a PIL image.

    Attributes:
        settings: Settings of the models.
    """

    def __init__(self, detector: Detector, answerer: Answerer | None, settings: Settings) -> None:
        """Create a pipeline of loaded models; `load` loads them.

        Args:
            detector: Detects objects.
            answerer: Enriches objects and answers questions; None for detection only.
            settings: Settings of the models.
        """
        self.settings = settings
        self._detector: Detector | None = detector
        self._answerer = answerer
        # Encoded images reference the models; kept here instead of in `ImageDetections`, so that
        # `close` frees them.
        self._encoded_images: WeakKeyDictionary[ImageDetections, EncodedImage] = (
            WeakKeyDictionary()
        )
        self._streams: WeakSet[AnswerStream] = WeakSet()
        self._lock = Lock()

    @classmethod
    def load(cls, settings: Settings, answers: bool = True) -> Pipeline:
        """Load the models.

        Args:
            settings: Models, thresholds, device, decoding.
            answers: Whether to answer questions; if false, only the models for detection and
                fusion are loaded.

        Raises:
            MrmllmError: If a model cannot be loaded; see `Models.load`.
        """
        needs_answerer = settings.answerer != "none" and (
            answers or settings.trained.checkpoint or settings.uses_visual_labels
        )
        models = Models.load(settings if needs_answerer else replace(settings, answerer="none"))
        return cls(models.detector, models.answerer, settings)

    def detect(self, image: Any) -> ImageDetections:
        """Detect the objects in an image.

        Raises:
            ImageError: If the image is unusable.
            PipelineError: If the pipeline is closed.
        """
        [detections] = self.detect_batch([image])
        return detections

    def detect_batch(self, images: Sequence[Any]) -> list[ImageDetections]:
        """Detect the objects in a batch of images.

        Raises:
            ImageError: If an image is unusable.
            PipelineError: If the pipeline is closed.
        """
        with self._lock:
            detector = self._open_detector()
            arrays = [to_bgr(image) for image in images]
            perceptions = detector.detect(arrays)
            if self._answerer is None:
                encoded_images = [
                    EncodedImage(with_colors(EnrichedDetections.unchanged(perception), array))
                    for array, perception in zip(arrays, perceptions, strict=True)
                ]
            else:
                encoded_images = self._answerer.encode(arrays, perceptions)
            results = [ImageDetections(encoded.enriched) for encoded in encoded_images]
            self._encoded_images.update(zip(results, encoded_images, strict=True))
        return results

    def ask(
        self,
        image: Any,
        question: str = "",
        *,
        max_new_tokens: int | None = None,
        context: str = "",
    ) -> ImageAnswer:
        """Answer a question about an image.

        Args:
            image: Image, or the result of `detect` for it, which is not encoded again.
            question: The question; empty asks for a description of the scene.
            max_new_tokens: Maximum number of generated tokens; None for the setting
                `question.max_new_tokens`.
            context: Knowledge about the scene that the image does not show, such as
                `a hospital corridor`; it does not change the labels of objects, as the setting
                `mrmllm.context` does.

        Raises:
            ImageError: If the image is unusable.
            SettingsError: If `max_new_tokens` is out of range.
            PromptTooLongError: If prompt and answer exceed the model's context length.
            PipelineError: If the pipeline is closed, the detections are from another pipeline, the
                question is not text, or the context is not printable text.
        """
        generate = self._prepare(image, question, max_new_tokens, context)
        return generate(SilentListener())

    def stream(
        self,
        image: Any,
        question: str = "",
        *,
        max_new_tokens: int | None = None,
        context: str = "",
    ) -> AnswerStream:
        """Answer like `ask`, but stream the text during generation.

        Returns:
            Iterator over pieces of text; its `answer` is the complete answer. Both raise errors of
            generation.

        Raises:
            ImageError: If the image is unusable.
            SettingsError: If `max_new_tokens` is out of range.
            PipelineError: If the pipeline is closed, the detections are from another pipeline, the
                question is not text, or the context is not printable text.
        """
        stream = AnswerStream(self._prepare(image, question, max_new_tokens, context))
        self._streams.add(stream)
        return stream

    def close(self) -> None:
        """Stop streams and free the models' memory; detections and answers remain usable."""
        for stream in list(self._streams):
            stream.close()
        with self._lock:
            self._detector = self._answerer = None
            self._encoded_images.clear()
        free_memory()

    def __exit__(self, *exception: object) -> None:
        """Close the pipeline."""
        self.close()

    def _open_detector(self) -> Detector:
        if self._detector is None:
            raise PipelineError("the pipeline is closed; load another one")
        return self._detector

    def _prepare(
        self, image: Any, question: str, max_new_tokens: int | None, context: str
    ) -> Callable[[TextListener], ImageAnswer]:
        """Check the arguments, detect, and return the function that generates the answer."""
        self._open_detector()
        answerer = self._answerer
        if answerer is None:
            raise PipelineError(
                "the pipeline was loaded without a model that answers questions; load it with "
                "the parameter answerer mrmllm or hf_vlm"
            )
        settings = self.settings.question
        if max_new_tokens is not None:
            settings = replace(settings, max_new_tokens=max_new_tokens)
        _check_text("question", question)
        _check_text("context", context)
        if error := context_error(context):
            raise PipelineError(error)
        model_question = Question(
            question, Decoding(settings.max_new_tokens, settings.temperature), context
        )
        detections = image if isinstance(image, ImageDetections) else self.detect(image)
        encoded = self._encoded_images.get(detections)
        if encoded is None:
            raise PipelineError(
                "the detections are from another pipeline; call detect of this one first"
            )

        def generate(listener: TextListener) -> ImageAnswer:
            answer = answerer.answer(encoded, model_question, listener)
            return ImageAnswer.of(question, answer, detections)

        return generate


def read_settings(source: str | os.PathLike[str], settings: Mapping[str, Any]) -> Settings:
    """Read the settings for `mrmllm_ros.load`.

    Args:
        source: Name of a profile, path of a parameter file, or empty for the defaults.
        settings: Values and groups of values by name; they override the file.

    Raises:
        SettingsError: If the profile or file does not exist, or a setting is unknown or invalid.
    """
    # Unknown names are errors here but warnings in a file, which may configure other nodes too.
    Settings.from_mapping(settings)
    return Settings.from_parameter_file(_params_file(source), dotted(settings), _warn)


def _params_file(source: str | os.PathLike[str]) -> Path | None:
    if not isinstance(source, (str, os.PathLike)):
        raise SettingsError(
            f"{source!r} is neither a name of a profile nor a path of a parameter file"
        )
    if not source:
        return None
    path = Path(source)
    is_name = isinstance(source, str) and path.name == source and not path.suffix
    return profile_file(source) if is_name else expand(path)


def _warn(message: str) -> None:
    # The stack level of the caller of `mrmllm_ros.load`.
    warnings.warn(message, stacklevel=5)


def _check_text(name: str, text: str) -> None:
    if not isinstance(text, str):
        raise PipelineError(f"the {name} has type {type(text).__name__}, expected str")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PipelineError(f"the {name} {text!r} is not valid Unicode text") from error


@dataclass(frozen=True)
class _QueueListener:
    """Puts pieces of text into a queue, and stops generation when an event is set."""

    pieces: SimpleQueue[str | None]
    stopped: Event

    def on_text(self, text: str) -> None:
        self.pieces.put(text)

    def should_stop(self) -> bool:
        return self.stopped.is_set()


def _stop(stopped: Event, thread: Thread) -> None:
    stopped.set()
    # The garbage collector may run in any thread.
    if thread is not current_thread():
        thread.join()
