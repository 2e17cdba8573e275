# SPDX-License-Identifier: Apache-2.0
"""Cut-outs and backdrops of composed scenes, from cutouts.yaml."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from mrmllm_ros.datasets.data_errors import DataError, read_text
from mrmllm_ros.datasets.rendered.model_map import SPLITS, Split
from mrmllm_ros.weights.store import locate

BackdropKind = Literal["land", "water", "wall", "texture"]
Habitat = Literal["land", "water", "air"]

STAMPS = "stamps"
CATALOG = Path(__file__).with_name("cutouts.yaml")

# Minimum and maximum size in meters of the cut-outs in each kind of backdrop.
_SIZES_M: Mapping[BackdropKind, tuple[float, float]] = {
    "land": (0.2, float("inf")),
    "water": (0.2, float("inf")),
    "wall": (0.0, 1.2),
    "texture": (0.0, 0.6),
}


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """Photograph of one object with transparent surroundings.

    Attributes:
        noun: Noun of the object; COCO's where it has one.
        family: Name of the similar cut-outs that belong to one split.
        path: PNG file with an alpha channel.
        size: Longest side of the real object, in meters.
        places: Parts of a landscape for it; any object may be on a wall or a texture.
        mirror: Whether it may be mirrored.

    Raises:
        ValueError: If the size is not positive or a place is unknown.
    """

    noun: str
    family: str
    path: Path
    size: float
    places: tuple[Habitat, ...] = ("land",)
    mirror: bool = True

    def __post_init__(self) -> None:
        if self.size <= 0:
            raise ValueError(f"the size of {self.family!r} is {self.size}; it must be above 0")
        if unknown := set(self.places) - set(get_args(Habitat)):
            choices = ", ".join(get_args(Habitat))
            raise ValueError(f"{self.family!r}: unknown places {unknown}; choose {choices}")

    @property
    def model(self) -> str:
        """Asset and name of the cut-out, such as `stamps/owl`."""
        return f"{STAMPS}/{self.path.stem}"

    @property
    def flies(self) -> bool:
        """Whether it is placed in the air of a landscape."""
        return "air" in self.places

    def suits(self, backdrop: Backdrop) -> bool:
        """Whether it may be pasted into a backdrop."""
        least, most = _SIZES_M[backdrop.kind]
        in_place = backdrop.ground is None or self.flies or backdrop.kind in self.places
        return in_place and least <= self.size <= most and self.noun not in backdrop.shows


@dataclass(frozen=True, kw_only=True)
class Backdrop:
    """Photograph that cut-outs are pasted into.

    Attributes:
        path: Image file.
        kind: A landscape of land or water, a wall, or a texture seen from above.
        ground: Height of the farthest spot for an object, as a share of the image from the top;
            only for landscapes.
        shows: Nouns of its own objects, which are not pasted into it.

    Raises:
        ValueError: If the kind is unknown or the ground does not fit it.
    """

    path: Path
    kind: BackdropKind
    ground: float | None = None
    shows: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(BackdropKind):
            choices = ", ".join(get_args(BackdropKind))
            raise ValueError(f"{self.path.name}: unknown kind {self.kind!r}; choose {choices}")
        if (self.kind in ("land", "water")) != (self.ground is not None):
            raise ValueError(f"{self.path.name}: only land and water need `ground`")
        if self.ground is not None and not 0 < self.ground < 1:
            raise ValueError(f"{self.path.name}: `ground` is {self.ground}; it must be in (0, 1)")


@dataclass(frozen=True, kw_only=True)
class Material:
    """Cut-outs and backdrops of one split."""

    cutouts: tuple[Cutout, ...]
    backdrops: tuple[Backdrop, ...]

    def fitting(self, backdrop: Backdrop) -> dict[str, dict[str, list[Cutout]]]:
        """Cut-outs for a backdrop, by noun and family."""
        nouns: dict[str, dict[str, list[Cutout]]] = {}
        for cutout in self.cutouts:
            if cutout.suits(backdrop):
                nouns.setdefault(cutout.noun, {}).setdefault(cutout.family, []).append(cutout)
        return nouns


def load_material(
    split: Split, catalog: Path = CATALOG, locate_asset: Callable[[str], Path] = locate
) -> Material:
    """Read the cut-outs and backdrops of a split.

    Args:
        split: Split of the families and of the backdrops.
        catalog: YAML file as cutouts.yaml.
        locate_asset: Returns the folder of an asset.

    Raises:
        DataError: If the file is damaged, or a family is in several splits.
        WeightsError: If an asset is missing or damaged.
    """
    with _reading(catalog):
        entries = yaml.safe_load(read_text(catalog))
        return Material(
            cutouts=_cutouts(entries["cutouts"], split, locate_asset(STAMPS)),
            backdrops=_backdrops(entries["backdrops"], split, locate_asset),
        )


def load_backdrops(
    split: Split, catalog: Path = CATALOG, locate_asset: Callable[[str], Path] = locate
) -> tuple[Backdrop, ...]:
    """Read the backdrops of a split.

    Args:
        split: Split of the backdrops.
        catalog: YAML file as cutouts.yaml.
        locate_asset: Returns the folder of an asset.

    Raises:
        DataError: If the file is damaged.
        WeightsError: If an asset is missing or damaged.
    """
    with _reading(catalog):
        return _backdrops(yaml.safe_load(read_text(catalog))["backdrops"], split, locate_asset)


def cutout_nouns(catalog: Path = CATALOG) -> frozenset[str]:
    """Nouns of all cut-outs in all splits.

    Raises:
        DataError: If the file is damaged.
    """
    with _reading(catalog):
        return frozenset(yaml.safe_load(read_text(catalog))["cutouts"])


@contextmanager
def _reading(catalog: Path) -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{catalog} cannot be used: {error}") from error


def _cutouts(nouns: Mapping[str, Any], split: Split, folder: Path) -> tuple[Cutout, ...]:
    splits: dict[str, Split] = {}
    cutouts = []
    for noun, families in nouns.items():
        for family, entry in families.items():
            fields = dict(entry)
            own = _pop_split(fields, family)
            if splits.setdefault(family, own) != own:
                raise ValueError(f"family {family!r} is in the splits {splits[family]} and {own}")
            if own == split:
                files = fields.pop("files")
                places = tuple(fields.pop("places", ("land",)))
                shared = {**fields, "noun": noun, "family": family, "places": places}
                cutouts += [Cutout(path=folder / file, **shared) for file in files]
    return tuple(cutouts)


def _backdrops(
    assets: Mapping[str, Any], split: Split, locate_asset: Callable[[str], Path]
) -> tuple[Backdrop, ...]:
    backdrops = []
    for asset, files in assets.items():
        rows = [(file, dict(entry)) for file, entry in files.items()]
        chosen = [(file, fields) for file, fields in rows if _pop_split(fields, file) == split]
        folder = locate_asset(asset) if chosen else Path()
        for file, fields in chosen:
            shows = tuple(fields.pop("shows", ()))
            backdrops.append(Backdrop(path=folder / file, shows=shows, **fields))
    return tuple(backdrops)


def _pop_split(fields: dict[str, Any], name: str) -> Split:
    split = fields.pop("split")
    if split not in SPLITS:
        choices = ", ".join(SPLITS)
        raise ValueError(f"{name}: unknown split {split!r}; choose {choices}")
    return split
