# SPDX-License-Identifier: Apache-2.0
"""Random choices of the objects of a scene and of names for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TypeVar

import numpy as np

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import on_side, plural, plural_only
from mrmllm_ros.datasets.questions.scene import Scene, UnlistedObject
from mrmllm_ros.datasets.questions.templates import fill
from mrmllm_ros.datasets.questions.vocabulary import (
    OBJECT_KINDS,
    Split,
    confusable,
    is_person,
    other_words,
    overlap,
)
from mrmllm_ros.detection.boxes import box_areas
from mrmllm_ros.model import prompt
from mrmllm_ros.model.configuration_mrmllm import COLORS

# Minimum differences, so that no answer depends on the jitter of boxes: shares of the image
# (`MIN_DEPTH_GAP` also in meters), and a ratio of areas.
MIN_VERTICAL_GAP, MIN_DEPTH_GAP, MIN_AREA_RATIO = 0.12, 0.05, 1.4
MAX_COUNTED, MAX_PLACES = 15, 4
# Share of synonyms among names.
_SYNONYM_SHARE = 0.25
# Share of names with a property that the list does not state.
_DESCRIBED_SHARE = 0.2
# Share of labels that the detector reports wrongly among absent labels, if there are any.
_WRONG_SHARE = 0.3
# Share of questions about doubtful objects, if there are any, in forms that ask for a label.
_DOUBTFUL_SHARE = 0.5

T = TypeVar("T")
# Label with the ids of its objects.
Group = tuple[str, tuple[int, ...]]


class NothingToAskError(Exception):
    """The scene has no objects that fit a form of question."""


@dataclass(frozen=True, eq=False)
class SceneSampler:
    """Samples objects of a scene, names for them, and templates of questions.

    Attributes:
        scene: Listed objects.
        rng: Source of randomness.
        split: Split of the templates.
        vocabulary: Labels of absent objects.
        missed: Labels of objects that may be present without being listed, such as doubtful ones.
    """

    scene: Scene
    rng: np.random.Generator
    split: Split
    vocabulary: tuple[str, ...]
    missed: frozenset[str]

    def pick(self, items: Sequence[T]) -> T:
        """Sample an item.

        Raises:
            NothingToAskError: If there are no items.
        """
        if not items:
            raise NothingToAskError
        return items[int(self.rng.integers(len(items)))]

    def chance(self, share: float = 0.5) -> bool:
        """Return true with this probability."""
        return bool(self.rng.random() < share)

    def phrase(self, name: str, fields: Mapping[str, str] | None = None) -> str:
        """Sample a template of the split and fill it in."""
        return fill(name, self.split, float(self.rng.random()), fields or {})

    @cached_property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Ids by label, in the order of each label's first id."""
        groups: dict[str, tuple[int, ...]] = {}
        for i, label in enumerate(self.scene.labels, start=1):
            if not label:
                continue
            groups[label] = (*groups.get(label, ()), i)
        return groups

    @cached_property
    def doubtful(self) -> list[Group]:
        """Groups of doubtful objects that no listed object may be one of."""
        groups: dict[str, tuple[int, ...]] = {}
        for i, label in self.scene.doubtful.items():
            if not any(overlap(label, listed) for listed in self.groups):
                groups[label] = (*groups.get(label, ()), i)
        return list(groups.items())

    def doubtful_group(self) -> Group | None:
        """Sample doubtful objects of one label for a share of the questions; None otherwise."""
        is_asked = bool(self.doubtful) and self.chance(_DOUBTFUL_SHARE)
        return self.pick(self.doubtful) if is_asked else None

    @cached_property
    def singles(self) -> tuple[int, ...]:
        """Ids of the objects with a unique label."""
        return tuple(ids[0] for ids in self.groups.values() if len(ids) == 1)

    @cached_property
    def sides(self) -> tuple[str, ...]:
        """Side of each object, as the prompt states it."""
        return tuple(map(prompt.side, prompt.centers_x(self.scene.boxes)))

    @cached_property
    def places(self) -> np.ndarray:
        """(N, 2) int coordinates as in the prompt, across and down."""
        return prompt.grid_positions(self.scene.boxes)

    @cached_property
    def meters(self) -> np.ndarray:
        """(N,) stated distances in meters, NaN if unknown."""
        meters = self.scene.meters
        return np.full(len(self.scene.labels), np.nan) if meters is None else meters

    @property
    def has_distances(self) -> bool:
        """Whether any distance is stated."""
        return not np.isnan(self.meters).all()

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """Ids of all objects that are asked about."""
        return tuple(i for i, label in enumerate(self.scene.labels, start=1) if label)

    @property
    def unlisted(self) -> tuple[UnlistedObject, ...]:
        """True objects that are known and not listed."""
        return () if self.scene.annotation is None else self.scene.annotation.unlisted

    def is_known(self, ids: Iterable[int]) -> bool:
        """Whether the distances of all these objects are stated."""
        return not any(np.isnan(self.meters[i - 1]) for i in ids)

    @cached_property
    def areas(self) -> np.ndarray:
        """(N,) areas of the boxes as shares of the image."""
        return box_areas(self.scene.boxes)

    def groups_of(self, minimum: int, maximum: int) -> list[Group]:
        """Groups with a number of objects in this range."""
        return [(x, ids) for x, ids in self.groups.items() if minimum <= len(ids) <= maximum]

    def label(self, i: int) -> str:
        """Label of an object."""
        return self.scene.labels[i - 1]

    def side(self, i: int) -> str:
        """Side of an object."""
        return self.sides[i - 1]

    def color(self, i: int) -> str | None:
        """Color of an object; None if it is unknown or the label is itself a color."""
        return None if self.label(i) in COLORS else self.scene.attributes[i - 1].get("color")

    def colors(self, ids: Iterable[int]) -> tuple[str, ...]:
        """Colors of objects.

        Raises:
            NothingToAskError: If a color is unknown.
        """
        found = tuple(color for i in ids if (color := self.color(i)))
        if len(found) < len(tuple(ids)):
            raise NothingToAskError
        return found

    def name(self, label: str) -> str:
        """Sample a name: the label, or a synonym that fits no other object."""
        others = {*self.groups, *self.scene.doubtful.values()} - {label}
        words = [
            word
            for word in other_words(label)
            if not any(overlap(word, other) or word in other_words(other) for other in others)
        ]
        return self.pick(words) if words and self.chance(_SYNONYM_SHARE) else label

    def reference(self, *, by_color: bool = False, by_side: bool = False) -> tuple[int, str]:
        """Sample an object and a phrase that refers to no other object.

        Args:
            by_color: Whether the phrase may contain the color: `red car`, `man in a red coat`.
            by_side: Whether the phrase may contain the side: `man on the left`.
        """
        found: list[tuple[int, str]] = []
        if by_color and self.chance():
            found = [
                (i, self.colored_name(self.label(i), color))
                for i, color in self.unique_values(self.color)
            ]
        elif by_side and self.chance():
            found = [
                (i, f"{self.name(self.label(i))} {on_side(side)}")
                for i, side in self.unique_values(self.side)
            ]
        if found:
            return self.pick(found)
        i = self.pick(self.singles)
        return i, self.described_name(self.label(i))

    def described_name(self, label: str) -> str:
        """Sample a name, sometimes with a property that the list does not state."""
        name = self.name(label)
        if plural(label) == label or not self.chance(_DESCRIBED_SHARE):
            return name
        return self.phrase("described_person" if is_person(label) else "described", {"x": name})

    def unique_values(self, value_of: Callable[[int], str | None]) -> list[tuple[int, str]]:
        """Ids and values of objects whose value is unique among the objects of their label."""
        found: list[tuple[int, str]] = []
        for label, ids in self.groups.items():
            values = {i: value for i in ids if (value := value_of(i))}
            if not plural_only(label):
                count = Counter(values.values())
                found += [(i, value) for i, value in values.items() if count[value] == 1]
        return found

    def colored_name(self, label: str, color: str) -> str:
        """Sample a phrase such as `red car`, or for a person `person in a red coat`."""
        name = self.name(label)
        if not is_person(label):
            return f"{color} {name}"
        return f"{name} {self.phrase('dressed', {'color': color})}"

    def absent(self) -> str:
        """Sample an absent label, half of the time one that is similar to a present one.

        Raises:
            NothingToAskError: If no label is found.
        """
        known = label_set(self.vocabulary)
        wrong = () if self.scene.annotation is None else self.scene.annotation.wrong
        wrong = [label for label in wrong if label in known and self._is_absent(label)]
        if wrong and self.chance(_WRONG_SHARE):
            return self.pick(wrong)
        labels = tuple(filter(None, self.scene.labels))
        if labels and self.chance():
            near = confusable(self.pick(labels))
            pool = [label for label in near if label in known and self._is_absent(label)]
            if pool:
                return self.pick(pool)
        for _ in range(20):
            label = self.pick(self.vocabulary)
            if self._is_absent(label):
                return label
        raise NothingToAskError

    @cached_property
    def present(self) -> frozenset[str]:
        """Labels of all objects, listed or missed."""
        return self.missed | self.groups.keys()

    def _is_absent(self, label: str) -> bool:
        return not any(overlap(label, other) for other in self.present)

    def group_name(self, label: str) -> str:
        """Sample a name for all objects of a label; for persons the label (not all are men)."""
        return label if is_person(label) else self.name(label)

    def label_on_side(self) -> tuple[str, str, tuple[int, ...]]:
        """Sample a label and a side, with the ids of that label on it; often none."""
        side = self.pick(prompt.SIDES)
        if self.chance(0.15):
            return self.absent(), side, ()
        groups = self.groups_of(1, MAX_COUNTED)
        present = [label for label, ids in groups if side in map(self.side, ids)]
        choices = present if present and self.chance(0.3) else [label for label, _ in groups]
        label = self.pick(choices)
        ids = tuple(i for i in self.groups[label] if self.side(i) == side)
        return label, side, self.unless_missed(label, ids)

    def unless_missed(self, label: str, found: T) -> T:
        """Return `found`.

        Raises:
            NothingToAskError: If it is empty or false, and objects of the label may be unlisted.
        """
        if not found and any(overlap(label, missed) for missed in self.missed):
            raise NothingToAskError
        return found

    def few(self, label: str) -> tuple[int, ...]:
        """Ids of a label, or none if there are too many to state all places."""
        ids = self.groups.get(label, ())
        return ids if len(ids) <= MAX_PLACES else ()

    def rivals(self, ids: Sequence[int]) -> list[UnlistedObject]:
        """Known unlisted objects that belong to a group: of its label, or all for all objects."""
        if len(ids) == len(self.ids):
            return list(self.unlisted)
        labels = {self.label(i) for i in ids}
        return [x for x in self.unlisted if any(overlap(x.label, label) for label in labels)]

    def require_complete(self, *labels: str) -> None:
        """Check that the prompt names all known objects of these labels, so that they are counted.

        Raises:
            NothingToAskError: If it does not name one.
        """
        unnamed = [x.label for x in self.unlisted if not x.is_doubtful]
        if any(overlap(x, label) for x in unnamed for label in labels):
            raise NothingToAskError

    def largest_of(self, ids: Sequence[int], *, smallest: bool = False) -> int:
        """Return the object that is clearly larger, or smaller, than all others.

        Raises:
            NothingToAskError: If there are fewer than two objects, or no clear extreme.
        """
        sizes = self.areas
        rivals = np.array([box_areas(x.box[None])[0] for x in self.rivals(ids)], sizes.dtype)
        if smallest:
            sizes, rivals = (1 / np.maximum(areas, 1e-9) for areas in (sizes, rivals))
        i = clear_maximum(sizes, ids)
        if (rivals * MIN_AREA_RATIO > sizes[i - 1]).any():
            raise NothingToAskError
        return i

    def nearest_of(self, ids: Sequence[int], *, farthest: bool = False) -> int:
        """Return the nearest or farthest object, in the prompt's order.

        Raises:
            NothingToAskError: If a distance is unknown, the first two are too similar, or an
                unlisted object is nearer or farther.
        """
        depths = prompt.depth_order(self.scene.boxes[:, 3], self.meters)
        if any(np.isnan(depths[i - 1]) for i in ids):
            raise NothingToAskError
        ranked = sorted(ids, key=lambda i: depths[i - 1], reverse=farthest)
        if not ranked or (
            len(ranked) > 1 and abs(depths[ranked[1] - 1] - depths[ranked[0] - 1]) < MIN_DEPTH_GAP
        ):
            raise NothingToAskError
        self._require_ahead(depths[ranked[0] - 1], ids, farthest)
        return ranked[0]

    def _require_ahead(self, depth: float, ids: Sequence[int], farthest: bool) -> None:
        """Check that no unlisted object is about as near, or far, as the nearest listed one."""
        for rival in self.rivals(ids):
            other = rival.meters if self.has_distances else -rival.box[3]
            gap = depth - other if farthest else other - depth
            # Also if the distance is unknown.
            if not gap >= MIN_DEPTH_GAP:
                raise NothingToAskError

    def plural_group(self) -> Group:
        """Sample a group of several objects whose label has a singular."""
        groups = self.groups_of(2, MAX_COUNTED)
        return self.pick([(label, ids) for label, ids in groups if not plural_only(label)])

    def singular_group(self) -> Group:
        """Sample a group whose label has a singular, half of the time with several objects."""
        several = self.groups_of(2, MAX_COUNTED) if self.chance() else []
        groups = several or self.groups_of(1, MAX_COUNTED)
        return self.pick([(label, ids) for label, ids in groups if not plural_only(label)])

    def other_color(self, excluded: Sequence[str]) -> str:
        """Sample a color that is not excluded."""
        return self.pick([color for color in COLORS if color not in excluded])

    def label_of_color(self) -> tuple[str, str, tuple[int, ...]]:
        """Sample a label and a color, with the ids of that label and color; often none."""
        if not any(self.color(i) for i in self.ids):
            raise NothingToAskError
        if self.chance(0.15):
            label = self.absent()
            if label in COLORS:
                raise NothingToAskError
            return label, self.pick(COLORS), ()
        label, ids = self.pick(self.groups_of(1, MAX_COUNTED))
        colors = [color for i in ids if (color := self.color(i))]
        # A color is denied only if all colors of the label are known.
        is_present = len(colors) < len(ids) or self.chance(0.6)
        color = self.pick(colors) if is_present else self.other_color(colors)
        found = tuple(i for i in ids if self.color(i) == color)
        return label, color, self.unless_missed(label, found)

    def kind(self) -> tuple[str, list[Group]]:
        """Sample a kind such as `vehicle`, with the groups that belong to it."""
        present = [word for word, nouns in OBJECT_KINDS.items() if nouns & self.groups.keys()]
        word = self.pick(present if present and self.chance(0.65) else list(OBJECT_KINDS))
        nouns = OBJECT_KINDS[word]
        return word, [(label, ids) for label, ids in self.groups.items() if label in nouns]

    def is_ambiguous(self, word: str) -> bool:
        """Whether a label contains the word without being of the kind (`bag of crisps`)."""
        return any(overlap(word, label) for label in self.present - OBJECT_KINDS[word])


def clear_maximum(sizes: np.ndarray, ids: Iterable[int]) -> int:
    """Return the id of the object that is clearly larger than all others.

    Raises:
        NothingToAskError: If there are fewer than two objects, or no clear maximum.
    """
    ranked = sorted(ids, key=lambda i: -sizes[i - 1])
    if len(ranked) < 2 or sizes[ranked[0] - 1] < MIN_AREA_RATIO * sizes[ranked[1] - 1]:
        raise NothingToAskError
    return ranked[0]


@cache
def label_set(vocabulary: tuple[str, ...]) -> frozenset[str]:
    """Labels as a set, cached."""
    return frozenset(vocabulary)


# A form samples a question with its answer and truth.
Form = Callable[[SceneSampler], tuple[str, str, Truth]]
