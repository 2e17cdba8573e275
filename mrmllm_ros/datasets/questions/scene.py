# SPDX-License-Identifier: Apache-2.0
"""Scenes that questions are asked about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Perception
from mrmllm_ros.model import prompt


@dataclass(frozen=True, eq=False, kw_only=True)
class UnlistedObject:
    """True object that the prompt does not list.

    Attributes:
        label: Label.
        box: (4,) left, top, right, bottom, normalized by the image size.
        meters: Distance in meters; NaN if the scene states no distances.
        is_doubtful: Whether the prompt names it as a doubtful object.
    """

    label: str
    box: np.ndarray
    meters: float = np.nan
    is_doubtful: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Annotation:
    """Annotations of a scene beside the listed detections.

    Attributes:
        occlusion: (N,) share of each listed object that others hide, NaN if unknown.
        unlisted: True objects that the prompt does not list.
        wrong: Labels of listed objects that are not there.
        place: Kind of room, such as `kitchen`; empty if unknown.
    """

    occlusion: np.ndarray
    unlisted: tuple[UnlistedObject, ...] = ()
    wrong: tuple[str, ...] = ()
    place: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """Objects of an image as the prompt lists them; the object at index i has the id i + 1.

    Attributes:
        labels: N labels; empty for a listed object that is not asked about.
        boxes: (N, 4) left, top, right, bottom, normalized by the image size.
        attributes: Known attributes of each object by name: `color`, `state`.
        meters: (N,) distances in meters as the prompt states them, NaN if unknown; None if all are
            unknown.
        annotation: What is known beside the listed detections; None if answers follow from the
            list alone.
        doubtful: Labels of the doubtful objects by id, as the prompt states them.

    Raises:
        ValueError: If the parts have different lengths, or a doubtful object is a listed one.
    """

    labels: tuple[str, ...]
    boxes: np.ndarray
    attributes: tuple[Mapping[str, str], ...]
    meters: np.ndarray | None = None
    annotation: Annotation | None = None
    doubtful: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, detections: Detections, attributes: Sequence[Mapping[str, str]]) -> Scene:
        """Create the scene of listed detections without doubtful objects.

        Args:
            detections: N objects.
            attributes: Attributes of at least the first N objects.
        """
        boxes = detections.xyxy / np.tile(detections.resolution_wh, 2)
        return cls(
            labels=detections.labels,
            boxes=boxes.clip(0, 1),
            attributes=tuple(attributes[: len(detections)]),
            meters=prompt.distances(detections),
        )

    @classmethod
    def of_perception(
        cls, perception: Perception, attributes: Sequence[Mapping[str, str]]
    ) -> Scene:
        """Create the scene of the reported and doubtful objects of a perception.

        Args:
            perception: N reported objects, then others.
            attributes: Attributes of at least the first N objects.
        """
        return replace(
            cls.of(perception.detections, attributes),
            doubtful=perception.doubtful(prompt.PERHAPS_THRESHOLD),
        )

    def __post_init__(self) -> None:
        count = len(self.labels)
        if self.boxes.shape != (count, 4) or len(self.attributes) != count:
            raise ValueError(
                f"{count} labels, but boxes of shape {self.boxes.shape} and attributes of "
                f"{len(self.attributes)}"
            )
        if any(i <= count for i in self.doubtful):
            raise ValueError(f"{count} listed objects, but doubtful ones {dict(self.doubtful)}")
        if self.annotation is not None and self.annotation.occlusion.shape != (count,):
            raise ValueError(
                f"{count} labels, but occlusion of shape {self.annotation.occlusion.shape}"
            )
