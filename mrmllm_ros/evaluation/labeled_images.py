# SPDX-License-Identifier: Apache-2.0
"""Labeled frames and photographs with questions, none of them used in training.

Two sets: `labeled` (frames of the sample videos, photographs of the installed ultralytics) and
`photographs` (sample photographs, half for tuning and half for evaluation). In each folder,
`instances.json` is in COCO's format, each image with its `source`, and `questions.jsonl` has one
question a line. The images are not part of the package.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mrmllm_ros.datasets.candidate_cache import compute_candidates
from mrmllm_ros.datasets.coco import read_coco
from mrmllm_ros.datasets.data_errors import DataError
from mrmllm_ros.datasets.example import Example, QuestionAnswer
from mrmllm_ros.datasets.question_files import QuestionRecord, parse_questions
from mrmllm_ros.detection.colors import color_names
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.detection.images import read_image
from mrmllm_ros.detection.playback import frames
from mrmllm_ros.evaluation.average_precision import TrueObjects
from mrmllm_ros.evaluation.suite_result import EvaluationError
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.label_fusion import LabelFusion
from mrmllm_ros.weights import locate

FOLDER = Path(__file__).parent / "labeled"
PHOTOGRAPHS = Path(__file__).parent / "photographs"
ULTRALYTICS = "ultralytics"
VIDEOS = {"vtest": "vtest.avi", "bikes": "bikes.mp4"}


@dataclass(frozen=True, eq=False)
class Annotations:
    """Annotations of the images.

    Attributes:
        images: COCO entries of C images, with `source`, and `frame` for videos.
        truth: Objects of each image.
        questions: Questions about each image.
        labels: All annotated labels.
    """

    images: tuple[Mapping[str, Any], ...]
    truth: tuple[TrueObjects, ...]
    questions: tuple[tuple[QuestionAnswer, ...], ...]
    labels: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path = FOLDER, split: str | None = None) -> Annotations:
        """Read the annotations.

        Args:
            folder: Folder of `instances.json` and `questions.jsonl`.
            split: Keep only images of this split, `tuning` or `evaluation`; None keeps all.

        Raises:
            EvaluationError: If a file is missing or wrong.
        """
        try:
            dataset = read_coco(None, folder / "instances.json")
            records = parse_questions(folder / "questions.jsonl")
        except DataError as error:
            raise EvaluationError(f"the labeled images cannot be read: {error}") from error
        by_image: dict[Path, list[QuestionAnswer]] = {
            folder / image.name: [] for image in dataset.images
        }
        for record in records:
            if record.image not in by_image:
                raise EvaluationError(
                    f"{record.where}: instances.json has no image {record.image.name!r}"
                )
            by_image[record.image].append(_question(record, dataset.labels))
        images = [x for x in dataset.images if split is None or x.entry.get("split") == split]
        return cls(
            images=tuple(image.entry for image in images),
            truth=tuple(TrueObjects(image.objects, image.crowd) for image in images),
            questions=tuple(tuple(by_image[folder / image.name]) for image in images),
            labels=dataset.labels,
        )

    @property
    def present(self) -> tuple[tuple[str, ...], ...]:
        """Labels of the objects in each image, crowds included."""
        return tuple(each.objects.labels for each in self.truth)


@dataclass(frozen=True, eq=False)
class LabeledImages:
    """The images with candidates and features.

    Attributes:
        annotations: Annotations of the images.
        backbones: Detector and visual encoder.
        name: Name of the set, for the names of its suites.
        label_fusion: Names the regions of the candidates; None for no names.
    """

    annotations: Annotations
    backbones: Backbones
    name: str = "labeled"
    label_fusion: LabelFusion | None = None

    @cached_property
    def examples(self) -> Sequence[Example]:
        """Each image with its questions.

        Raises:
            WeightsError: If a sample is missing; names the command that fetches it.
            ImageError: If an image cannot be read.
            EvaluationError: If a video has too few frames, or ultralytics is not installed.
        """
        detector, encoder = self.backbones.detector, self.backbones.visual_encoder
        examples = compute_candidates(self._images, detector, encoder, self.label_fusion)
        return [
            replace(example, questions=questions)
            for example, questions in zip(examples, self.annotations.questions, strict=True)
        ]

    @property
    def truth(self) -> Sequence[TrueObjects]:
        """True objects of each image."""
        return self.annotations.truth

    @property
    def file_names(self) -> Sequence[str]:
        """File name of each image."""
        return [each["file_name"] for each in self.annotations.images]

    def image(self, index: int) -> np.ndarray:
        """Return an image: (H, W, 3) uint8 in BGR order."""
        return self._images[index]

    @cached_property
    def with_true_boxes(self) -> Sequence[Example]:
        """Each image with its questions, and the true objects in place of detections.

        Raises:
            WeightsError, ImageError, EvaluationError: See `examples`.
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
    """Read annotated images.

    Args:
        images: COCO entries with `source`, and `frame` for videos.

    Returns:
        (H, W, 3) uint8 arrays in BGR order, in the same order.

    Raises:
        WeightsError: If a sample is missing.
        ImageError: If an image cannot be read.
        EvaluationError: See `LabeledImages.examples`.
    """
    video_frames: dict[tuple[str, int], np.ndarray] = {}
    for source in VIDEOS:
        indices = {each["frame"] for each in images if each["source"] == source}
        video_frames |= {(source, i): frame for i, frame in _frames(source, indices).items()}
    sources = {each["source"] for each in images} - set(VIDEOS)
    folders = {
        source: _assets() if source == ULTRALYTICS else locate(source) for source in sources
    }
    return [
        video_frames[each["source"], each["frame"]]
        if each["source"] in VIDEOS
        else read_image(folders[each["source"]] / each["file_name"])
        for each in images
    ]


def require_samples_of(annotations: Annotations) -> None:
    """Check that the sample videos and photographs of annotations are available.

    Raises:
        WeightsError: If one is missing or damaged; names the command that fetches it.
    """
    for source in sorted({each["source"] for each in annotations.images} - {ULTRALYTICS}):
        locate(source)


def _frames(source: str, indices: set[int]) -> dict[int, np.ndarray]:
    if not indices:
        return {}
    path = locate(source) / VIDEOS[source]
    found: dict[int, np.ndarray] = {}
    for index, frame in enumerate(frames(path)):
        if index in indices:
            found[index] = frame
        if len(found) == len(indices):
            return found
    raise EvaluationError(f"{path} has no frames {sorted(indices - set(found))}")


def _with_true_boxes(
    image: np.ndarray, truth: TrueObjects, questions: tuple[QuestionAnswer, ...]
) -> Example:
    """Example of the true objects, without crowds, features and image tokens."""
    objects = truth.objects.take(np.flatnonzero(~truth.crowd))
    perception = Perception.ranked(objects, 0.5)
    return Example(
        perception=perception,
        attributes=color_names(image, perception.candidates),
        questions=questions,
    )


def _assets() -> Path:
    # Not imported: ultralytics is AGPL-3.0 and is loaded only if chosen.
    package = importlib.util.find_spec("ultralytics")
    if package is None or not package.submodule_search_locations:
        raise EvaluationError(
            "the labeled photographs are part of ultralytics, which is missing; install it"
        )
    return Path(package.submodule_search_locations[0]) / "assets"


def _question(record: QuestionRecord, labels: Sequence[str]) -> QuestionAnswer:
    truth = record.truth
    if not truth.is_scorable:
        raise EvaluationError(f"{record.where} has no truth")
    if (
        truth.mentions is not None
        and truth.among == truth.mentions
        and truth.mentions <= {*labels}
    ):
        # All other labels in an answer are wrong; for other words, that is unknown.
        truth = replace(truth, among=frozenset(labels))
    return QuestionAnswer(
        question=record.question, answer=record.answer, family=record.family, truth=truth
    )
