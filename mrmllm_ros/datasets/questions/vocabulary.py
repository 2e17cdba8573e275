# SPDX-License-Identifier: Apache-2.0
"""Objects of synthetic scenes and their labels, from `vocabulary.yaml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

Split = Literal["train", "evaluation"]


@dataclass(frozen=True, kw_only=True)
class Noun:
    """Kind of object in a kind of scene.

    Attributes:
        label: Label, in the singular.
        weight: Relative frequency within the kind of scene.
        height: Typical height as a share of the image height.
        aspect: Typical width over height.
        max_count: Usual maximum number in one scene.
        held_out: Whether only evaluation has it.

    Raises:
        ValueError: If a number is not positive.
    """

    label: str
    weight: float
    height: float
    aspect: float
    max_count: int
    held_out: bool = False

    def __post_init__(self) -> None:
        if min(self.weight, self.height, self.aspect, self.max_count) <= 0:
            raise ValueError(
                f"vocabulary.yaml: {self.label!r}: weight, height, aspect and max_count must be "
                "above 0"
            )


@dataclass(frozen=True, kw_only=True)
class SceneKind:
    """A kind of scene.

    Attributes:
        name: Name, such as `kitchen`.
        distance_m: Distance in meters at which its objects have their typical size.
        rows: Groups of nouns of the same shape, which a detector may confuse.
    """

    name: str
    distance_m: float
    rows: tuple[tuple[Noun, ...], ...]

    @property
    def nouns(self) -> tuple[Noun, ...]:
        """All nouns of the kind."""
        return tuple(noun for row in self.rows for noun in row)


def _row(values: Mapping[str, Any], *, held_out: bool = False) -> tuple[Noun, ...]:
    shape = {name: value for name, value in values.items() if name != "labels"}
    return tuple(
        Noun(label=label, weight=weight, held_out=held_out, **shape)
        for label, weight in values["labels"].items()
    )


def _kinds(scenes: Mapping[str, Mapping[str, Any]]) -> tuple[SceneKind, ...]:
    return tuple(
        SceneKind(
            name=name,
            distance_m=scene["distance_m"],
            rows=(
                *(_row(row) for row in scene["rows"]),
                *(_row(row, held_out=True) for row in scene.get("held_out_rows", ())),
            ),
        )
        for name, scene in scenes.items()
    )


def _sets(names: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    return {name: frozenset(labels) for name, labels in names.items()}


_DATA = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))

COCO = tuple(_DATA["coco"])
TRAIN_KINDS = _kinds(_DATA["train"])
EVALUATION_KINDS = _kinds(_DATA["evaluation"])
TRAIN_NOUNS = tuple(dict.fromkeys([*COCO, *(n.label for k in TRAIN_KINDS for n in k.nouns)]))
HELD_OUT_NOUNS = tuple(
    dict.fromkeys(n.label for kind in EVALUATION_KINDS for n in kind.nouns if n.held_out)
)
# Labels with two opposite states, such as open and closed.
STATES = {label: tuple(row["pair"]) for row in _DATA["states"] for label in row["labels"]}
RAISED = frozenset(_DATA["raised"])
OBJECT_KINDS = _sets(_DATA["kinds"])
PAIRED = frozenset(_DATA["paired"])
# Kinds of rooms that rendered scenes show.
PLACES = frozenset(_DATA["places"])
UNCOUNTED = frozenset(_DATA["uncounted"])
IRREGULAR: Mapping[str, str] = _DATA["irregular"]
_PERSONS = frozenset(_DATA["persons"])
_SYNONYMS: Mapping[str, Sequence[str]] = _DATA["synonyms"]
_ALIKE = tuple(map(frozenset, _DATA["alike"]))
_SYLLABLE: Sequence[Sequence[str]] = _DATA["syllables"]


def kinds(split: Split) -> tuple[SceneKind, ...]:
    """The kinds of scenes of a split."""
    return TRAIN_KINDS if split == "train" else EVALUATION_KINDS


def vocabulary(split: Split) -> tuple[str, ...]:
    """The labels of a split; evaluation has those of training too."""
    return TRAIN_NOUNS if split == "train" else TRAIN_NOUNS + HELD_OUT_NOUNS


def invented(rng: np.random.Generator, noun: str) -> str:
    """Invent a label that is in no dictionary, such as `vontel` or, from a noun, `vontel lamp`."""
    syllables = (
        "".join(parts[int(rng.integers(len(parts)))] for parts in _SYLLABLE)
        for _ in range(int(rng.integers(2, 4)))
    )
    word = "".join(syllables)
    # Not with nouns of a kind: a "vontel dog" would be an animal that the kinds do not list.
    plain = not (is_person(noun) or any(noun in names for names in OBJECT_KINDS.values()))
    return f"{word} {noun}" if plain and rng.random() < 0.5 else word


@cache
def confusable(label: str) -> tuple[str, ...]:
    """Labels of about the same shape and place, which a detector may confuse with this one."""
    rows = [row for kind in TRAIN_KINDS + EVALUATION_KINDS for row in kind.rows]
    mates = (n.label for row in rows if any(n.label == label for n in row) for n in row)
    return tuple(dict.fromkeys(mate for mate in mates if mate != label))


@cache
def overlap(label: str, other: str) -> bool:
    """Whether two labels can name the same object, such as man and person.

    A scene with both would have questions with several right answers.
    """
    if label == other or (is_person(label) and is_person(other)):
        return True
    if any(label in names and other in names for names in _ALIKE):
        return True
    return f" {other} " in f" {label} " or f" {label} " in f" {other} "


def other_words(label: str) -> Sequence[str]:
    """Synonyms of a label."""
    return _SYNONYMS.get(label, ())


def is_person(label: str) -> bool:
    """Whether a label names a person, who wears a color instead of having one."""
    return label in _PERSONS
