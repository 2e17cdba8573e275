# SPDX-License-Identifier: Apache-2.0
"""Object statistics of each kind of room, from `places.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mrmllm_ros.datasets.rendered.model_map import Split

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Item:
    """Objects of one purpose in a kind of room.

    Attributes:
        nouns: Relative frequencies of nouns.
        count: Smallest and largest number of objects.
        probability: Probability that a room has any of them.
        same: Whether all are the same model.

    Raises:
        ValueError: If a frequency is not positive, or a range or a probability is wrong.
    """

    nouns: Mapping[str, float]
    count: tuple[int, int] = (1, 1)
    probability: float = 1.0
    same: bool = False

    def __post_init__(self) -> None:
        if not self.nouns or min(self.nouns.values()) <= 0:
            raise ValueError(f"nouns {dict(self.nouns)}: frequencies must be above 0")
        if not 0 <= self.count[0] <= self.count[1]:
            raise ValueError(f"count {self.count}: must be [smallest, largest]")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability {self.probability}: must be from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A kind of room.

    Attributes:
        name: Name, such as `kitchen`.
        room: Ranges of width, depth and height in meters.
        camera_height: Range in meters above the floor.
        camera_pitch: Range in degrees above the horizon.
        items: What stands in it.
    """

    name: str
    room: tuple[Range, Range, Range]
    camera_height: Range
    camera_pitch: Range
    items: tuple[Item, ...]


@cache
def places(split: Split) -> tuple[Place, ...]:
    """Kinds of rooms with the statistics of a split.

    Training and tuning share their statistics; those of evaluation differ.

    Raises:
        ValueError: If the file is wrong; names the place.
    """
    content = yaml.safe_load(Path(__file__).with_name("places.yaml").read_text("utf-8"))
    return tuple(
        _place(name, values, split == "evaluation") for name, values in content["places"].items()
    )


def _place(name: str, values: Mapping[str, Any], evaluation: bool) -> Place:
    try:
        items = {key: Item(**_tuples(item)) for key, item in values["items"].items()}
        if evaluation:
            for key, changes in values.get("evaluation", {}).items():
                items[key] = replace(items[key], **_tuples(changes))
        return Place(
            name=name,
            room=tuple(tuple(limits) for limits in values["room"]),
            camera_height=tuple(values["camera_height"]),
            camera_pitch=tuple(values["camera_pitch"]),
            items=tuple(items.values()),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"places.yaml: {name}: {error}") from error


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
