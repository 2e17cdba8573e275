# SPDX-License-Identifier: Apache-2.0
"""Nouns, families and placement of the 3D models of rendered scenes, from `models.yaml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from mrmllm_ros.datasets.data_errors import DataError, read_text

Split = Literal["train", "tuning", "evaluation"]
MODEL_MAP = Path(__file__).with_name("models.yaml")

ROLES = (
    "floor",
    "wall_floor",
    "surface",
    "wall",
    "ceiling",
    "seat",
    "person_standing",
    "person_sitting",
    "person_lying",
    "opening",
    "rug",
)
PLACES = ("kitchen", "office", "living room", "bedroom", "workshop", "bathroom", "outdoor")
INDOOR_PLACES = frozenset(PLACES[:5])
SPLITS: tuple[Split, ...] = ("train", "tuning", "evaluation")


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A 3D model and its use in rendered scenes.

    Attributes:
        key: `<library>/<id>`, the id without the catalog's prefix up to `#`.
        noun: Noun phrase in the singular; COCO's name where COCO has one.
        family: Models of one design, such as color variants; all have the same split.
        role: Placement, one of `ROLES`.
        places: Places where the model belongs, of `PLACES`.
        split: One of `SPLITS`.
        carries: Whether small objects can stand on top.

    Raises:
        ValueError: If a value is wrong; the message names the value and the fix.
    """

    key: str
    noun: str
    family: str
    role: str
    places: tuple[str, ...]
    split: Split
    carries: bool = False

    def __post_init__(self) -> None:
        _check_key(self.key)
        for name in ("noun", "family"):
            _check_words(name, getattr(self, name))
        _check_choice("role", self.role, ROLES)
        _check_choice("split", self.split, SPLITS)
        if not self.places:
            raise ValueError("places is empty; name at least one place")
        for place in self.places:
            _check_choice("place", place, PLACES)
        if not isinstance(self.carries, bool):
            raise ValueError(f"carries is {self.carries!r}; write true or false")


@cache
def read_model_map(path: Path = MODEL_MAP) -> tuple[ModelEntry, ...]:
    """Read a map of models.

    Args:
        path: YAML file with `models`, a mapping from keys to the other fields of `ModelEntry`.

    Returns:
        Entries in the order of the file.

    Raises:
        DataError: If the file cannot be read, an entry is wrong or a family has two splits.
    """
    entries = tuple(_entry(path, key, values) for key, values in _models(path).items())
    _check_families(path, entries)
    return entries


def _models(path: Path) -> Mapping[Any, Any]:
    """The `models` of a file."""
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is not YAML: {reason}; correct the syntax") from error
    models = content.get("models") if isinstance(content, dict) else None
    if not isinstance(models, dict):
        raise DataError(
            f"{path}: there is no mapping `models`; add it, even if empty: models: {{}}"
        )
    return models


def _entry(path: Path, key: Any, values: Any) -> ModelEntry:
    """Check one entry."""
    try:
        _check_fields(values)
        places = values["places"]
        if not isinstance(places, list):
            raise ValueError(f"places is {places!r}; write a list, such as [kitchen]")
        return ModelEntry(key=key, **{**values, "places": tuple(places)})
    except ValueError as error:
        raise DataError(f"{path}: model {key!r}: {error}") from error


def _check_fields(values: Any) -> None:
    """Check the names of an entry's fields.

    Raises:
        ValueError: If fields are missing or unknown.
    """
    if not isinstance(values, dict):
        raise ValueError(
            f"is {values!r}; write a mapping with noun, family, role, places and split"
        )
    known = {field.name: field.default for field in fields(ModelEntry) if field.name != "key"}
    unknown = [name for name in values if name not in known]
    missing = [
        name for name, default in known.items() if default is MISSING and name not in values
    ]
    if unknown:
        raise ValueError(f"unknown fields {unknown}; use {', '.join(known)}")
    if missing:
        raise ValueError(f"no {', '.join(missing)}; add it")


def _check_key(key: Any) -> None:
    """Check the form of a key.

    Raises:
        ValueError: If it is not `<library>/<id>`.
    """
    if not isinstance(key, str) or len([part for part in key.split("/") if part.strip()]) != 2:
        raise ValueError("the key is wrong; write <library>/<id>")


def _check_words(name: str, value: Any) -> None:
    """Check a noun or the name of a family.

    Raises:
        ValueError: If it is no text, blank or has blanks at its ends.
    """
    if not isinstance(value, str) or not value or value != value.strip():
        raise ValueError(f"{name} is {value!r}; write words without blanks at the ends")


def _check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Check a value of a closed list.

    Raises:
        ValueError: If it is not in the list.
    """
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}; use one of {', '.join(choices)}")


def _check_families(path: Path, entries: Sequence[ModelEntry]) -> None:
    """Check that each family has one split.

    Raises:
        DataError: If evaluation would show a design that training has shown.
    """
    first: dict[str, ModelEntry] = {}
    for entry in entries:
        other = first.setdefault(entry.family, entry)
        if entry.split != other.split:
            raise DataError(
                f"{path}: model {entry.key!r}: family {entry.family!r} has the splits "
                f"{other.split} ({other.key}) and {entry.split}; use one split for a family"
            )
