# SPDX-License-Identifier: Apache-2.0
"""`mrmllm detect` and `mrmllm ask`: detect objects in image files and ask about them; no ROS."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrmllm_ros.cli.options import add_model_options, model_settings
from mrmllm_ros.cli.output import (
    FAILED,
    PARTIAL,
    ProgressLine,
    make_folder,
    print_error,
    print_progress,
)
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.settings import SettingsError

if TYPE_CHECKING:
    import numpy as np

    from mrmllm_ros.engine.models import Settings
    from mrmllm_ros.pipeline import Detection, ImageDetections, Pipeline


def add_parser(subparsers: Any) -> None:
    """Add both commands."""
    detect = subparsers.add_parser(
        "detect",
        help="detect objects in images",
        description="Detect objects in images; with trained weights, after fusion.",
    )
    detect.add_argument(
        "--image",
        required=True,
        nargs="+",
        type=Path,
        metavar="PATH",
        help="image files, and folders of images",
    )
    _add_options(detect)
    detect.add_argument(
        "--save",
        type=Path,
        metavar="PATH",
        help="file of the annotated image, or folder of several annotated images",
    )
    detect.set_defaults(run=run_detect, max_new_tokens=None)
    ask = subparsers.add_parser(
        "ask",
        help="ask questions about an image",
        description="Answer questions about an image; answers are printed during generation.",
    )
    ask.add_argument("--image", required=True, type=Path, metavar="FILE", help="image file")
    _add_options(ask)
    ask.add_argument(
        "questions", nargs="+", metavar="QUESTION", help='"" asks for a description of the scene'
    )
    ask.add_argument(
        "--max-new-tokens", type=int, metavar="N", help="maximum number of tokens of an answer"
    )
    ask.set_defaults(run=run_ask)


class InferenceError(MrmllmError):
    """Inference failed on an image."""


@dataclass
class _Failures:
    """Prints and counts the images or questions without a result.

    Attributes:
        noun: Plural of what is counted.
        counts: Number of failures by failed action.
    """

    noun: str
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, action: str, error: Exception) -> None:
        """Print and count a failure.

        Args:
            action: Participle of the failed action, such as `read`.
            error: Reason.
        """
        self.counts[action] += 1
        print_error(error)

    def exit_status(self, total: int) -> int:
        """Exit status for a total number of images or questions; prints the counts."""
        if not self.counts:
            return 0
        if total > 1:
            (action, count), *others = self.counts.items()
            line = f"{count} of {total} {self.noun} could not be {action}"
            print_error(line + "".join(f", {n} could not be {other}" for other, n in others))
        return PARTIAL if self.counts.total() < total else FAILED


@dataclass(frozen=True)
class _Input:
    """An image file, and the file of its annotated copy, if any."""

    path: Path
    save_to: Path | None = None


def run_detect(options: argparse.Namespace) -> int:
    """Print the objects in images batch by batch; images without a result are reported."""
    settings = _settings(options)
    failures = _Failures("images")
    inputs = [_Input(path) for path in _image_paths(options.image, failures)]
    total = len(inputs) + failures.counts.total()
    if options.save:
        inputs = _with_targets(inputs, options.save)
    pipeline: Pipeline | None = None
    done = 0
    with ProgressLine(len(inputs), "images") as progress:
        images = _read_images(inputs, failures, progress)
        while batch := list(islice(images, settings.compute.batch_size)):
            # The models are loaded only if an image can be read.
            pipeline = pipeline or _load(settings, answers=False)
            _process_batch(batch, pipeline, options.json, failures, progress)
            done += len(batch)
            progress.show(done)
            # Free the images before the next ones are read.
            batch.clear()
    return failures.exit_status(total)


def run_ask(options: argparse.Namespace) -> int:
    """Print the answer to each question about an image during its generation."""
    from mrmllm_ros.detection.images import read_image

    image = read_image(options.image)
    pipeline = _load(_settings(options), answers=True)
    detections = pipeline.detect(image)
    failures = _Failures("questions")
    for argument in options.questions:
        # Replace bytes that are not UTF-8.
        question = os.fsencode(argument).decode("utf-8", errors="replace")
        try:
            _ask(pipeline, detections, question, options.json)
        except MrmllmError as error:
            failures.add("answered", error)
    return failures.exit_status(len(options.questions))


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def _settings(options: argparse.Namespace) -> Settings:
    limit = options.max_new_tokens
    return model_settings(options, {} if limit is None else {"question.max_new_tokens": limit})


def _load(settings: Settings, answers: bool) -> Pipeline:
    # Imports PyTorch, which unusable images need not wait for.
    from mrmllm_ros.pipeline import Pipeline

    return Pipeline.load(settings, answers)


def _image_paths(paths: Sequence[Path], failures: _Failures) -> Iterator[Path]:
    """Files among the paths, and the images in folders among them."""
    from mrmllm_ros.detection.images import ImageError
    from mrmllm_ros.detection.playback import image_files

    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        try:
            yield from image_files(path)
        except ImageError as error:
            failures.add("read", error)


def _with_targets(inputs: Sequence[_Input], save: Path) -> list[_Input]:
    """Add the files of the annotated images.

    Raises:
        SettingsError: If `save` is a file for several images, or an image would be overwritten.
        OutputError: If the folder is not writable.
    """
    from mrmllm_ros.detection.playback import IMAGE_SUFFIXES

    if save.suffix and not os.path.isdir(save):
        if len(inputs) > 1:
            raise SettingsError(f"--save {save} is a file for {len(inputs)} images; name a folder")
        if not os.path.isdir(save.parent):
            raise SettingsError(f"--save: the folder {save.parent} does not exist; create it")
        return [_Input(item.path, save) for item in inputs]
    make_folder(save)
    originals = {os.path.realpath(item.path) for item in inputs}
    targets: dict[Path, Path] = {}
    for number, item in enumerate(inputs, start=1):
        suffix = item.path.suffix
        target = save / f"{item.path.stem}{suffix if suffix.lower() in IMAGE_SUFFIXES else '.png'}"
        # Files in several folders may have the same name.
        while target in targets:
            target = target.with_stem(f"{target.stem}_{number}")
        if os.path.realpath(target) in originals:
            raise SettingsError(f"--save {save} would overwrite {target}; name another folder")
        targets[target] = item.path
    return [_Input(path, target) for target, path in targets.items()]


def _read_images(
    inputs: Iterable[_Input], failures: _Failures, progress: ProgressLine
) -> Iterator[tuple[_Input, np.ndarray]]:
    from mrmllm_ros.detection.images import ImageError, read_image

    for item in inputs:
        try:
            image = read_image(item.path)
        except ImageError as error:
            progress.clear()
            failures.add("read", error)
            continue
        yield item, image


def _process_batch(
    batch: Sequence[tuple[_Input, np.ndarray]],
    pipeline: Pipeline,
    as_json: bool,
    failures: _Failures,
    progress: ProgressLine,
) -> None:
    """Detect objects, print them and save annotated images."""
    from mrmllm_ros.detection.images import ImageError

    results = _detect(batch, pipeline)
    progress.clear()
    for (item, image), detections in zip(batch, results, strict=True):
        if isinstance(detections, InferenceError):
            failures.add("processed", detections)
            continue
        if as_json:
            record = {"image": str(item.path), "detections": [d.to_dict() for d in detections]}
            print(json.dumps(record), flush=True)
        else:
            print(f"{item.path}:")
            _print_detections(detections)
        if item.save_to:
            try:
                _save(item.save_to, image, detections)
            except ImageError as error:
                failures.add("saved", error)


def _detect(
    batch: Sequence[tuple[_Input, np.ndarray]], pipeline: Pipeline
) -> list[ImageDetections | InferenceError]:
    """Detect objects in a batch; if that fails, in each image by itself."""
    try:
        return [*pipeline.detect_batch([image for _, image in batch])]
    # Libraries raise many types of exceptions.
    except Exception as error:
        if len(batch) > 1:
            return [result for item in batch for result in _detect([item], pipeline)]
        [(item, _)] = batch
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return [InferenceError(f"inference failed on {item.path}: {reason}")]


def _ask(pipeline: Pipeline, detections: ImageDetections, question: str, as_json: bool) -> None:
    if not as_json:
        print(f"Q: {question or '(describe)'}\nA: ", end="", flush=True)
    started = time.monotonic()
    first: float | None = None
    with pipeline.stream(detections, question) as stream:
        for text in stream:
            first = first or time.monotonic()
            if not as_json:
                print(text, end="", flush=True)
        answer = stream.answer
    ended = time.monotonic()
    latency_s = round(ended - started, 3)
    if as_json:
        record = {
            "question": question,
            "answer": answer.text,
            "cited": [detection.id for detection in answer.cited],
            "confidence": round(answer.confidence, 4),
            "tokens": answer.tokens,
            "truncated": answer.truncated,
            "detections": [detection.to_dict() for detection in detections],
            "time_to_first_token_s": round((first or ended) - started, 3),
            "latency_s": latency_s,
        }
        print(json.dumps(record), flush=True)
        return
    if answer.truncated:
        print("\n   (truncated; --max-new-tokens sets the maximum)", end="")
    print(f"\n   {latency_s:.2f} s, confidence {answer.confidence:.2f}, rests on:")
    _print_detections(answer.cited)


def _print_detections(detections: Sequence[Detection]) -> None:
    for detection in detections:
        print(f"   {detection}")
    if not detections:
        print("   nothing")
    sys.stdout.flush()


def _save(path: Path, image: np.ndarray, detections: ImageDetections) -> None:
    from mrmllm_ros.detection.annotation import draw_detections
    from mrmllm_ros.detection.captions import caption
    from mrmllm_ros.detection.images import save_image

    reported = detections.enriched.reported
    shown = detections.enriched.fused.take(reported)
    captions = map(caption, reported + 1, shown.labels, shown.scores)
    save_image(path, draw_detections(image, shown, list(captions)))
    print_progress(f"saved {path}")
