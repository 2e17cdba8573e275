# SPDX-License-Identifier: Apache-2.0
"""What is known of the objects of one image once comprehension has looked at them too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.detector import Perception


@dataclass(frozen=True)
class Attribute:
    """A property of an object.

    Attributes:
        name: What it is about, such as `color`.
        value: Such as `red`.
        score: Confidence, 0 to 1.
    """

    name: str
    value: str
    score: float


def attribute_values(
    attributes: Sequence[Sequence[Attribute]],
) -> tuple[Mapping[str, str], ...]:
    """Values of the attributes of each object, by name."""
    return tuple({a.name: a.value for a in of_object} for of_object in attributes)


@dataclass(frozen=True, eq=False)
class EnrichedDetections:
    """The detector's candidates and what fusion makes of them, index by index.

    Attributes:
        fused: K objects with label, score and box after fusion; ids and track ids are those of the
            candidates.
        detector: The same objects as the detector gave them.
        reported: Indices of the objects that are reported after fusion, in ascending order.
        novelty: (K,) float32, 0 familiar to 1 corner case.
        attributes: K tuples of attributes.

    Raises:
        ValueError: If the parts are not about the same number of objects, the indices are none
            of theirs or not in order, or a novelty is out of range.
    """

    fused: Detections
    detector: Detections
    reported: np.ndarray
    novelty: np.ndarray
    attributes: tuple[tuple[Attribute, ...], ...]

    def __post_init__(self) -> None:
        count = len(self.fused)
        others = (len(self.detector), len(self.novelty), len(self.attributes))
        if set(others) != {count}:
            raise ValueError(f"{count} fused objects, but {others} in the other parts")
        ascending = (np.diff(self.reported) > 0).all()
        if not (ascending and np.isin(self.reported, np.arange(count)).all()):
            raise ValueError(
                f"reported indices {self.reported} are not ascending positions of {count} objects"
            )
        within = (self.novelty >= 0) & (self.novelty <= 1)
        if within.shape != (count,) or not within.all():
            raise ValueError(f"novelty {self.novelty} is not one of 0 to 1 for each object")

    @classmethod
    def unchanged(cls, perception: Perception) -> EnrichedDetections:
        """What the detector said."""
        count = len(perception.candidates)
        return cls(
            fused=perception.candidates,
            detector=perception.candidates,
            reported=np.arange(perception.reported),
            novelty=np.zeros(count, np.float32),
            attributes=((),) * count,
        )

    def with_attributes(self, attributes: Sequence[tuple[Attribute, ...]]) -> EnrichedDetections:
        """The same with attributes that were measured, where none of their names is said.

        Args:
            attributes: K tuples of attributes.
        """
        return replace(
            self,
            attributes=tuple(
                (*said, *(a for a in measured if a.name not in {other.name for other in said}))
                for said, measured in zip(self.attributes, attributes, strict=True)
            ),
        )
