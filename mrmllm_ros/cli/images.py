# SPDX-License-Identifier: Apache-2.0
"""`mrmllm detect` and `mrmllm ask`: one image, no ROS."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrmllm_ros.settings import read_parameter_file

if TYPE_CHECKING:
    import numpy as np

    from mrmllm_ros.engine.models import Settings
    from mrmllm_ros.model.answerer import Answerer
    from mrmllm_ros.perception.detections import Detections
    from mrmllm_ros.perception.detector import Perception

NODE = "mrmllm_node"


def add_parser(subparsers: Any) -> None:
    """Register both commands."""
    detect = subparsers.add_parser("detect", help="find the objects in an image")
    _add_options(detect)
    detect.add_argument("--save", type=Path, metavar="FILE", help="save the annotated image")
    detect.set_defaults(run=run_detect, max_new_tokens=None)
    ask = subparsers.add_parser("ask", help="ask questions about an image")
    _add_options(ask)
    ask.add_argument(
        "questions", nargs="+", metavar="QUESTION", help='"" asks for a description of the scene'
    )
    ask.add_argument("--max-new-tokens", type=int, metavar="N", help="longest answer in tokens")
    ask.set_defaults(run=run_ask)


def run_detect(options: argparse.Namespace) -> int:
    """Print the objects in an image."""
    image, settings = _inputs(options)
    from mrmllm_ros.compute import Compute
    from mrmllm_ros.perception.detector import load_detector

    detector = load_detector(settings.detector, Compute.from_settings(settings.compute))
    [perception] = detector.detect([image])
    detections = perception.detections
    if options.json:
        print(json.dumps({"detections": detections_to_json(detections)}))
    else:
        print(f"{options.image}, by {detector.name}:")
        _print_detections(detections)
    if options.save:
        _save(options.save, image, detections)
    return 0


def run_ask(options: argparse.Namespace) -> int:
    """Print the answer to each question about an image, while it is generated."""
    image, settings = _inputs(options)
    from mrmllm_ros.engine.models import Models

    models = Models.load(settings)
    [perception] = models.detector.detect([image])
    max_new_tokens = settings.question.max_new_tokens
    for question in options.questions:
        _ask(models.answerer, image, perception, question, max_new_tokens, options.json)
    return 0


def detections_to_json(detections: Detections) -> list[dict[str, Any]]:
    """Objects as they stand in the commands' JSON: `id`, `label`, `score`, `xyxy` in pixels."""
    return [
        {
            "id": i,
            "label": label,
            "score": round(float(score), 4),
            "xyxy": [round(float(v), 1) for v in box],
        }
        for i, (label, score, box) in enumerate(
            zip(detections.labels, detections.scores, detections.xyxy, strict=True), start=1
        )
    ]


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", required=True, type=Path, metavar="FILE", help="image file")
    parser.add_argument(
        "--params-file",
        type=Path,
        metavar="FILE",
        help=f"ROS 2 parameter file of {NODE} that chooses the models (config/*.yaml)",
    )
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def _inputs(options: argparse.Namespace) -> tuple[np.ndarray, Settings]:
    """The image and the settings; both are checked before any model is loaded."""
    from mrmllm_ros.perception.images import read_image

    image = read_image(options.image)
    from mrmllm_ros.engine.models import Settings

    values = read_parameter_file(options.params_file, NODE) if options.params_file else {}
    # The file also holds what only the node knows, such as the camera's name.
    groups = {field.name for field in dataclasses.fields(Settings)}
    chosen = {name: value for name, value in values.items() if name.split(".")[0] in groups}
    if options.device:
        chosen["compute.device"] = options.device
    if options.max_new_tokens:
        chosen["question.max_new_tokens"] = options.max_new_tokens
    return image, Settings.from_dotted(chosen)


def _ask(
    answerer: Answerer,
    image: np.ndarray,
    perception: Perception,
    question: str,
    max_new_tokens: int,
    as_json: bool,
) -> None:
    from mrmllm_ros.model.answerer import Question

    started = time.monotonic()
    first: list[float] = []

    def on_text(text: str) -> None:
        if not first:
            first.append(time.monotonic())
        if not as_json:
            print(text, end="", flush=True)

    if not as_json:
        print(f"Q: {question or '(describe)'}\nA: ", end="", flush=True)
    answer = answerer.answer(
        image, perception, Question(question, max_new_tokens), on_text, lambda: False
    )
    ended = time.monotonic()
    times = {
        "time_to_first_token_s": round((first[0] if first else ended) - started, 3),
        "latency_s": round(ended - started, 3),
    }
    if as_json:
        record = {
            "question": question,
            "answer": answer.text,
            "cited": list(answer.cited),
            "confidence": round(answer.confidence, 4),
            "detections": detections_to_json(perception.detections),
            **times,
        }
        print(json.dumps(record), flush=True)
        return
    print(f"\n   {times['latency_s']:.2f} s, confidence {answer.confidence:.2f}, rests on:")
    _print_detections(perception.detections, answer.cited)


def _print_detections(detections: Detections, ids: tuple[int, ...] | None = None) -> None:
    records = [r for r in detections_to_json(detections) if ids is None or r["id"] in ids]
    for record in records:
        box = ", ".join(f"{value:.0f}" for value in record["xyxy"])
        print(f"   [{record['id']}] {record['label']} {record['score']:.2f} ({box})")
    if not records:
        print("   nothing")


def _save(path: Path, image: np.ndarray, detections: Detections) -> None:
    import cv2

    from mrmllm_ros.perception.annotation import draw_detections
    from mrmllm_ros.perception.images import ImageError

    try:
        saved = cv2.imwrite(str(path), draw_detections(image, detections))
    except cv2.error as error:
        raise ImageError(f"cannot save {path}: {error.err}") from error
    if not saved:
        raise ImageError(f"cannot save {path}: no such folder, or it may not be written")
    print(f"saved {path}", file=sys.stderr)
