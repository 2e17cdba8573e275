# SPDX-License-Identifier: Apache-2.0
"""Detections after fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mrmllm_ros.detection.detections import Attribute, Detections
from mrmllm_ros.detection.detector import Perception


def attribute_values(
    attributes: Sequence[Sequence[Attribute]],
) -> tuple[Mapping[str, str], ...]:
    """Values of each object's attributes by name."""
    return tuple({a.name: a.value for a in own} for own in attributes)


@dataclass(frozen=True, eq=False)
class EnrichedDetections:
    """Candidates of the detector before and after fusion, index by index.

    Attributes:
        fused: K objects with label, score and box after fusion; ids and track ids do not change.
        detector: The same K objects before fusion.
        reported: Ascending indices of the objects that are reported after fusion.
        novelty: (K,) float32, from 0 (familiar) to 1 (corner case).
        attributes: K tuples of attributes.

    Raises:
        ValueError: If lengths differ, an index is out of range or not in order, or a novelty is
            out of range.
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
            raise ValueError(
                f"{count} fused objects, but {others} in detector, novelty and attributes"
            )
        ascending = (np.diff(self.reported) > 0).all()
        if not (ascending and np.isin(self.reported, np.arange(count)).all()):
            raise ValueError(
                f"reported indices {self.reported} are not ascending indices of {count} objects"
            )
        within = (self.novelty >= 0) & (self.novelty <= 1)
        if within.shape != (count,) or not within.all():
            raise ValueError(f"novelty {self.novelty} is not {count} values between 0 and 1")

    @classmethod
    def unchanged(cls, perception: Perception) -> EnrichedDetections:
        """Detections without the fusion model: novelty 0."""
        return cls(
            fused=perception.candidates,
            detector=perception.before_label_fusion,
            reported=np.arange(perception.reported),
            novelty=np.zeros(len(perception.candidates), np.float32),
            attributes=perception.attributes,
        )

    def with_attributes(self, attributes: Sequence[tuple[Attribute, ...]]) -> EnrichedDetections:
        """Add attributes with names that an object does not have yet.

        Args:
            attributes: K tuples of attributes.
        """
        return replace(
            self,
            attributes=tuple(
                (*own, *(a for a in added if a.name not in {other.name for other in own}))
                for own, added in zip(self.attributes, attributes, strict=True)
            ),
        )
