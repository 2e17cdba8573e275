# SPDX-License-Identifier: Apache-2.0
"""Furnish a room: furniture against walls, seats at tables, small things on what carries them.

Rooms are boxes: x from 0 to the width, y from 0 to the depth, z up from the floor, in meters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mrmllm_ros.datasets.rendered.furniture import FurnitureModel
from mrmllm_ros.datasets.rendered.model_map import INDOOR_PLACES
from mrmllm_ros.datasets.rendered.places import Item, Place

_ATTEMPTS = 12  # to find a free place
_GAP_M = 0.01  # between objects
_WALL_GAP_M = 0.01
_SURFACE_MARGIN = 0.06  # of the width and depth of what carries an object
# Furniture with space for knees; a chair would stand inside a cabinet.
_TABLES = (
    "dining table",
    "desk",
    "dressing table",
    "drawing table",
    "kitchen island",
    "workbench",
)
# Largest share of a seat's depth that is below the table.
_TUCKED = 0.35
_SITTING_BACK_M = 0.1  # from the back of a seat to the back of a person
_ROLE_ORDER = (
    "opening",
    "wall_floor",
    "floor",
    "seat",
    "person_sitting",
    "person_lying",
    "person_standing",
    "rug",
    "wall",
    "ceiling",
    "surface",
)


@dataclass(frozen=True, eq=False)
class PlacedObject:
    """A model at a place in a room.

    Attributes:
        model: The model.
        position: (3,) center of its base in meters.
        yaw: Rotation about z in radians; at 0 its front faces -y.
        scale: Factor of its size.
    """

    model: FurnitureModel
    position: np.ndarray
    yaw: float
    scale: float = 1.0

    @property
    def size(self) -> np.ndarray:
        """(3,) width, depth and height in meters."""
        return np.asarray(self.model.size) * self.scale

    @property
    def front(self) -> np.ndarray:
        """(2,) unit vector from its back to its front."""
        return np.array([np.sin(self.yaw), -np.cos(self.yaw)])

    @property
    def top(self) -> float:
        """Height above the floor at which other things stand on it."""
        return float(self.position[2] + self.model.top * self.scale)

    @cached_property
    def bounds(self) -> np.ndarray:
        """(2, 3) smallest and largest coordinates."""
        cos, sin = abs(np.cos(self.yaw)), abs(np.sin(self.yaw))
        width, depth, height = self.size
        half = np.array([width * cos + depth * sin, width * sin + depth * cos]) / 2
        low = np.array([*(self.position[:2] - half), self.position[2]])
        high = np.array([*(self.position[:2] + half), self.position[2] + height])
        return np.stack([low, high])

    @property
    def transform(self) -> np.ndarray:
        """(4, 4) from the mesh to the room."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        matrix = np.eye(4)
        matrix[:3, :3] = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) * self.scale
        matrix[:3, 3] = self.position
        return matrix


@dataclass
class Layout:
    """A furnished room.

    Attributes:
        size: Width, depth and height in meters.
        objects: Objects in the order of their placement.
    """

    size: tuple[float, float, float]
    objects: list[PlacedObject] = field(default_factory=list)

    def is_free(self, candidate: PlacedObject, ignored: PlacedObject | None = None) -> bool:
        """Whether an object is inside the room and touches no other one but `ignored` and rugs."""
        low, high = candidate.bounds
        if (low < -1e-6).any() or (high > np.asarray(self.size) + 1e-6).any():
            return False
        return not any(
            (low < other.bounds[1] + _GAP_M).all() and (high > other.bounds[0] - _GAP_M).all()
            for other in self.objects
            if other is not ignored and other.model.entry.role != "rug"
        )


def furnish(place: Place, models: Sequence[FurnitureModel], rng: np.random.Generator) -> Layout:
    """Furnish a room of a kind.

    Args:
        place: Statistics of the kind of room.
        models: Models of one split.
        rng: Source of all choices.
    """
    layout = Layout(tuple(float(rng.uniform(*limits)) for limits in place.room))
    by_noun = _by_noun(models, place.name)
    chosen = [model for item in place.items for model in _draw(item, by_noun, rng)]
    chosen.sort(key=lambda model: _ROLE_ORDER.index(model.entry.role))
    for model in chosen:
        _PLACERS[model.entry.role](layout, model, rng)
    return layout


def _by_noun(
    models: Sequence[FurnitureModel], place: str
) -> dict[str, tuple[FurnitureModel, ...]]:
    """Models for a place by noun: those that belong there, or any that belong indoors."""
    indoors: dict[str, list[FurnitureModel]] = {}
    for model in models:
        if INDOOR_PLACES & {*model.entry.places}:
            indoors.setdefault(model.entry.noun, []).append(model)
    return {
        noun: tuple(each for each in found if place in each.entry.places) or tuple(found)
        for noun, found in indoors.items()
    }


def _draw(
    item: Item, by_noun: Mapping[str, Sequence[FurnitureModel]], rng: np.random.Generator
) -> list[FurnitureModel]:
    """Models of an item; nouns without a model in the split are not drawn."""
    nouns = [noun for noun in item.nouns if noun in by_noun]
    if not nouns or rng.random() >= item.probability:
        return []
    weights = np.array([item.nouns[noun] for noun in nouns], float)
    count = int(rng.integers(item.count[0], item.count[1] + 1))
    drawn = rng.choice(nouns, count, p=weights / weights.sum()).tolist()
    if item.same:
        # Chairs at a table are alike.
        model = _pick(by_noun[drawn[0]], rng) if drawn else None
        return [model] * count
    return [_pick(by_noun[noun], rng) for noun in drawn]


def _pick(models: Sequence[FurnitureModel], rng: np.random.Generator) -> FurnitureModel:
    return models[int(rng.integers(len(models)))]


def _try(
    layout: Layout,
    propose: Callable[[], PlacedObject],
    ignored: PlacedObject | None = None,
) -> bool:
    """Add the first of some proposals that is free."""
    for _ in range(_ATTEMPTS):
        candidate = propose()
        if layout.is_free(candidate, ignored):
            layout.objects.append(candidate)
            return True
    return False


def _beside_wall(layout: Layout, model: FurnitureModel, rng: np.random.Generator) -> PlacedObject:
    """Object with its back to one of the four walls, at its usual height."""
    width, depth, height = model.size
    room = layout.size
    side = int(rng.integers(4))
    length = room[0] if side % 2 == 0 else room[1]
    along = float(rng.uniform(width / 2, max(length - width / 2, width / 2 + 1e-3)))
    inset = depth / 2 + _WALL_GAP_M
    positions = (
        (along, room[1] - inset),
        (inset, along),
        (along, inset),
        (room[0] - inset, along),
    )
    yaw = (0.0, np.pi / 2, np.pi, -np.pi / 2)[side]
    elevation = min(model.elevation, max(room[2] - height - 0.05, 0.0))
    return PlacedObject(model, np.array([*positions[side], elevation]), yaw)


def _place_at_wall(layout: Layout, model: FurnitureModel, rng: np.random.Generator) -> None:
    _try(layout, lambda: _beside_wall(layout, model, rng))


def _place_on_floor(layout: Layout, model: FurnitureModel, rng: np.random.Generator) -> None:
    def propose() -> PlacedObject:
        yaw = float(rng.choice([0, np.pi / 2, np.pi, -np.pi / 2]) + rng.normal(0, 0.15))
        x, y = (rng.uniform(0.1 * side, 0.9 * side) for side in layout.size[:2])
        return PlacedObject(model, np.array([x, y, model.elevation]), yaw)

    _try(layout, propose)


def _place_on_ceiling(layout: Layout, model: FurnitureModel, rng: np.random.Generator) -> None:
    def propose() -> PlacedObject:
        x, y = (rng.uniform(0.25 * side, 0.75 * side) for side in layout.size[:2])
        return PlacedObject(model, np.array([x, y, layout.size[2] - model.size[2]]), 0.0)

    _try(layout, propose)


def _place_rug(layout: Layout, model: FurnitureModel, rng: np.random.Generator) -> None:
    # Furniture may stand on it.
    x, y = (rng.uniform(0.35 * side, 0.65 * side) for side in layout.size[:2])
    rug = PlacedObject(model, np.array([x, y, 0.0]), float(rng.choice([0, np.pi / 2])))
    if Layout(layout.size).is_free(rug):
        layout.objects.append(rug)


def _place_seat(layout: Layout, model: FurnitureModel, rng: np.random.Generator) -> None:
    tables = [
        each
        for each in layout.objects
        if each.model.entry.noun in _TABLES and 0.55 <= each.top <= 1.1
    ]
    if not tables:
        _place_on_floor(layout, model, rng)
        return
    table = tables[int(rng.integers(len(tables)))]

    def propose() -> PlacedObject:
        # In front of what stands at a wall, on any side of a table.
        at_wall = table.model.entry.role == "wall_floor"
        turn = 0.0 if at_wall else float(rng.choice([0, np.pi / 2, np.pi, -np.pi / 2]))
        angle = table.yaw + turn
        outward = np.array([np.sin(angle), -np.cos(angle)])
        along = np.array([-outward[1], outward[0]])
        sides = table.size[:2] if abs(np.sin(turn)) < 0.5 else table.size[1::-1]
        distance = sides[1] / 2 + model.size[1] * (0.5 - _TUCKED * rng.random())
        shift = rng.uniform(-0.35, 0.35) * sides[0]
        xy = table.position[:2] + outward * distance + along * shift
        yaw = angle + np.pi + rng.normal(0, 0.12)
        return PlacedObject(model, np.array([*xy, 0.0]), float(yaw))

    _try(layout, propose, ignored=table)


def _place_sitting(layout: Layout, model: FurnitureModel, rng: np.random.Generator) -> None:
    seats = [
        each
        for each in layout.objects
        if each.model.entry.noun in ("chair", "couch", "bench") and each.position[2] < 0.05
    ]
    if not seats:
        return
    seat = seats[int(rng.integers(len(seats)))]
    inward = seat.size[1] / 2 - _SITTING_BACK_M
    xy = seat.position[:2] - seat.front * inward + seat.front * model.size[1] / 2
    person = PlacedObject(model, np.array([*xy, 0.0]), seat.yaw)
    if layout.is_free(person, ignored=seat):
        layout.objects.append(person)


def _place_lying(layout: Layout, model: FurnitureModel, rng: np.random.Generator) -> None:
    beds = [each for each in layout.objects if each.model.entry.noun in ("bed", "couch")]
    if not beds:
        return
    bed = beds[int(rng.integers(len(beds)))]
    lengthwise = (model.size[0] > model.size[1]) == (bed.size[0] > bed.size[1])
    yaw = bed.yaw + (0.0 if lengthwise else np.pi / 2)
    height = min(bed.model.top, 0.55)
    person = PlacedObject(model, np.array([*bed.position[:2], height]), yaw)
    if layout.is_free(person, ignored=bed):
        layout.objects.append(person)


def _place_on_surface(layout: Layout, model: FurnitureModel, rng: np.random.Generator) -> None:
    carriers = [
        each
        for each in layout.objects
        if each.model.entry.carries and _fits(model, each) and each.top < 1.6
    ]
    if not carriers:
        return
    areas = np.array([each.size[0] * each.size[1] for each in carriers])
    carrier = carriers[int(rng.choice(len(carriers), p=areas / areas.sum()))]

    def propose() -> PlacedObject:
        # Things usually face the front of what carries them.
        yaw = float(carrier.yaw + rng.normal(0, 0.35))
        half = carrier.size[:2] * (0.5 - _SURFACE_MARGIN) - max(model.size[:2]) / 2
        x, y = rng.uniform(-1, 1, 2) * half.clip(0)
        cos, sin = np.cos(carrier.yaw), np.sin(carrier.yaw)
        xy = carrier.position[:2] + np.array([cos * x - sin * y, sin * x + cos * y])
        return PlacedObject(model, np.array([*xy, carrier.top + 1e-3]), yaw)

    _try(layout, propose, ignored=carrier)


def _fits(model: FurnitureModel, carrier: PlacedObject) -> bool:
    return max(model.size[:2]) < min(carrier.size[:2]) * (1 - 2 * _SURFACE_MARGIN)


_PLACERS: Mapping[str, Callable[[Layout, FurnitureModel, np.random.Generator], object]] = {
    "opening": _place_at_wall,
    "wall_floor": _place_at_wall,
    "floor": _place_on_floor,
    "seat": _place_seat,
    "person_sitting": _place_sitting,
    "person_lying": _place_lying,
    "person_standing": _place_on_floor,
    "rug": _place_rug,
    "wall": _place_at_wall,
    "ceiling": _place_on_ceiling,
    "surface": _place_on_surface,
}
