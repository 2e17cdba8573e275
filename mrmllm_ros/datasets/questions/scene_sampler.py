# SPDX-License-Identifier: Apache-2.0
"""Scenes to ask about, and the random choices that questions are drawn with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TypeVar

import numpy as np

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import on_side, plural, plural_only
from mrmllm_ros.datasets.questions.templates import fill
from mrmllm_ros.datasets.questions.vocabulary import (
    KINDS_OF_THINGS,
    Split,
    confusable,
    is_person,
    other_words,
    overlap,
)
from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.model import prompt
from mrmllm_ros.model.configuration_mrmllm import COLORS

# Least differences that count, so that no answer depends on a jittering box: shares of the image
# (`NEARER` also in meters), ratio of areas.
ABOVE, NEARER, BIGGER = 0.12, 0.05, 1.4
MAX_COUNTED, MAX_PLACES = 15, 4
# How often an object is called otherwise than in the list.
_CALLED_OTHERWISE = 0.25
# How often a name states a property that the list does not.
_DESCRIBED = 0.2

T = TypeVar("T")
# A label and the ids of its objects.
Group = tuple[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """The objects of an image as the prompt lists them; the object at index i has the id i + 1.

    Attributes:
        labels: N names.
        boxes: (N, 4) left, top, right, bottom, normalized by the image size.
        attributes: Known attributes of each object by name: `color`, `state`.
        meters: (N,) distances in meters as the prompt states them, NaN where unknown; None if no
            distance is known.

    Raises:
        ValueError: If the parts have different lengths.
    """

    labels: tuple[str, ...]
    boxes: np.ndarray
    attributes: tuple[Mapping[str, str], ...]
    meters: np.ndarray | None = None

    @classmethod
    def of(cls, detections: Detections, attributes: Sequence[Mapping[str, str]]) -> Scene:
        """Create the scene of listed detections.

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

    def __post_init__(self) -> None:
        count = len(self.labels)
        if self.boxes.shape != (count, 4) or len(self.attributes) != count:
            raise ValueError(
                f"{count} labels, but boxes of shape {self.boxes.shape} and attributes of "
                f"{len(self.attributes)}"
            )


class NothingToAskError(Exception):
    """The scene does not have what a form of question needs."""


@dataclass(frozen=True, eq=False)
class SceneSampler:
    """A scene and the random choices that questions about it are drawn with.

    Attributes:
        scene: The objects.
        rng: Source of randomness.
        split: Split of the templates.
        vocabulary: Labels to draw absent objects from.
        missed: Labels of objects that may be there without being listed.
    """

    scene: Scene
    rng: np.random.Generator
    split: Split
    vocabulary: tuple[str, ...]
    missed: frozenset[str]

    def pick(self, items: Sequence[T]) -> T:
        """Draw an item.

        Raises:
            NothingToAskError: If there is none.
        """
        if not items:
            raise NothingToAskError
        return items[int(self.rng.integers(len(items)))]

    def chance(self, share: float = 0.5) -> bool:
        """Draw whether something with this probability happens."""
        return bool(self.rng.random() < share)

    def phrase(self, name: str, fields: Mapping[str, str] | None = None) -> str:
        """Draw a template of the split and fill it in."""
        return fill(name, self.split, float(self.rng.random()), fields or {})

    @cached_property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Ids by label, in the order of each label's first id."""
        groups: dict[str, tuple[int, ...]] = {}
        for i, label in enumerate(self.scene.labels, start=1):
            groups[label] = (*groups.get(label, ()), i)
        return groups

    @cached_property
    def singles(self) -> tuple[int, ...]:
        """Ids of the objects whose label no other object has."""
        return tuple(ids[0] for ids in self.groups.values() if len(ids) == 1)

    @cached_property
    def sides(self) -> tuple[str, ...]:
        """Side of each object, as the prompt states it."""
        return tuple(map(prompt.side, prompt.centers_x(self.scene.boxes)))

    @cached_property
    def places(self) -> np.ndarray:
        """(N, 2) int, the coordinates in the prompt's lines, across and down."""
        return prompt.grid_positions(self.scene.boxes)

    @cached_property
    def meters(self) -> np.ndarray:
        """(N,) stated distances in meters, NaN where unknown."""
        meters = self.scene.meters
        return np.full(len(self.scene.labels), np.nan) if meters is None else meters

    @property
    def has_distances(self) -> bool:
        """Whether the distance of any object is stated."""
        return not np.isnan(self.meters).all()

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """Ids of all objects."""
        return tuple(range(1, len(self.scene.labels) + 1))

    def is_known(self, ids: Iterable[int]) -> bool:
        """Whether the distance of every one of these objects is stated."""
        return not any(np.isnan(self.meters[i - 1]) for i in ids)

    @cached_property
    def areas(self) -> np.ndarray:
        """(N,) areas of the boxes as shares of the image."""
        return np.prod(self.scene.boxes[:, 2:] - self.scene.boxes[:, :2], axis=1)

    def groups_of(self, least: int, most: int) -> list[Group]:
        """The labels of so many objects, each with its ids."""
        return [(x, ids) for x, ids in self.groups.items() if least <= len(ids) <= most]

    def label(self, i: int) -> str:
        """Label of an object."""
        return self.scene.labels[i - 1]

    def side(self, i: int) -> str:
        """Side of an object."""
        return self.sides[i - 1]

    def color(self, i: int) -> str | None:
        """Color of an object; None where unknown, or where the label is itself a color."""
        return None if self.label(i) in COLORS else self.scene.attributes[i - 1].get("color")

    def colors(self, ids: Iterable[int]) -> tuple[str, ...]:
        """Colors of objects.

        Raises:
            NothingToAskError: If one is unknown.
        """
        found = tuple(color for i in ids if (color := self.color(i)))
        if len(found) < len(tuple(ids)):
            raise NothingToAskError
        return found

    def called(self, label: str) -> str:
        """Draw a name for an object: its label or a synonym that fits no other object."""
        others = self.groups.keys() - {label}
        words = [
            word
            for word in other_words(label)
            if not any(overlap(word, other) or word in other_words(other) for other in others)
        ]
        return self.pick(words) if words and self.chance(_CALLED_OTHERWISE) else label

    def referred(self, *, by_color: bool = False, by_side: bool = False) -> tuple[int, str]:
        """Draw an object and a phrase that refers to it alone.

        Args:
            by_color: Whether the phrase may name its color: `red car`, `man in a red coat`.
            by_side: Whether the phrase may name its side: `man on the left`.
        """
        found: list[tuple[int, str]] = []
        if by_color and self.chance():
            found = [
                (i, self.in_color(self.label(i), color)) for i, color in self.only_ones(self.color)
            ]
        elif by_side and self.chance():
            found = [
                (i, f"{self.called(self.label(i))} {on_side(side)}")
                for i, side in self.only_ones(self.side)
            ]
        if found:
            return self.pick(found)
        i = self.pick(self.singles)
        return i, self.described(self.label(i))

    def described(self, label: str) -> str:
        """Draw a name, now and then with a property that the list does not state."""
        name = self.called(label)
        if plural(label) == label or not self.chance(_DESCRIBED):
            return name
        return self.phrase("described_person" if is_person(label) else "described", {"x": name})

    def only_ones(self, what: Callable[[int], str | None]) -> list[tuple[int, str]]:
        """Objects whose value no other object of their label has, with that value."""
        found: list[tuple[int, str]] = []
        for label, ids in self.groups.items():
            values = {i: value for i in ids if (value := what(i))}
            if not plural_only(label):
                count = Counter(values.values())
                found += [(i, value) for i, value in values.items() if count[value] == 1]
        return found

    def in_color(self, label: str, color: str) -> str:
        """Draw a phrase such as `red car`, or for a person `person in a red coat`."""
        name = self.called(label)
        if not is_person(label):
            return f"{color} {name}"
        return f"{name} {self.phrase('dressed', {'color': color})}"

    def absent(self) -> str:
        """Draw a label that is not in the scene, half the time one similar to what is.

        Raises:
            NothingToAskError: If none is found.
        """
        if self.scene.labels and self.chance():
            near = confusable(self.pick(self.scene.labels))
            known = words_of(self.vocabulary)
            pool = [label for label in near if label in known and self._is_absent(label)]
            if pool:
                return self.pick(pool)
        for _ in range(20):
            label = self.pick(self.vocabulary)
            if self._is_absent(label):
                return label
        raise NothingToAskError

    @cached_property
    def there(self) -> frozenset[str]:
        """Labels of all objects, listed or missed."""
        return self.missed | self.groups.keys()

    def _is_absent(self, label: str) -> bool:
        return not any(overlap(label, other) for other in self.there)

    def neutral(self, label: str) -> str:
        """Draw a name that fits all objects of a label: not all people are men."""
        return label if is_person(label) else self.called(label)

    def of_side(self) -> tuple[str, str, tuple[int, ...]]:
        """Draw a label and a side, with the ids of that label there; often none."""
        side = self.pick(prompt.SIDES)
        if self.chance(0.15):
            return self.absent(), side, ()
        groups = self.groups_of(1, MAX_COUNTED)
        there = [label for label, ids in groups if side in map(self.side, ids)]
        label = self.pick(there if there and self.chance(0.3) else [label for label, _ in groups])
        ids = tuple(i for i in self.groups[label] if self.side(i) == side)
        return label, side, self.unless_missed(label, ids)

    def unless_missed(self, label: str, found: T) -> T:
        """Return what was found.

        Raises:
            NothingToAskError: If nothing was found and objects of the label may be unlisted.
        """
        if not found and any(overlap(label, missed) for missed in self.missed):
            raise NothingToAskError
        return found

    def few(self, label: str) -> tuple[int, ...]:
        """Ids of a label, if they are few enough to state each one's place; else none."""
        ids = self.groups.get(label, ())
        return ids if len(ids) <= MAX_PLACES else ()

    def nearest_of(self, ids: Sequence[int], *, farthest: bool = False) -> int:
        """The nearest or farthest of objects, in the prompt's order.

        Raises:
            NothingToAskError: If a distance is unknown or the two first are about as far.
        """
        far = prompt.depth_order(self.scene.boxes[:, 3], self.meters)
        if any(np.isnan(far[i - 1]) for i in ids):
            raise NothingToAskError
        ranked = sorted(ids, key=lambda i: far[i - 1], reverse=farthest)
        if not ranked or (
            len(ranked) > 1 and abs(far[ranked[1] - 1] - far[ranked[0] - 1]) < NEARER
        ):
            raise NothingToAskError
        return ranked[0]

    def several(self) -> Group:
        """Draw a label of several objects that has a singular, with its ids."""
        groups = self.groups_of(2, MAX_COUNTED)
        return self.pick([(label, ids) for label, ids in groups if not plural_only(label)])

    def singular_group(self) -> Group:
        """Draw a label that has a singular, half the time of several objects, with its ids."""
        several = self.groups_of(2, MAX_COUNTED) if self.chance() else []
        groups = several or self.groups_of(1, MAX_COUNTED)
        return self.pick([(label, ids) for label, ids in groups if not plural_only(label)])

    def other_color(self, seen: Sequence[str]) -> str:
        """Draw a color that is not among these."""
        return self.pick([color for color in COLORS if color not in seen])

    def of_color(self) -> tuple[str, str, tuple[int, ...]]:
        """Draw a label and a color, with the ids of that label and color; often none."""
        if not any(self.color(i) for i in self.ids):
            raise NothingToAskError
        if self.chance(0.15):
            label = self.absent()
            if label in COLORS:
                raise NothingToAskError
            return label, self.pick(COLORS), ()
        label, ids = self.pick(self.groups_of(1, MAX_COUNTED))
        colors = [color for i in ids if (color := self.color(i))]
        # A color is denied only where all colors of the label are known.
        one_of_them = len(colors) < len(ids) or self.chance(0.6)
        color = self.pick(colors) if one_of_them else self.other_color(colors)
        found = tuple(i for i in ids if self.color(i) == color)
        return label, color, self.unless_missed(label, found)

    def of_a_kind(self) -> tuple[str, list[Group]]:
        """Draw a word such as `vehicle`, with the groups of labels that it includes."""
        there = [word for word, nouns in KINDS_OF_THINGS.items() if nouns & self.groups.keys()]
        word = self.pick(there if there and self.chance(0.65) else list(KINDS_OF_THINGS))
        nouns = KINDS_OF_THINGS[word]
        return word, [(label, ids) for label, ids in self.groups.items() if label in nouns]

    def others_called(self, word: str) -> bool:
        """Whether a label contains the word without being of the kind (a `bag of crisps`)."""
        return any(overlap(word, label) for label in self.there - KINDS_OF_THINGS[word])


def ahead(sizes: np.ndarray, ids: Iterable[int]) -> int:
    """Id of the object that is clearly larger than all others.

    Raises:
        NothingToAskError: If there are fewer than two objects, or none is.
    """
    ranked = sorted(ids, key=lambda i: -sizes[i - 1])
    if len(ranked) < 2 or sizes[ranked[0] - 1] < BIGGER * sizes[ranked[1] - 1]:
        raise NothingToAskError
    return ranked[0]


@cache
def words_of(vocabulary: tuple[str, ...]) -> frozenset[str]:
    """The same labels as a set, made once for each vocabulary."""
    return frozenset(vocabulary)


# A form of question draws a question, its answer and what a right answer says.
Form = Callable[[SceneSampler], tuple[str, str, Truth]]
