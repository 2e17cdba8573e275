# SPDX-License-Identifier: Apache-2.0
"""Rendered scenes with exact truth: objects, occlusion, colors, distances and places.

The folder is that of `mrmllm scenes render`: `annotations.json` in COCO's format with more fields,
and the images that it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mrmllm_ros.datasets.candidate_cache import compute_candidates
from mrmllm_ros.datasets.coco import CocoImage, read_coco
from mrmllm_ros.datasets.data_errors import DataError
from mrmllm_ros.datasets.example import Example
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.images import read_image
from mrmllm_ros.detection.rgbd_frames import ANNOTATIONS
from mrmllm_ros.evaluation.average_precision import TrueObjects
from mrmllm_ros.evaluation.detection_statistics import ObjectGroup
from mrmllm_ros.evaluation.suite_result import EvaluationError
from mrmllm_ros.model.backbones import Backbones
from mrmllm_ros.model.label_fusion import LabelFusion

# Minimum (inclusive) and maximum (exclusive) area of boxes in square pixels, as in COCO.
AREA_RANGES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, np.inf)}
# Minimum (inclusive) and maximum (exclusive) share of an object that others hide.
OCCLUSIONS = {
    "occlusion below 0.1": (0, 0.1),
    "occlusion 0.1 to 0.5": (0.1, 0.5),
    "occlusion above 0.5": (0.5, np.inf),
}


@dataclass(frozen=True, eq=False)
class RenderedImage:
    """Truth about one image.

    Attributes:
        path: Image file.
        entry: The image's entry in the annotations file: `place`, `context`, `pair`.
        truth: N objects with distances, largest boxes first, as in a prompt. Objects with `ignore`
            need not be found.
        annotations: N entries of the objects in the annotations file.
        occlusions: (N,) share of each object that others hide; NaN for crowd regions.
    """

    path: Path
    entry: Mapping[str, Any]
    truth: TrueObjects
    annotations: tuple[Mapping[str, Any], ...]
    occlusions: np.ndarray

    @classmethod
    def of(cls, image: CocoImage) -> RenderedImage:
        """Convert an image with annotations.

        Raises:
            EvaluationError: If an object other than a crowd region has no occlusion.
        """
        order = np.argsort(-image.objects.areas, kind="stable")
        annotations = tuple(image.annotations[i] for i in order)
        distances = np.array([_distance(each) for each in annotations], np.float32)
        objects = replace(image.objects.take(order), distances_m=distances)
        ignored = np.array([bool(each.get("ignore")) for each in annotations], bool)
        truth = TrueObjects(objects, image.crowd[order], ignored)
        occlusions = np.array([_occlusion(image.name, each) for each in annotations], float)
        return cls(image.path, image.entry, truth, annotations, occlusions)

    @property
    def place(self) -> str:
        """Kind of room, such as `kitchen`; empty if unknown."""
        return str(self.entry.get("place") or "")

    @property
    def listed(self) -> Detections:
        """Objects that must be found."""
        return self.truth.objects.take(np.flatnonzero(self.truth.counted))

    @property
    def colors(self) -> tuple[Mapping[str, str], ...]:
        """Color of each of `listed`, under the key `color`; empty if unknown."""
        listed = [self.annotations[i] for i in np.flatnonzero(self.truth.counted)]
        return tuple({"color": each["color"]} if each.get("color") else {} for each in listed)


@dataclass(frozen=True, eq=False)
class RenderedScenes:
    """Truth about the images of a folder.

    Attributes:
        folder: The folder.
        images: C images.
        labels: All labels that are annotated.
    """

    folder: Path
    images: tuple[RenderedImage, ...]
    labels: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> RenderedScenes:
        """Read the annotations, and check that the images exist.

        Raises:
            EvaluationError: If the folder has no annotations, or they are wrong.
        """
        file = folder / ANNOTATIONS
        if not file.is_file():
            raise EvaluationError(
                f"there is no {file}; render scenes with `mrmllm scenes render --out {folder} "
                "--count 200 --split evaluation`"
            )
        try:
            dataset = read_coco(folder, file)
        except DataError as error:
            raise EvaluationError(f"the rendered scenes cannot be read: {error}") from error
        images = tuple(map(RenderedImage.of, dataset.images))
        return cls(folder, images, dataset.labels)

    @cached_property
    def groups(self) -> tuple[ObjectGroup, ...]:
        """Objects by size of the box, by occlusion and by place."""
        return (*self._sizes(), *self._occlusions(), *self._places())

    @property
    def places(self) -> tuple[str, ...]:
        """Places of the images, in alphabetical order."""
        return tuple(sorted({image.place for image in self.images} - {""}))

    def _sizes(self) -> Iterator[ObjectGroup]:
        for name, (low, high) in AREA_RANGES.items():
            areas = [image.truth.objects.areas for image in self.images]
            members = [(each >= low) & (each < high) for each in areas]
            yield ObjectGroup(name, members, area_range=(low, high))

    def _occlusions(self) -> Iterator[ObjectGroup]:
        occlusions = [image.occlusions for image in self.images]
        for name, (low, high) in OCCLUSIONS.items():
            yield ObjectGroup(name, [(each >= low) & (each < high) for each in occlusions])

    def _places(self) -> Iterator[ObjectGroup]:
        for place in self.places:
            chosen = np.array([image.place == place for image in self.images])
            members = [
                np.full(len(image.annotations), image.place == place) for image in self.images
            ]
            yield ObjectGroup(place, members, chosen)


@dataclass(frozen=True, eq=False)
class DetectedScenes:
    """Rendered scenes with the detector's candidates and features.

    Attributes:
        scenes: The scenes.
        backbones: Detector and visual encoder.
        label_fusion: Names the regions of the candidates; None for no names.
    """

    scenes: RenderedScenes
    backbones: Backbones
    label_fusion: LabelFusion | None = None

    @cached_property
    def examples(self) -> Sequence[Example]:
        """Candidates of each image, without questions.

        Raises:
            ImageError: If an image cannot be read.
        """
        detector, encoder = self.backbones.detector, self.backbones.visual_encoder
        images = map(self.image, range(len(self.scenes.images)))
        return list(compute_candidates(images, detector, encoder, self.label_fusion))

    @property
    def truth(self) -> Sequence[TrueObjects]:
        """True objects of each image."""
        return [image.truth for image in self.scenes.images]

    @property
    def file_names(self) -> Sequence[str]:
        """File name of each image."""
        return [image.entry["file_name"] for image in self.scenes.images]

    def image(self, index: int) -> np.ndarray:
        """Read an image: (H, W, 3) uint8 in BGR order.

        Raises:
            ImageError: If the image cannot be read.
        """
        return read_image(self.scenes.images[index].path)


def _distance(annotation: Mapping[str, Any]) -> float:
    """Meters, NaN if unknown."""
    value = annotation.get("distance")
    return float("nan") if value is None else float(value)


def _occlusion(image: str, annotation: Mapping[str, Any]) -> float:
    """Share of an object that others hide; NaN for a crowd region."""
    if annotation.get("iscrowd"):
        return float("nan")
    value = annotation.get("occlusion")
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise EvaluationError(
            f"annotation {annotation.get('id')} of {image} has the occlusion {value!r}; it must "
            "be from 0 to 1; use a folder of `mrmllm scenes render`"
        )
    return float(value)
