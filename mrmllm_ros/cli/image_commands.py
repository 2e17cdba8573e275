# SPDX-License-Identifier: Apache-2.0
"""`mrmllm detect` and `mrmllm ask`: image files, no ROS."""

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

from mrmllm_ros.cli.model_options import add_model_options, model_settings
from mrmllm_ros.cli.output import (
    FAILED,
    PARTLY,
    ProgressLine,
    make_folder,
    print_error,
    print_progress,
)
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.settings import SettingsError

if TYPE_CHECKING:
    import numpy as np

    from mrmllm_ros.detection.enriched_detections import EnrichedDetections
    from mrmllm_ros.engine.models import Settings
    from mrmllm_ros.pipeline import Detection, ImageDetections, Pipeline


def add_parser(subparsers: Any) -> None:
    """Register both commands."""
    detect = subparsers.add_parser("detect", help="find the objects in images")
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
        help="save the annotated image as this file; of several images, into this folder",
    )
    detect.set_defaults(run=run_detect, max_new_tokens=None)
    ask = subparsers.add_parser("ask", help="ask questions about an image")
    ask.add_argument("--image", required=True, type=Path, metavar="FILE", help="image file")
    _add_options(ask)
    ask.add_argument(
        "questions", nargs="+", metavar="QUESTION", help='"" asks for a description of the scene'
    )
    ask.add_argument("--max-new-tokens", type=int, metavar="N", help="longest answer in tokens")
    ask.set_defaults(run=run_ask)


class DetectionError(MrmllmError):
    """Inference fails on an image; the message names the image and the reason."""


@dataclass
class _Failures:
    """Images or questions without a result: each is named at once, all are counted.

    Attributes:
        noun: Name of what is counted, in the plural.
        counts: Number of failures by what could not be done.
    """

    noun: str
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, done: str, error: Exception) -> None:
        """Count a failure and print its reason.

        Args:
            done: What could not be done, such as `read`.
            error: Why not.
        """
        self.counts[done] += 1
        print_error(error)

    def close(self, total: int) -> int:
        """Print a closing line, if there is more to it than one failure of one; exit status."""
        if not self.counts:
            return 0
        if total > 1:
            (done, count), *others = self.counts.items()
            line = f"{count} of {total} {self.noun} could not be {done}"
            print_error(line + "".join(f", {n} could not be {done}" for done, n in others))
        return PARTLY if self.counts.total() < total else FAILED


@dataclass(frozen=True)
class _Input:
    """An image file, and where its annotated copy goes, if anywhere."""

    path: Path
    save_to: Path | None = None


def run_detect(options: argparse.Namespace) -> int:
    """Print the objects in images: after fusion where there is a checkpoint.

    Images are read, looked at and reported batch by batch. One that gives no result is named, and
    the others go on.
    """
    settings = _settings(options)
    failures = _Failures("images")
    inputs = [_Input(path) for path in _image_paths(options.image, failures)]
    total = len(inputs) + failures.counts.total()
    if options.save:
        inputs = _with_targets(inputs, options.save)
    pipeline: Pipeline | None = None
    done = 0
    with ProgressLine(len(inputs), "images") as progress:
        images = _readable(inputs, failures, progress)
        while batch := list(islice(images, settings.compute.batch_size)):
            # Not before: where no image can be read, nobody waits for the models.
            pipeline = pipeline or _load(settings, answers=False)
            _run_batch(batch, pipeline, options.json, failures, progress)
            done += len(batch)
            progress.show(done)
            # Given up before the next images are read.
            batch.clear()
    return failures.close(total)


def run_ask(options: argparse.Namespace) -> int:
    """Print the answer to each question about an image, while it is generated."""
    from mrmllm_ros.detection.images import read_image

    image = read_image(options.image)
    pipeline = _load(_settings(options), answers=True)
    detections = pipeline.detect(image)
    failures = _Failures("questions")
    for question in map(_as_unicode, options.questions):
        try:
            _ask(pipeline, detections, question, options.json)
        except MrmllmError as error:
            failures.add("answered", error)
    return failures.close(len(options.questions))


def detections_to_json(
    detections: EnrichedDetections, indices: Iterable[int]
) -> list[dict[str, Any]]:
    """The objects at these positions as they stand in the commands' JSON.

    Returns:
        `id`, `label`, `score`, `xyxy` in pixels, `detector_label`, `detector_score`, `novelty`,
        `attributes` by name.
    """
    from mrmllm_ros.pipeline import Detection

    return [_record(Detection.of(detections, index)) for index in indices]


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def _settings(options: argparse.Namespace) -> Settings:
    limit = options.max_new_tokens
    return model_settings(options, {} if limit is None else {"question.max_new_tokens": limit})


def _load(settings: Settings, answers: bool) -> Pipeline:
    # Here, so that an unusable image is named before PyTorch is loaded.
    from mrmllm_ros.pipeline import Pipeline

    return Pipeline.load(settings, answers)


def _record(detection: Detection) -> dict[str, Any]:
    return {
        "id": detection.id,
        "label": detection.label,
        "score": round(detection.score, 4),
        "xyxy": [round(value, 1) for value in detection.xyxy],
        "detector_label": detection.detector_label,
        "detector_score": round(detection.detector_score, 4),
        "novelty": round(detection.novelty, 4),
        "attributes": {a.name: a.value for a in detection.attributes.values()},
    }


def _as_unicode(argument: str) -> str:
    """An argument of the command line as text; bytes in it that are not UTF-8 become U+FFFD."""
    return os.fsencode(argument).decode("utf-8", errors="replace")


def _image_paths(paths: Sequence[Path], failures: _Failures) -> Iterator[Path]:
    """The files among paths, and those in the folders among them."""
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
    """Inputs with the file that each annotated image goes to.

    Raises:
        SettingsError: If `save` is a file for several images, or an image would be overwritten.
        OutputError: If the folder cannot be written to.
    """
    from mrmllm_ros.detection.playback import IMAGE_SUFFIXES

    if save.suffix and not os.path.isdir(save):
        if len(inputs) > 1:
            raise SettingsError(
                f"--save takes one image as the file {save}, and there are {len(inputs)}; name a "
                "folder"
            )
        if not os.path.isdir(save.parent):
            raise SettingsError(f"--save: there is no folder {save.parent}; make it first")
        return [_Input(each.path, save) for each in inputs]
    make_folder(save)
    originals = {os.path.realpath(each.path) for each in inputs}
    targets: dict[Path, Path] = {}
    for number, each in enumerate(inputs, start=1):
        suffix = each.path.suffix
        target = save / f"{each.path.stem}{suffix if suffix.lower() in IMAGE_SUFFIXES else '.png'}"
        # Of one name in several folders, or given twice.
        while target in targets:
            target = target.with_stem(f"{target.stem}_{number}")
        if os.path.realpath(target) in originals:
            raise SettingsError(f"--save {save} would overwrite {target}; name another folder")
        targets[target] = each.path
    return [_Input(path, target) for target, path in targets.items()]


def _readable(
    inputs: Iterable[_Input], failures: _Failures, progress: ProgressLine
) -> Iterator[tuple[_Input, np.ndarray]]:
    from mrmllm_ros.detection.images import ImageError, read_image

    for each in inputs:
        try:
            image = read_image(each.path)
        except ImageError as error:
            progress.clear()
            failures.add("read", error)
            continue
        yield each, image


def _run_batch(
    batch: Sequence[tuple[_Input, np.ndarray]],
    pipeline: Pipeline,
    as_json: bool,
    failures: _Failures,
    progress: ProgressLine,
) -> None:
    """Detect, print and save."""
    from mrmllm_ros.detection.images import ImageError

    results = _detected(batch, pipeline)
    progress.clear()
    for (each, image), detections in zip(batch, results, strict=True):
        if isinstance(detections, MrmllmError):
            failures.add("looked at", detections)
            continue
        _report(each.path, detections, as_json)
        if each.save_to:
            try:
                _save(each.save_to, image, detections)
            except ImageError as error:
                failures.add("saved", error)


def _detected(
    batch: Sequence[tuple[_Input, np.ndarray]], pipeline: Pipeline
) -> list[ImageDetections | DetectionError]:
    """The objects in each image, or why there is no result."""
    try:
        return [*pipeline.detect_batch([image for _, image in batch])]
    # Libraries raise all kinds of errors, and one image must not cost the others their results.
    except Exception as error:
        if len(batch) > 1:
            return [found for each in batch for found in _detected([each], pipeline)]
        [(each, _)] = batch
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return [DetectionError(f"inference failed on {each.path}: {reason}")]


def _report(path: Path, detections: ImageDetections, as_json: bool) -> None:
    records = [_record(detection) for detection in detections]
    if as_json:
        print(json.dumps({"image": str(path), "detections": records}), flush=True)
    else:
        print(f"{path}:")
        _print_detections(records)
        sys.stdout.flush()


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
    times = {
        "time_to_first_token_s": round((first or ended) - started, 3),
        "latency_s": round(ended - started, 3),
    }
    if as_json:
        record = {
            "question": question,
            "answer": answer.text,
            "cited": [detection.id for detection in answer.cited],
            "confidence": round(answer.confidence, 4),
            "tokens": answer.tokens,
            "truncated": answer.truncated,
            "detections": [_record(detection) for detection in detections],
            **times,
        }
        print(json.dumps(record), flush=True)
        return
    if answer.truncated:
        print("\n   (cut here: --max-new-tokens allows more)", end="")
    print(f"\n   {times['latency_s']:.2f} s, confidence {answer.confidence:.2f}, rests on:")
    _print_detections([_record(detection) for detection in answer.cited])


def _print_detections(records: list[dict[str, Any]]) -> None:
    for record in records:
        box = ", ".join(f"{value:.0f}" for value in record["xyxy"])
        print(f"   [{record['id']}] {record['label']} {record['score']:.2f} ({box})")
    if not records:
        print("   nothing")


def _save(path: Path, image: np.ndarray, detections: ImageDetections) -> None:
    from mrmllm_ros.detection.annotation import draw_detections
    from mrmllm_ros.detection.captions import caption
    from mrmllm_ros.detection.images import save_image

    reported = detections.enriched.reported
    shown = detections.enriched.fused.take(reported)
    captions = map(caption, reported + 1, shown.labels, shown.scores)
    save_image(path, draw_detections(image, shown, list(captions)))
    print_progress(f"saved {path}")
