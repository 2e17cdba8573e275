# SPDX-License-Identifier: Apache-2.0
from itertools import combinations

import numpy as np
import pytest

from mrmllm_ros.datasets.rendered.layout import Layout, PlacedObject, furnish
from mrmllm_ros.datasets.rendered.places import Item, Place

SEEDS = range(15)


@pytest.fixture(scope="module")
def models(make_model):
    """Models of each role."""
    return (
        make_model("window", "opening", (1.2, 0.1, 1.0), elevation=1.0),
        make_model("desk", "wall_floor", (1.4, 0.7, 0.75), carries=True),
        make_model("cabinet", "wall_floor", (0.8, 0.5, 0.9), carries=True),
        make_model("bed", "wall_floor", (1.4, 2.0, 0.5)),
        make_model("dining table", "floor", (1.5, 0.9, 0.75), carries=True),
        make_model("chair", "seat", (0.45, 0.5, 0.9)),
        make_model("bench", "seat", (1.2, 0.5, 0.45)),
        make_model("rug", "rug", (2.0, 1.4, 0.01)),
        make_model("clock", "wall", (0.3, 0.05, 0.3), elevation=1.6),
        make_model("lamp", "ceiling", (0.4, 0.4, 0.5)),
        make_model("cup", "surface", (0.08, 0.08, 0.1)),
        make_model("plate", "surface", (0.25, 0.25, 0.015)),
        make_model("pen", "surface", (0.14, 0.01, 0.01)),
        make_model("tray", "surface", (1.6, 1.0, 0.05)),
    )


@pytest.fixture(scope="module")
def people(make_model):
    return {
        "person_sitting": make_model("person", "person_sitting", (0.5, 0.7, 1.3)),
        "person_lying": make_model("person", "person_lying", (0.5, 1.7, 0.3)),
        "person_standing": make_model("person", "person_standing", (0.5, 0.4, 1.7)),
    }


def make_place(room=((6, 6), (5, 5), (2.6, 2.6)), **counts):
    """A place with a number of objects of each noun."""
    return Place(
        name="kitchen",
        room=room,
        camera_height=(1, 1),
        camera_pitch=(0, 0),
        items=tuple(
            Item(nouns={noun.replace("_", " "): 1}, count=(count, count))
            for noun, count in counts.items()
        ),
    )


FULL = make_place(
    window=2, desk=2, cabinet=2, bed=1, dining_table=1, chair=4, rug=1, clock=2, lamp=1,
    cup=5, plate=5, pen=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def layouts(models):
    return [furnish(FULL, models, np.random.default_rng(seed)) for seed in SEEDS]


def named(layout, *nouns):
    return [each for each in layout.objects if each.model.entry.noun in nouns]


def overlap(first, second):
    """(3,) extent of the intersection of two boxes; negative if they are apart."""
    (low, high), (other_low, other_high) = first.bounds, second.bounds
    return np.minimum(high, other_high) - np.maximum(low, other_low)


def in_outline(point, placed):
    """Whether a point is within the outline of an object from above."""
    local = np.linalg.inv(placed.transform) @ [*point, 1]
    return (np.abs(local[:2]) <= placed.size[:2] / 2 + 1e-6).all()


def carriers_of(thing, layout):
    """The carrier below an object."""
    return [
        each
        for each in layout.objects
        if each.model.entry.carries
        and in_outline(thing.position, each)
        and abs(thing.position[2] - each.top) < 0.01
    ]


def test_equal_generators_furnish_equal_rooms(models, layouts):
    again = furnish(FULL, models, np.random.default_rng(0))
    assert again.size == layouts[0].size
    assert [x.model for x in again.objects] == [x.model for x in layouts[0].objects]
    assert np.array_equal(
        [x.transform for x in again.objects], [x.transform for x in layouts[0].objects]
    )


def test_everything_is_inside_the_room(layouts):
    for layout in layouts:
        for each in layout.objects:
            low, high = each.bounds
            assert (low >= -1e-6).all(), each.model.title
            assert (high <= np.add(layout.size, 1e-6)).all(), each.model.title


def test_nothing_overlaps_but_what_stands_on_or_at_another(layouts):
    for layout in layouts:
        for first, second in combinations(layout.objects, 2):
            if (overlap(first, second) <= 0).any():
                continue
            roles = {first.model.entry.role, second.model.entry.role}
            nouns = {first.model.entry.noun, second.model.entry.noun}
            assert "rug" in roles or ("seat" in roles and nouns & {"desk", "dining table"}), nouns


def test_small_things_stand_on_what_carries_them(layouts):
    things = 0
    for layout in layouts:
        for thing in named(layout, "cup", "plate", "pen"):
            assert len(carriers_of(thing, layout)) == 1
            things += 1
    assert things > 5 * len(layouts)


def test_seats_are_at_tables_and_face_them(layouts):
    seats = 0
    for layout in layouts:
        tables = named(layout, "desk", "dining table")
        for seat in named(layout, "chair"):
            seats += 1
            # In front of the seat, a table is within arm's reach.
            reached = seat.position + np.append(seat.front, 0) * (seat.size[1] / 2 + 0.1)
            assert any(in_outline(reached, table) for table in tables)
            assert not any(in_outline(seat.position, table) for table in tables)
    assert seats > len(layouts)


def test_seats_stand_in_front_of_a_table_at_a_wall(models):
    for seed in SEEDS:
        layout = furnish(make_place(desk=1, chair=2), models, np.random.default_rng(seed))
        [desk] = named(layout, "desk")
        for seat in named(layout, "chair"):
            assert np.dot(seat.position[:2] - desk.position[:2], desk.front) > desk.size[1] / 2
            assert np.dot(seat.front, desk.front) < -0.8


def test_seats_keep_out_of_cabinets(models):
    for seed in SEEDS:
        layout = furnish(make_place(cabinet=3, chair=3), models, np.random.default_rng(seed))
        for first, second in combinations(layout.objects, 2):
            assert (overlap(first, second) <= 0).any()


def test_backs_are_at_walls(layouts):
    for layout in layouts:
        for each in named(layout, "desk", "cabinet", "bed", "window", "clock"):
            back = each.position[:2] - each.front * each.size[1] / 2
            gaps = np.minimum(back, np.asarray(layout.size[:2]) - back)
            assert gaps.min() == pytest.approx(0.01, abs=1e-6)


def test_things_hang_at_their_height(layouts):
    for layout in layouts:
        assert all(each.position[2] == pytest.approx(1.6) for each in named(layout, "clock"))
        for each in named(layout, "lamp"):
            assert each.bounds[1, 2] == pytest.approx(layout.size[2])


def test_a_thing_larger_than_all_carriers_is_left_out(models):
    place = make_place(dining_table=1, tray=3)
    assert not named(furnish(place, models, np.random.default_rng(0)), "tray")


def test_small_things_without_a_carrier_are_left_out(models):
    layout = furnish(make_place(bed=1, cup=3), models, np.random.default_rng(0))
    assert [each.model.entry.noun for each in layout.objects] == ["bed"]


def test_a_noun_without_a_model_is_not_drawn(models):
    layout = furnish(make_place(unicorn=3, bed=1), models, np.random.default_rng(0))
    assert [each.model.entry.noun for each in layout.objects] == ["bed"]


def test_without_models_the_room_is_empty():
    layout = furnish(FULL, [], np.random.default_rng(0))
    assert layout == Layout((6.0, 5.0, 2.6), [])


def test_objects_that_do_not_fit_the_room_are_left_out(models):
    place = make_place(((1, 1), (1, 1), (2.4, 2.4)), dining_table=1, bed=1, desk=2, rug=1)
    assert furnish(place, models, np.random.default_rng(0)).objects == []


def test_alike_objects_are_of_one_model(make_model):
    chairs = [make_model("chair", "seat", title=str(number)) for number in range(10)]
    item = Item(nouns={"chair": 1}, count=(4, 4), same=True)
    place = Place(
        name="office", room=((9, 9),) * 3, camera_height=(1, 1), camera_pitch=(0, 0), items=(item,)
    )
    for seed in SEEDS:
        layout = furnish(place, chairs, np.random.default_rng(seed))
        assert len({each.model.title for each in layout.objects}) == 1


class TestPeople:
    def place_one(self, models, person, seed, **counts):
        layout = furnish(
            make_place(**counts, person=1), [*models, person], np.random.default_rng(seed)
        )
        return layout, named(layout, "person")

    def test_they_sit_on_a_seat_and_look_where_it_faces(self, models, people):
        person, sitting = people["person_sitting"], 0
        for seed in SEEDS:
            layout, found = self.place_one(models, person, seed, chair=1)
            [chair] = named(layout, "chair")
            for each in found:
                sitting += 1
                assert each.yaw == chair.yaw
                assert (overlap(each, chair) > 0).all()
        assert sitting > len(SEEDS) / 2

    def test_they_lie_on_a_bed(self, models, people):
        layout, [person] = self.place_one(models, people["person_lying"], 0, bed=1)
        [bed] = named(layout, "bed")
        assert person.position[2] == pytest.approx(bed.top)
        assert (overlap(person, bed)[:2] > 0.4).all()

    @pytest.mark.parametrize("role", ["person_sitting", "person_lying"])
    def test_without_a_place_they_are_left_out(self, models, people, role):
        assert self.place_one(models, people[role], 0, cabinet=1)[1] == []

    def test_they_stand_on_the_floor(self, models, people):
        _, [person] = self.place_one(models, people["person_standing"], 0, bed=1)
        assert person.position[2] == 0


class TestPlacedObject:
    def test_bounds_hold_the_turned_box(self, make_model):
        placed = PlacedObject(make_model("box", size=(2, 1, 0.5)), np.array([3, 4, 1]), np.pi / 2)
        assert np.allclose(placed.bounds, [[2.5, 3, 1], [3.5, 5, 1.5]])

    @pytest.mark.parametrize("yaw", [0.0, 0.4, np.pi / 2, -2.5])
    def test_the_transform_turns_the_front_of_the_mesh(self, make_model, yaw):
        placed = PlacedObject(make_model("box"), np.array([3, 4, 1]), yaw, scale=2.0)
        front = placed.transform @ [0, -0.5, 0, 1]
        assert np.allclose(front[:3], [*(np.array([3, 4]) + placed.front), 1])

    def test_scale_changes_size_and_top(self, make_model):
        model = make_model("box", size=(2, 1, 0.5), top=0.4)
        placed = PlacedObject(model, np.array([0, 0, 1]), 0.0, scale=2.0)
        assert placed.size.tolist() == [4, 2, 1]
        assert placed.top == pytest.approx(1.8)
