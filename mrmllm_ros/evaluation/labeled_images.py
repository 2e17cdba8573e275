# SPDX-License-Identifier: Apache-2.0
"""Real frames and photographs with boxes and questions made by hand, none of them trained on.

`labeled/instances.json` is in COCO's format, each image with its `source`; `labeled/
questions.jsonl` holds one question a line. The images themselves are not ours to ship: they come
from the sample videos and from the installed ultralytics.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mrmllm_ros.datasets.candidate_cache import compute_candidates
from mrmllm_ros.datasets.example import Example, QuestionAnswer, Truth
from mrmllm_ros.detection.colors import color_names
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.detection.images import read_image
from mrmllm_ros.detection.playback import frames
from mrmllm_ros.evaluation.average_precision import TrueObjects
from mrmllm_ros.evaluation.suite_result import EvaluationError
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.weights import locate

FOLDER = Path(__file__).parent / "labeled"
VIDEOS = {"vtest": "vtest.avi", "bikes": "bikes.mp4"}


@dataclass(frozen=True, eq=False)
class Annotations:
    """What was written down about the images.

    Attributes:
        images: C images, as COCO describes them, with `source` and `frame`.
        truth: The objects in each of them.
        questions: The questions about each of them.
        labels: Every label that was looked for.
    """

    images: tuple[Mapping[str, Any], ...]
    truth: tuple[TrueObjects, ...]
    questions: tuple[tuple[QuestionAnswer, ...], ...]
    labels: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path = FOLDER) -> Annotations:
        """Read the annotations.

        Args:
            folder: Holds `instances.json` and `questions.jsonl`.

        Raises:
            EvaluationError: If a file is missing or not as it should be.
        """
        try:
            instances = json.loads((folder / "instances.json").read_text(encoding="utf-8"))
            lines = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
            records = [json.loads(line) for line in lines if line.strip()]
            return cls._of(instances, records)
        except OSError as error:
            raise EvaluationError(f"the labeled images cannot be read: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise EvaluationError(f"the annotations in {folder} are damaged: {error}") from error

    @classmethod
    def _of(
        cls, instances: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
    ) -> Annotations:
        images = tuple(instances["images"])
        names = {each["id"]: each["name"] for each in instances["categories"]}
        unknown = {r["image"] for r in records} - {each["file_name"] for each in images}
        if unknown:
            raise ValueError(f"questions about images that are not there: {sorted(unknown)}")
        labels = tuple(names.values())
        return cls(
            images=images,
            truth=tuple(_true_objects(each, instances["annotations"], names) for each in images),
            questions=tuple(
                tuple(_question(r, labels) for r in records if r["image"] == each["file_name"])
                for each in images
            ),
            labels=labels,
        )

    @property
    def present(self) -> tuple[tuple[str, ...], ...]:
        """Labels of what is there in each image, crowds included."""
        return tuple(each.objects.labels for each in self.truth)


@dataclass(frozen=True, eq=False)
class LabeledImages:
    """The images and what is perceived in them.

    Attributes:
        annotations: What was written down about them.
        backbones: Perceive them.
    """

    annotations: Annotations
    backbones: Backbones

    @cached_property
    def examples(self) -> Sequence[Example]:
        """Each image with its questions.

        Raises:
            WeightsError: If a sample video is missing; names the command that fetches it.
            ImageError: If an image cannot be read.
            EvaluationError: If a video is shorter than the annotations say, or ultralytics is
                not installed.
        """
        detector, encoder = self.backbones.detector, self.backbones.visual_encoder
        perceived = compute_candidates(self._images, detector, encoder)
        return [
            replace(example, questions=questions)
            for example, questions in zip(perceived, self.annotations.questions, strict=True)
        ]

    @cached_property
    def with_true_boxes(self) -> Sequence[Example]:
        """Each image with its questions and, in place of what the detector finds, what is there.

        Raises:
            WeightsError: As `examples`, as all others.
        """
        annotations = self.annotations
        return [
            _with_true_boxes(image, truth, questions)
            for image, truth, questions in zip(
                self._images, annotations.truth, annotations.questions, strict=True
            )
        ]

    @cached_property
    def _images(self) -> Sequence[np.ndarray]:
        return load_images(self.annotations.images)


def load_images(images: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
    """Read the images that annotations are about.

    Args:
        images: As COCO describes them, with `source` and `frame`.

    Returns:
        (H, W, 3) uint8 arrays in BGR order, in the same order.

    Raises:
        WeightsError: If a sample video is missing.
        ImageError: If an image cannot be read.
        EvaluationError: See `LabeledImages.examples`.
    """
    shown: dict[tuple[str, int], np.ndarray] = {}
    for source in VIDEOS:
        wanted = {each["frame"] for each in images if each["source"] == source}
        shown |= {(source, i): frame for i, frame in _frames(source, wanted).items()}
    return [
        shown[each["source"], each["frame"]]
        if each["source"] in VIDEOS
        else read_image(_assets() / each["file_name"])
        for each in images
    ]


def require_videos() -> None:
    """Check that the sample videos are there.

    Raises:
        WeightsError: If one is missing or damaged; names the command that fetches it.
    """
    for source in VIDEOS:
        locate(source)


def _frames(source: str, wanted: set[int]) -> dict[int, np.ndarray]:
    if not wanted:
        return {}
    path = locate(source) / VIDEOS[source]
    found: dict[int, np.ndarray] = {}
    for index, frame in enumerate(frames(path)):
        if index in wanted:
            found[index] = frame
        if len(found) == len(wanted):
            return found
    raise EvaluationError(f"{path} has no frames {sorted(wanted - set(found))}")


def _with_true_boxes(
    image: np.ndarray, truth: TrueObjects, questions: tuple[QuestionAnswer, ...]
) -> Example:
    """Without features and tokens of the image, like a made-up scene: no detector gave them.

    And without crowds, whose box is no object's.
    """
    objects = truth.objects.take(np.flatnonzero(~truth.crowd))
    perception = Perception.ranked(objects, 0.5)
    return Example(
        perception=perception,
        attributes=color_names(image, perception.candidates),
        questions=questions,
    )


def _assets() -> Path:
    # Found without importing it: it is AGPL-3.0 and loaded only where it is chosen.
    package = importlib.util.find_spec("ultralytics")
    if package is None or not package.submodule_search_locations:
        raise EvaluationError("the photographs of the labeled images come with ultralytics")
    return Path(package.submodule_search_locations[0]) / "assets"


def _true_objects(
    image: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]], names: Mapping[int, str]
) -> TrueObjects:
    of_image = [each for each in annotations if each["image_id"] == image["id"]]
    boxes = np.array([each["bbox"] for each in of_image], np.float32).reshape(-1, 4)
    objects = Detections(
        xyxy=np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]),
        scores=np.ones(len(of_image), np.float32),
        labels=tuple(names[each["category_id"]] for each in of_image),
        resolution_wh=(image["width"], image["height"]),
    )
    return TrueObjects(objects, np.array([bool(e.get("iscrowd")) for e in of_image], bool))


def _question(record: Mapping[str, Any], labels: Sequence[str]) -> QuestionAnswer:
    return QuestionAnswer(
        question=record["question"],
        answer=record["answer"],
        family=record["family"],
        truth=_truth(record["truth"], labels),
    )


def _truth(record: Mapping[str, Any], labels: Sequence[str]) -> Truth:
    known = {"polarity", "number", "mentions", "among", "unanswerable"}
    if set(record) - known:
        raise ValueError(f"a truth with unknown parts {sorted(set(record) - known)}")
    mentions = record.get("mentions")
    named = None if mentions is None else frozenset(mentions)
    among = frozenset(record.get("among") or ())
    if named is not None and not among:
        # Of labels all others count as wrong; of other words nobody knows which.
        among = frozenset(labels) if named <= frozenset(labels) else named
    return Truth(
        polarity=record.get("polarity"),
        number=record.get("number"),
        mentions=named,
        among=among,
        unanswerable=bool(record.get("unanswerable", False)),
    )
