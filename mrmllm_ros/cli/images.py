# SPDX-License-Identifier: Apache-2.0
"""`mrmllm detect` and `mrmllm ask`: image files, no ROS."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrmllm_ros.cli.settings import add_model_options, model_settings
from mrmllm_ros.settings import SettingsError

if TYPE_CHECKING:
    import numpy as np

    from mrmllm_ros.engine.models import Settings
    from mrmllm_ros.model.answerer import Answerer, Question, Reading
    from mrmllm_ros.perception.enriched_detections import EnrichedDetections


def add_parser(subparsers: Any) -> None:
    """Register both commands."""
    detect = subparsers.add_parser("detect", help="find the objects in images")
    detect.add_argument(
        "--image", required=True, nargs="+", type=Path, metavar="FILE", help="image files"
    )
    _add_options(detect)
    detect.add_argument(
        "--save", type=Path, metavar="FILE", help="save the annotated image (of one image)"
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


def run_detect(options: argparse.Namespace) -> int:
    """Print the objects in images: after fusion where there is a checkpoint."""
    if options.save and len(options.image) > 1:
        raise SettingsError("--save takes one image; leave out the others")
    from mrmllm_ros.perception.images import read_image

    images = [read_image(path) for path in options.image]
    settings = _settings(options)
    detect = _detection(settings)
    size = settings.compute.batch_size
    for start in range(0, len(images), size):
        batch = slice(start, start + size)
        for path, image, detections in zip(
            options.image[batch], images[batch], detect(images[batch]), strict=True
        ):
            _report(path, detections, options.json)
            if options.save:
                _save(options.save, image, detections)
    return 0


def run_ask(options: argparse.Namespace) -> int:
    """Print the answer to each question about an image, while it is generated."""
    from mrmllm_ros.perception.images import read_image

    image = read_image(options.image)
    settings = _settings(options)
    from mrmllm_ros.engine.models import Models
    from mrmllm_ros.model.answerer import Question
    from mrmllm_ros.model.generation import Decoding

    models = Models.load(settings)
    perceptions = models.detector.detect([image])
    [reading] = models.answerer.read([image], perceptions)
    asked = settings.question
    for text in options.questions:
        question = Question(text, Decoding(asked.max_new_tokens, asked.temperature))
        _ask(models.answerer, reading, question, options.json)
    return 0


def detections_to_json(
    detections: EnrichedDetections, indices: Iterable[int]
) -> list[dict[str, Any]]:
    """The objects at these positions as they stand in the commands' JSON.

    Returns:
        `id`, `label`, `score`, `xyxy` in pixels, `detector_label`, `detector_score`, `novelty`,
        `attributes` by name.
    """
    fused, detector = detections.fused, detections.detector
    return [
        {
            "id": i + 1,
            "label": fused.labels[i],
            "score": round(float(fused.scores[i]), 4),
            "xyxy": [round(float(v), 1) for v in fused.xyxy[i]],
            "detector_label": detector.labels[i],
            "detector_score": round(float(detector.scores[i]), 4),
            "novelty": round(float(detections.novelty[i]), 4),
            "attributes": {a.name: a.value for a in detections.attributes[i]},
        }
        for i in indices
    ]


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def _settings(options: argparse.Namespace) -> Settings:
    limit = options.max_new_tokens
    return model_settings(options, {"question.max_new_tokens": limit} if limit else {})


def _detection(settings: Settings) -> Callable[[list[np.ndarray]], list[EnrichedDetections]]:
    """What detects: the fusion model where there is a checkpoint, else the detector alone."""
    from mrmllm_ros.perception.enriched_detections import EnrichedDetections

    if settings.trained.checkpoint:
        from mrmllm_ros.engine.models import Models

        models = Models.load(settings)
        detector, read = models.detector, models.answerer.read
        return lambda images: [r.enriched for r in read(images, detector.detect(images))]
    from mrmllm_ros.compute import Compute
    from mrmllm_ros.perception.colour import with_colours
    from mrmllm_ros.perception.detector import load_detector

    detector = load_detector(settings.detector, Compute.from_settings(settings.compute))
    return lambda images: [
        with_colours(EnrichedDetections.unchanged(perception), image)
        for image, perception in zip(images, detector.detect(images), strict=True)
    ]


def _report(path: Path, detections: EnrichedDetections, as_json: bool) -> None:
    records = detections_to_json(detections, detections.reported.tolist())
    if as_json:
        print(json.dumps({"image": str(path), "detections": records}), flush=True)
    else:
        print(f"{path}:")
        _print_detections(records)


def _ask(answerer: Answerer, reading: Reading, question: Question, as_json: bool) -> None:
    from mrmllm_ros.model.generation import Listener

    started = time.monotonic()
    first: list[float] = []

    def on_text(text: str) -> None:
        if not first:
            first.append(time.monotonic())
        if not as_json:
            print(text, end="", flush=True)

    if not as_json:
        print(f"Q: {question.text or '(describe)'}\nA: ", end="", flush=True)
    answer = answerer.answer(reading, question, Listener(on_text, lambda: False))
    ended = time.monotonic()
    times = {
        "time_to_first_token_s": round((first[0] if first else ended) - started, 3),
        "latency_s": round(ended - started, 3),
    }
    enriched = reading.enriched
    if as_json:
        record = {
            "question": question.text,
            "answer": answer.text,
            "cited": list(answer.cited),
            "confidence": round(answer.confidence, 4),
            "tokens": answer.tokens,
            "truncated": answer.truncated,
            "detections": detections_to_json(enriched, enriched.reported.tolist()),
            **times,
        }
        print(json.dumps(record), flush=True)
        return
    if answer.truncated:
        print("\n   (cut here: --max-new-tokens allows more)", end="")
    print(f"\n   {times['latency_s']:.2f} s, confidence {answer.confidence:.2f}, rests on:")
    _print_detections(detections_to_json(enriched, [i - 1 for i in answer.cited]))


def _print_detections(records: list[dict[str, Any]]) -> None:
    for record in records:
        box = ", ".join(f"{value:.0f}" for value in record["xyxy"])
        print(f"   [{record['id']}] {record['label']} {record['score']:.2f} ({box})")
    if not records:
        print("   nothing")


def _save(path: Path, image: np.ndarray, detections: EnrichedDetections) -> None:
    from mrmllm_ros.perception.annotation import draw_detections
    from mrmllm_ros.perception.images import save_image
    from mrmllm_ros.perception.legend import caption

    reported = detections.reported
    shown = detections.fused.take(reported)
    captions = map(caption, reported + 1, shown.labels, shown.scores)
    save_image(path, draw_detections(image, shown, list(captions)))
    print(f"saved {path}", file=sys.stderr)
