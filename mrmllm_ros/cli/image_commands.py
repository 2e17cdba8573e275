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
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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

    from mrmllm_ros.engine.engine_settings import Settings
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


class _Failures(Counter[str]):
    """Counts images or questions without a result, by failed action (a participle)."""

    def add(self, action: str, error: Exception) -> None:
        """Print and count a failure."""
        self[action] += 1
        print_error(error)

    def exit_status(self, total: int, noun: str) -> int:
        """Exit status for a total number of images or questions; prints the counts."""
        if not self:
            return 0
        if total > 1:
            (action, count), *others = self.items()
            line = f"{count} of {total} {noun} could not be {action}"
            print_error(line + "".join(f", {n} could not be {other}" for other, n in others))
        return PARTIAL if self.total() < total else FAILED


class _Input(NamedTuple):
    """An image, its file, and the file of its annotated copy, if any."""

    path: Path
    image: np.ndarray
    target: Path | None


def run_detect(options: argparse.Namespace) -> int:
    """Print the objects in images batch by batch; images without a result are reported."""
    settings = _settings(options)
    failures = _Failures()
    paths = list(_image_paths(options.image, failures))
    total = len(paths) + failures.total()
    targets = _targets(paths, options.save) if options.save else [None] * len(paths)
    pipeline: Pipeline | None = None
    done = 0
    with ProgressLine(len(paths), "images") as progress:
        images = _read_images(zip(paths, targets, strict=True), failures, progress)
        while batch := list(islice(images, settings.compute.batch_size)):
            # The models are loaded only if an image can be read.
            pipeline = pipeline or _load(settings, answers=False)
            _process_batch(batch, pipeline, options.json, failures, progress)
            done += len(batch)
            progress.show(done)
            # Free the images before the next ones are read.
            batch.clear()
    return failures.exit_status(total, "images")


def run_ask(options: argparse.Namespace) -> int:
    """Print the answer to each question about an image during its generation."""
    from mrmllm_ros.detection.images import read_image

    image = read_image(options.image)
    pipeline = _load(_settings(options), answers=True)
    detections = pipeline.detect(image)
    failures = _Failures()
    for argument in options.questions:
        # Replace bytes that are not UTF-8.
        question = os.fsencode(argument).decode("utf-8", errors="replace")
        try:
            _ask(pipeline, detections, question, options.json)
        except MrmllmError as error:
            failures.add("answered", error)
    return failures.exit_status(len(options.questions), "questions")


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    parser.add_argument(
        "--context",
        metavar="TEXT",
        help='place where the image was taken, such as "a hospital corridor" (mrmllm.context)',
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def _settings(options: argparse.Namespace) -> Settings:
    values = {
        "question.max_new_tokens": options.max_new_tokens,
        "mrmllm.context": options.context,
    }
    given = {name: value for name, value in values.items() if value is not None}
    return model_settings(options, given)


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


def _targets(paths: Sequence[Path], save: Path) -> list[Path]:
    """Paths of the annotated images.

    Raises:
        SettingsError: If `save` is a file for several images, or an image would be overwritten.
        OutputError: If the folder is not writable.
    """
    from mrmllm_ros.detection.playback import IMAGE_SUFFIXES

    if save.suffix and not os.path.isdir(save):
        if len(paths) > 1:
            raise SettingsError(f"--save {save} is a file for {len(paths)} images; name a folder")
        if not os.path.isdir(save.parent):
            raise SettingsError(f"--save: the folder {save.parent} does not exist; create it")
        return [save] * len(paths)
    make_folder(save)
    originals = set(map(os.path.realpath, paths))
    targets: dict[Path, None] = {}
    for number, path in enumerate(paths, start=1):
        suffix = path.suffix if path.suffix.lower() in IMAGE_SUFFIXES else ".png"
        target = save / f"{path.stem}{suffix}"
        # Files in several folders may have the same name.
        while target in targets:
            target = target.with_stem(f"{target.stem}_{number}")
        if os.path.realpath(target) in originals:
            raise SettingsError(f"--save {save} would overwrite {target}; name another folder")
        targets[target] = None
    return list(targets)


def _read_images(
    files: Iterable[tuple[Path, Path | None]], failures: _Failures, progress: ProgressLine
) -> Iterator[_Input]:
    from mrmllm_ros.detection.images import ImageError, read_image

    for path, target in files:
        try:
            image = read_image(path)
        except ImageError as error:
            progress.clear()
            failures.add("read", error)
            continue
        yield _Input(path, image, target)


def _process_batch(
    batch: Sequence[_Input],
    pipeline: Pipeline,
    as_json: bool,
    failures: _Failures,
    progress: ProgressLine,
) -> None:
    """Detect objects, print them and save annotated images."""
    from mrmllm_ros.detection.images import ImageError

    results = _detect(batch, pipeline)
    progress.clear()
    for item, detections in zip(batch, results, strict=True):
        if isinstance(detections, InferenceError):
            failures.add("processed", detections)
            continue
        if as_json:
            record = {"image": str(item.path), "detections": [d.to_dict() for d in detections]}
            print(json.dumps(record), flush=True)
        else:
            print(f"{item.path}:")
            _print_detections(detections)
        if item.target:
            try:
                _save(item.target, item.image, detections)
            except ImageError as error:
                failures.add("saved", error)


def _detect(batch: Sequence[_Input], pipeline: Pipeline) -> list[ImageDetections | InferenceError]:
    """Detect objects in a batch; if that fails, in each image separately."""
    try:
        return [*pipeline.detect_batch([item.image for item in batch])]
    # Libraries raise many types of exceptions.
    except Exception as error:
        if len(batch) > 1:
            return [result for item in batch for result in _detect([item], pipeline)]
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return [InferenceError(f"inference failed on {batch[0].path}: {reason}")]


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
        # Answers may cite doubtful objects, which are not reported.
        named = {each.id: each for each in (*detections, *answer.cited)}
        record = {
            "question": question,
            "answer": answer.text,
            "cited": [detection.id for detection in answer.cited],
            "confidence": round(answer.confidence, 4),
            "tokens": answer.tokens,
            "truncated": answer.truncated,
            "detections": [named[i].to_dict() for i in sorted(named)],
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

    shown = detections.enriched.fused.take(detections.enriched.reported)
    captions = [caption(d.id, d.label, d.score, correction=d.correction) for d in detections]
    save_image(path, draw_detections(image, shown, captions))
    print_progress(f"saved {path}")
