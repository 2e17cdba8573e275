# SPDX-License-Identifier: Apache-2.0
"""Questions about listed objects, with answers that cite them.

Every answer follows from the list alone, but for what a question takes for granted ("the old
car"), so that none teaches a model to say what it cannot know.
The forms of the answers are few and fixed, which a small language model learns best.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from itertools import permutations
from typing import TypeVar

import numpy as np

from mrmllm_ros.model import prompt
from mrmllm_ros.model.configuration_mrmllm import COLOURS
from mrmllm_ros.training.data.example import QuestionAnswer, Truth
from mrmllm_ros.training.data.nouns import (
    KINDS_OF_THINGS,
    STATES,
    Split,
    confusable,
    is_person,
    other_words,
    overlap,
    plural,
    plural_only,
    with_article,
)
from mrmllm_ros.training.data.wordings import british, wording

# Least differences that count, so that no answer depends on a jittering box: shares of the image
# (`NEARER` also in meters), ratio of areas, meters between two objects that are compared.
BESIDE, ABOVE, NEARER, BIGGER, METERS_APART = 0.08, 0.12, 0.05, 1.4, 0.15
MOST_COUNTED, MOST_PLACES, MOST_ON_SIDE, MOST_GROUPS = 15, 4, 8, 5
CANNOT_TELL = "I can't tell that from what I see."

_NUMBERS = (
    *("no", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
# The columns of `prompt.places`.
_AXES = ("across", "down")
# Which of them tells how one of two is in relation to the other, and how it then is.
_RELATED = {
    "left of": (0, "further left"),
    "right of": (0, "further right"),
    "above": (1, "above"),
    "below": (1, "below"),
}
_OPPOSITES = {a: b for pair in STATES.values() for a, b in (pair, pair[::-1])}
# How often a thing is called otherwise than the list calls it.
_CALLED_OTHERWISE = 0.25
# How often the only one of its name is told by more than the list says of it.
_DESCRIBED = 0.2
# What a small language model learns last; training asks about it once more for each mention.
HARD = (
    *("position", "relation", "relation", "count", "nearest", "listing", "description"),
    *("distance", "distance", "distance"),
)
# How often a question is in British spelling; answers are in American spelling.
_BRITISH = 0.3
# How often a question about a distance that is not stated is kept: they are all answered alike.
_UNKNOWN_ASKED = 0.3
# Tries to find another question of a family before it counts as used up.
_TRIES = 6

T = TypeVar("T")


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """The objects of an image as the prompt lists them. That at index i is cited as i + 1.

    Attributes:
        labels: N names.
        boxes: (N, 4) left, top, right, bottom as shares of the image, from 0 to 1.
        attributes: Of each object what else is known: `colour`, `state`, `distance` ("2.1 m").

    Raises:
        ValueError: If the parts are not about the same number of objects.
    """

    labels: tuple[str, ...]
    boxes: np.ndarray
    attributes: tuple[Mapping[str, str], ...]

    def __post_init__(self) -> None:
        count = len(self.labels)
        if self.boxes.shape != (count, 4) or len(self.attributes) != count:
            raise ValueError(
                f"{count} labels, but boxes of shape {self.boxes.shape} and attributes of "
                f"{len(self.attributes)}"
            )


def ask(
    scene: Scene,
    rng: np.random.Generator,
    count: int,
    split: Split,
    vocabulary: Sequence[str],
    missed: Collection[str] = (),
) -> tuple[QuestionAnswer, ...]:
    """Draw questions about a scene, about as many of each family as it allows.

    In training there are more of the `HARD` ones.

    Args:
        scene: The objects.
        rng: Source of chance.
        count: Most questions; there are fewer where the scene does not give as many.
        split: Whose wordings to use.
        vocabulary: Names to draw objects from that are not there.
        missed: Names of which there is more than is listed, perhaps: none of them is said not to
            be there, or not in some place or colour.

    Returns:
        Distinct questions in random order of families.
    """
    draw = _Draw(scene, rng, split, tuple(vocabulary), frozenset(missed))
    made: dict[str, QuestionAnswer] = {}
    wanted = (*_FAMILIES, *HARD) if split == "train" else FAMILIES
    families = [str(family) for family in rng.permutation(wanted)]
    while families and len(made) < count:
        for family in tuple(families):
            if len(made) == count:
                break
            new = _another(draw, family, made)
            if new is None:
                families.remove(family)
            else:
                made[_key(new)] = new
    return tuple(made.values())


def _another(
    draw: _Draw, family: str, made: Mapping[str, QuestionAnswer]
) -> QuestionAnswer | None:
    for _ in range(_TRIES):
        form = draw.pick(_FAMILIES[family])
        try:
            question, answer, truth = form(draw)
        except _NothingToAskError:
            continue
        if draw.chance(_BRITISH):
            question = british(question)
        new = QuestionAnswer(question=question, answer=answer, family=family, truth=truth)
        if _key(new) not in made:
            return new
    return None


def _key(item: QuestionAnswer) -> str:
    # An empty question and this one are the same prompt.
    return (item.question or prompt.DESCRIBE).lower().rstrip("?.")


class _NothingToAskError(Exception):
    """The scene does not serve this question."""


@dataclass(frozen=True, eq=False)
class _Draw:
    """A scene with all that drawing questions about it needs."""

    scene: Scene
    rng: np.random.Generator
    split: Split
    vocabulary: tuple[str, ...]
    missed: frozenset[str]

    def pick(self, items: Sequence[T]) -> T:
        if not items:
            raise _NothingToAskError
        return items[int(self.rng.integers(len(items)))]

    def chance(self, share: float = 0.5) -> bool:
        return bool(self.rng.random() < share)

    def put(self, name: str, fields: Mapping[str, str] | None = None) -> str:
        return wording(name, self.split, float(self.rng.random()), fields or {})

    @cached_property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Ids by label, in the order of each label's first id."""
        groups: dict[str, tuple[int, ...]] = {}
        for i, label in enumerate(self.scene.labels, start=1):
            groups[label] = (*groups.get(label, ()), i)
        return groups

    @cached_property
    def singles(self) -> tuple[int, ...]:
        """Ids of the objects whose label no other has."""
        return tuple(ids[0] for ids in self.groups.values() if len(ids) == 1)

    @cached_property
    def sides(self) -> tuple[str, ...]:
        # Those of the prompt, or an answer contradicts what the prompt says.
        return tuple(map(prompt.side, prompt.centers_x(self.scene.boxes)))

    @cached_property
    def places(self) -> np.ndarray:
        """(N, 2) the numbers of the prompt's lines, across and down."""
        return prompt.places(self.scene.boxes)

    @cached_property
    def meters(self) -> np.ndarray:
        """(N,) stated distances in meters, NaN where unknown."""
        attributes = self.scene.attributes
        if not prompt.distances_stated(attributes):
            return np.full(len(attributes), np.nan)
        return prompt.how_far(self.scene.boxes[:, 3], attributes)

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """Ids of all objects."""
        return tuple(range(1, len(self.scene.labels) + 1))

    def is_known(self, ids: Iterable[int]) -> bool:
        """Whether the distance of every one of these objects is stated."""
        return not any(np.isnan(self.meters[i - 1]) for i in ids)

    @cached_property
    def areas(self) -> np.ndarray:
        return np.prod(self.scene.boxes[:, 2:] - self.scene.boxes[:, :2], axis=1)

    def groups_of(self, least: int, most: int) -> list[tuple[str, tuple[int, ...]]]:
        return [(x, ids) for x, ids in self.groups.items() if least <= len(ids) <= most]

    def label(self, i: int) -> str:
        return self.scene.labels[i - 1]

    def side(self, i: int) -> str:
        return self.sides[i - 1]

    def colour(self, i: int) -> str | None:
        # What is called by a colour, such as an orange, would be mistaken for it.
        return None if self.label(i) in COLOURS else self.scene.attributes[i - 1].get("colour")

    def colours(self, ids: Iterable[int]) -> tuple[str, ...]:
        """The colours of these objects, or nothing to ask where one is unknown."""
        found = tuple(colour for i in ids if (colour := self.colour(i)))
        if len(found) < len(tuple(ids)):
            raise _NothingToAskError
        return found

    def called(self, label: str) -> str:
        """What a person may call it, who has not read the list."""
        others = self.groups.keys() - {label}
        words = [
            word
            for word in other_words(label)
            if not any(overlap(word, other) or word in other_words(other) for other in others)
        ]
        return self.pick(words) if words and self.chance(_CALLED_OTHERWISE) else label

    def referred(self, *, by_colour: bool = False, by_side: bool = False) -> tuple[int, str]:
        """An object, and words that mean it and no other.

        Args:
            by_colour: Whether the words may tell it by its colour: `red car`, `man in a red coat`.
            by_side: Whether they may tell it by where it is: `man on the left`.
        """
        found: list[tuple[int, str]] = []
        if by_colour and self.chance():
            found = [
                (i, self.in_colour(self.label(i), colour))
                for i, colour in self.only_ones(self.colour)
            ]
        elif by_side and self.chance():
            found = [
                (i, f"{self.called(self.label(i))} {_on(side)}")
                for i, side in self.only_ones(self.side)
            ]
        if found:
            return self.pick(found)
        i = self.pick(self.singles)
        return i, self.described(self.label(i))

    def described(self, label: str) -> str:
        """What a person may call it, now and then with more than the list tells of it."""
        name = self.called(label)
        if plural(label) == label or not self.chance(_DESCRIBED):
            return name
        return self.put("described_person" if is_person(label) else "described", {"x": name})

    def only_ones(self, what: Callable[[int], str | None]) -> list[tuple[int, str]]:
        """Objects that alone among those of their name have a value, and the value."""
        found: list[tuple[int, str]] = []
        for label, ids in self.groups.items():
            values = {i: value for i in ids if (value := what(i))}
            if not plural_only(label):
                count = Counter(values.values())
                found += [(i, value) for i, value in values.items() if count[value] == 1]
        return found

    def in_colour(self, label: str, colour: str) -> str:
        """`red car`, or of somebody `person in a red coat`, in other words now and then."""
        name = self.called(label)
        if not is_person(label):
            return f"{colour} {name}"
        return f"{name} {self.put('dressed', {'colour': colour})}"

    def absent(self) -> str:
        """A name of nothing in the scene; half the time of something that could well be there."""
        if self.scene.labels and self.chance():
            near = confusable(self.pick(self.scene.labels))
            known = _words(self.vocabulary)
            pool = [label for label in near if label in known and self._is_absent(label)]
            if pool:
                return self.pick(pool)
        for _ in range(20):
            label = self.pick(self.vocabulary)
            if self._is_absent(label):
                return label
        raise _NothingToAskError

    @cached_property
    def there(self) -> frozenset[str]:
        """Labels of all that is there, whether it is listed or not."""
        return self.missed | self.groups.keys()

    def _is_absent(self, label: str) -> bool:
        return not any(overlap(label, other) for other in self.there)


Form = Callable[[_Draw], tuple[str, str, Truth]]
_Groups = Sequence[tuple[str, tuple[int, ...]]]


@cache
def _words(vocabulary: tuple[str, ...]) -> frozenset[str]:
    return frozenset(vocabulary)


def _verbs(label: str) -> tuple[str, str]:
    return ("are", "do") if plural_only(label) else ("is", "does")


def _fields(label: str, **more: str) -> dict[str, str]:
    """What templates say of a thing; see `wordings`."""
    is_, does = _verbs(label)
    return {
        "x": label,
        "xs": plural(label),
        "a_x": with_article(label),
        "Is": is_,
        "Is_cap": is_.capitalize(),
        "Does": does,
        "Does_cap": does.capitalize(),
        **more,
    }


def _colour_fields(draw: _Draw, label: str, colour: str) -> dict[str, str]:
    name = _neutral(draw, label)
    a_red_x = with_article(name, colour)
    if is_person(label):
        a_red_x = f"{with_article(name)} {draw.put('dressed', {'colour': colour})}"
    return _fields(
        name,
        colour=colour,
        red_x=draw.in_colour(label, colour),
        red_xs=_in_colour(label, plural(name), colour),
        a_red_x=a_red_x,
    )


def _neutral(draw: _Draw, label: str) -> str:
    """What it may be called where all of its name are meant: people are not all men."""
    return label if is_person(label) else draw.called(label)


def _in_colour(label: str, name: str, colour: str) -> str:
    """`red cars`, but `people in red`."""
    return f"{name} in {colour}" if is_person(label) else f"{colour} {name}"


def _one(label: str, colour: str | None = None) -> str:
    """`a car`, `a red car`, `a person in red`."""
    if colour is None or is_person(label):
        return with_article(label) + (f" in {colour}" if colour else "")
    return with_article(label, colour)


def _cite(ids: Iterable[int]) -> str:
    return "".join(f"[{i}]" for i in ids)


def _seen(label: str, ids: Sequence[int], colour: str | None = None) -> str:
    """`a dog [3]`, `people [1][4]`, `red cars [2][5]`."""
    if len(ids) == 1:
        return f"{_one(label, colour)} {_cite(ids)}"
    return f"{_name(plural(label), label, colour)} {_cite(ids)}"


def _name(name: str, label: str, colour: str | None) -> str:
    return _in_colour(label, name, colour) if colour else name


def _joined(parts: Sequence[str]) -> str:
    return " and ".join([part for part in (", ".join(parts[:-1]), parts[-1]) if part])


def _on(side: str) -> str:
    return "in the middle" if side == "middle" else f"on the {side}"


def _the(draw: _Draw, i: int) -> str:
    return f"the {draw.label(i)} {_cite([i])}"


def _yes_no(subject: str, holds: bool, verb: str, true: str) -> str:
    """`The dog [3] is on the left, so no.`: what has been read off is easily judged."""
    return f"{_capital(subject)} {verb} {true}, so {'yes' if holds else 'no'}."


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _polar(holds: bool, *ids: int) -> Truth:
    return Truth(polarity=holds, cited=frozenset(ids))


def _picked(i: int) -> Truth:
    return Truth(cited=frozenset([i]), cites_answer=True)


def _existence(draw: _Draw) -> tuple[str, str, Truth]:
    if draw.groups and draw.chance():
        label, ids = draw.pick(draw.groups_of(1, MOST_COUNTED))
        return (
            draw.put("existence", _fields(_neutral(draw, label))),
            f"Yes, I see {_seen(label, ids)}.",
            _polar(True, *ids),
        )
    label = draw.absent()
    return (
        draw.put("existence", _fields(label)),
        f"No, I do not see {_one(label)}.",
        _polar(False),
    )


def _count(draw: _Draw) -> tuple[str, str, Truth]:
    if not draw.groups or draw.chance(0.2):
        label, ids = draw.absent(), ()
    else:
        # Most groups are of one: as often as not, one that takes counting.
        several = draw.groups_of(2, MOST_COUNTED) if draw.chance() else []
        label, ids = draw.pick(several or draw.groups_of(1, MOST_COUNTED))
    question = draw.put("count", _fields(_neutral(draw, label)))
    # The prompt has counted them.
    name = label if len(ids) == 1 else plural(label)
    cited = f" {_cite(ids)}" if ids else ""
    return question, f"I see {_number_word(len(ids))} {name}{cited}.", _number(ids)


def _counted(label: str, ids: Sequence[int], colour: str | None = None) -> str:
    """`I see dogs [3][5], two in all.`: what has been cited is easily counted."""
    if not ids:
        return f"I see no {_name(plural(label), label, colour)}."
    return f"I see {_seen(label, ids, colour)}, {_number_word(len(ids))} in all."


def _of_side(draw: _Draw) -> tuple[str, str, tuple[int, ...]]:
    """A label and a side, and which are both; often none, now and then no such thing."""
    side = draw.pick(prompt.SIDES)
    if draw.chance(0.15):
        return draw.absent(), side, ()
    groups = draw.groups_of(1, MOST_COUNTED)
    there = [label for label, ids in groups if side in map(draw.side, ids)]
    label = draw.pick(there if there and draw.chance(0.3) else [label for label, _ in groups])
    ids = tuple(i for i in draw.groups[label] if draw.side(i) == side)
    return label, side, _none_missed(draw, label, ids)


def _none_missed(draw: _Draw, label: str, found: T) -> T:
    """What was found, or nothing to ask where it is nothing for want of what is not listed."""
    if not found and any(overlap(label, missed) for missed in draw.missed):
        raise _NothingToAskError
    return found


def _existence_side(draw: _Draw) -> tuple[str, str, Truth]:
    label, side, ids = _of_side(draw)
    where = _on(side)
    question = draw.put("existence_side", _fields(_neutral(draw, label), on_side=where))
    if few := _few(draw, label):
        answer = f"{_places(draw, label, few)}, so {'yes' if ids else 'no'}."
        return question, answer, _polar(bool(ids), *few)
    seen = f"Yes, {where} I see {_seen(label, ids)}." if ids else ""
    return question, seen or f"No, I do not see {_one(label)} {where}.", _polar(bool(ids), *ids)


def _few(draw: _Draw, label: str) -> tuple[int, ...]:
    """All of a label if they are few enough to tell the place of each, else none."""
    ids = draw.groups.get(label, ())
    return ids if len(ids) <= MOST_PLACES else ()


def _places(draw: _Draw, label: str, ids: Sequence[int]) -> str:
    """`The dog [3] is on the left` or `The dogs are [1] in the middle, [3] on the left`."""
    if len(ids) == 1:
        return f"The {label} {_cite(ids)} {_verbs(label)[0]} {_on(draw.side(ids[0]))}"
    places = ", ".join(f"{_cite([i])} {_on(draw.side(i))}" for i in ids)
    return f"The {plural(label)} are {places}"


def _count_side(draw: _Draw) -> tuple[str, str, Truth]:
    label, side, ids = _of_side(draw)
    where = _on(side)
    question = draw.put("count_side", _fields(_neutral(draw, label), on_side=where))
    if few := _few(draw, label):
        found = _number_word(len(ids)) if ids else "none"
        answer = f"{_places(draw, label, few)}, so {found}."
        return question, answer, Truth(number=len(ids), cited=frozenset(few))
    return question, f"{_capital(where)} {_counted(label, ids)}", _number(ids)


def _number_word(number: int) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)


def _number(ids: Sequence[int]) -> Truth:
    return Truth(number=len(ids), cited=frozenset(ids))


def _where(draw: _Draw) -> tuple[str, str, Truth]:
    i, name = draw.referred(by_colour=True)
    label = draw.label(i)
    one_side = draw.side(i) != "middle" and draw.chance(0.3)
    return (
        draw.put("left_or_right" if one_side else "where", _fields(name)),
        f"{_places(draw, label, [i])}.",
        _sides_truth(draw, [i]),
    )


def _where_all(draw: _Draw) -> tuple[str, str, Truth]:
    label, ids = draw.pick(draw.groups_of(2, MOST_PLACES))
    return (
        draw.put("where_all", _fields(_neutral(draw, label))),
        f"{_places(draw, label, ids)}.",
        replace(_sides_truth(draw, ids), pairs=frozenset((i, draw.side(i)) for i in ids)),
    )


def _sides_truth(draw: _Draw, ids: Sequence[int]) -> Truth:
    mentions = frozenset(draw.side(i) for i in ids)
    return Truth(mentions=mentions, among=frozenset(prompt.SIDES), cited=frozenset(ids))


def _is_on_side(draw: _Draw) -> tuple[str, str, Truth]:
    i, name = draw.referred(by_colour=True)
    label, side = draw.label(i), draw.side(i)
    holds = _none_missed(draw, label, draw.chance())
    asked = side if holds else draw.pick([other for other in prompt.SIDES if other != side])
    return (
        draw.put("is_on_side", _fields(name, on_side=_on(asked))),
        _yes_no(_the(draw, i), holds, _verbs(label)[0], _on(side)),
        _polar(holds, i),
    )


def _what_on_side(draw: _Draw) -> tuple[str, str, Truth]:
    side = draw.pick(prompt.SIDES)
    # As the prompt's line of sides has them: numbers that have been copied are easily named.
    ids = (prompt.by_side(draw.scene.boxes)[side] + 1).tolist()
    # Sides are often empty: not every time is worth a question.
    if len(ids) > MOST_ON_SIDE or (not ids and (draw.missed or draw.chance(0.6))):
        raise _NothingToAskError
    where = _on(side)
    return (
        draw.put("what_on_side", {"on_side": where}),
        f"{_capital(where)} I see {_numbered(draw, ids)}.",
        Truth(
            mentions=frozenset(draw.label(i) for i in ids),
            among=frozenset(draw.groups),
            cited=frozenset(ids),
        ),
    )


def _numbered(draw: _Draw, ids: Sequence[int]) -> str:
    """`[2], a person` or `[3][1]: [3] a person, [1] a bus`: the row is copied, then named."""
    if not ids:
        return "nothing"
    if len(ids) == 1:
        return f"{_cite(ids)}, {with_article(draw.label(ids[0]))}"
    names = ", ".join(f"{_cite([i])} {with_article(draw.label(i))}" for i in ids)
    return f"{_cite(ids)}: {names}"


def _relation(draw: _Draw) -> tuple[str, str, Truth]:
    a, b, words = _related(draw)
    true, false = words
    holds = draw.chance()
    fields = _two_fields(draw, a, b, relation=true if holds else false)
    return (
        draw.put("relation", fields),
        f"{_placed(draw, a, b, true)}, so {'yes' if holds else 'no'}.",
        _polar(holds, a, b),
    )


def _placed(draw: _Draw, a: int, b: int, relation: str) -> str:
    """`The dog [3] is 85% across and the door [5] 50%: the dog is further right`.

    Numbers that have been copied from the list are easily compared.
    """
    axis, how = _RELATED[relation]
    of_a, of_b = draw.places[[a - 1, b - 1], axis]
    be = _be(draw, a)
    where = f"{_the(draw, a)} {be} {of_a}% {_AXES[axis]} and {_the(draw, b)} {of_b}%"
    return f"{_capital(where)}: the {draw.label(a)} {be} {how}"


def _which_relation(draw: _Draw) -> tuple[str, str, Truth]:
    a, b, words = _related(draw)
    first, second = words if draw.chance() else words[::-1]
    fields = _two_fields(draw, a, b, relation=f"{first.removesuffix(' of')} or {second}")
    told = frozenset(word.removesuffix(" of") for word in words)
    return (
        draw.put("which_relation", fields),
        f"{_placed(draw, a, b, words[0])}.",
        Truth(
            mentions=frozenset([words[0].removesuffix(" of")]), among=told, cited=frozenset([a, b])
        ),
    )


def _related(draw: _Draw) -> tuple[int, int, tuple[str, str]]:
    """Two objects, how the first one is to the other, and how it is not."""
    beside = draw.chance()
    # Of two things on one floor the higher one in the image is the one further up or away.
    boxes = draw.scene.boxes
    places = prompt.centers_x(boxes) if beside else boxes[:, 3]
    margin = BESIDE if beside else ABOVE
    pairs = [
        (a, b)
        for a, b in permutations(draw.singles, 2)
        if abs(places[a - 1] - places[b - 1]) > margin
    ]
    a, b = draw.pick(pairs)
    words = ("left of", "right of") if beside else ("above", "below")
    return a, b, words if places[a - 1] < places[b - 1] else words[::-1]


def _two_fields(draw: _Draw, a: int, b: int, **more: str) -> dict[str, str]:
    names = (draw.called(draw.label(i)) for i in (a, b))
    return _fields(next(names), y=next(names), **more)


def _extreme(draw: _Draw) -> tuple[str, str, Truth]:
    name = draw.pick(["largest", "smallest"])
    areas = draw.areas if name == "largest" else 1 / np.maximum(draw.areas, 1e-9)
    i = _ahead(areas, range(1, len(areas) + 1))
    return draw.put(name), f"The {name} {_be(draw, i)} {_the(draw, i)}.", _named(draw, i)


def _be(draw: _Draw, i: int) -> str:
    return _verbs(draw.label(i))[0]


def _named(draw: _Draw, i: int) -> Truth:
    return Truth(
        mentions=frozenset([draw.label(i)]),
        among=frozenset(draw.groups),
        cited=frozenset([i]),
        cites_answer=True,
    )


def _ahead(sizes: np.ndarray, ids: Iterable[int]) -> int:
    """The id that is clearly ahead of all others, of which there is at least one."""
    ranked = sorted(ids, key=lambda i: -sizes[i - 1])
    if len(ranked) < 2 or sizes[ranked[0] - 1] < BIGGER * sizes[ranked[1] - 1]:
        raise _NothingToAskError
    return ranked[0]


def _bigger(draw: _Draw) -> tuple[str, str, Truth]:
    sizes = draw.areas
    holds = draw.chance()
    a, b = draw.pick(
        [(a, b) if holds else (b, a) for a, b in _unequal(draw) if sizes[a - 1] >= sizes[b - 1]]
    )
    word = "bigger" if holds else "smaller"
    bigger = f"the {draw.label(a)} {_be(draw, a)} {word}"
    return (
        draw.put("bigger", _two_fields(draw, a, b)),
        f"Of {_the(draw, a)} and {_the(draw, b)}, {bigger}, so {'yes' if holds else 'no'}.",
        _polar(holds, a, b),
    )


def _unequal(draw: _Draw) -> list[tuple[int, int]]:
    """Two objects, in either order, one of which is clearly the bigger."""
    sizes = draw.areas
    return [
        (a, b)
        for a, b in permutations(draw.singles, 2)
        if max(sizes[a - 1], sizes[b - 1]) >= BIGGER * min(sizes[a - 1], sizes[b - 1])
    ]


def _which_bigger(draw: _Draw) -> tuple[str, str, Truth]:
    sizes = draw.areas
    a, b = draw.pick(_unequal(draw))
    word = draw.pick(["bigger", "smaller"])
    i = max((a, b), key=lambda i: sizes[i - 1] if word == "bigger" else -sizes[i - 1])
    truth = Truth(
        mentions=frozenset([draw.label(i)]),
        among=frozenset([draw.label(a), draw.label(b)]),
        cited=frozenset([i]),
        cites_answer=True,
    )
    question = draw.put(f"which_{word}", _two_fields(draw, a, b))
    return question, f"The {word} {_be(draw, i)} {_the(draw, i)}.", truth


def _nearest_of_ids(draw: _Draw, ids: Sequence[int], *, farthest: bool = False) -> int:
    """The nearest object by the prompt's order, or the farthest, if that order has them all."""
    far = prompt.how_far(draw.scene.boxes[:, 3], draw.scene.attributes)
    if any(np.isnan(far[i - 1]) for i in ids):
        raise _NothingToAskError
    ranked = sorted(ids, key=lambda i: far[i - 1], reverse=farthest)
    if not ranked or (len(ranked) > 1 and abs(far[ranked[1] - 1] - far[ranked[0] - 1]) < NEARER):
        raise _NothingToAskError
    return ranked[0]


def _nearest(draw: _Draw) -> tuple[str, str, Truth]:
    i = _nearest_of_ids(draw, draw.ids)
    # The number, which the prompt's order begins with, comes before the name that it leads to.
    return (
        draw.put("nearest"),
        f"The nearest is {_cite([i])}, the {draw.label(i)}.",
        _named(draw, i),
    )


def _farthest(draw: _Draw) -> tuple[str, str, Truth]:
    i = _nearest_of_ids(draw, draw.ids, farthest=True)
    answer = f"The farthest is {_cite([i])}, the {draw.label(i)}."
    return draw.put("farthest"), answer, _named(draw, i)


def _several(draw: _Draw) -> tuple[str, tuple[int, ...]]:
    """A label of at least two objects that can be told apart by "which"."""
    groups = draw.groups_of(2, MOST_COUNTED)
    return draw.pick([(label, ids) for label, ids in groups if not plural_only(label)])


def _nearest_of(draw: _Draw) -> tuple[str, str, Truth]:
    label, ids = _several(draw)
    i = _nearest_of_ids(draw, ids)
    answer = f"The nearest is {_the(draw, i)}."
    return draw.put("nearest_of", _fields(draw.called(label))), answer, _picked(i)


def _distance(draw: _Draw) -> tuple[str, str, Truth]:
    i, name = draw.referred(by_colour=True, by_side=True)
    question = draw.put("distance", _fields(name))
    if not draw.is_known([i]):
        return question, *_unknown_distance(draw, [i])
    return question, f"{_stated(draw, i)}.", _distances_truth(draw, [i])


def _distances(draw: _Draw) -> tuple[str, str, Truth]:
    """How far all of one name are, asked in the plural or as if there were only one."""
    label, ids = draw.pick(draw.groups_of(2, MOST_PLACES))
    name = "distances" if plural_only(label) or draw.chance() else "distance"
    question = draw.put(name, _fields(_neutral(draw, label)))
    if not draw.is_known(ids):
        return question, *_unknown_distance(draw, ids)
    pairs = frozenset((i, _meters(draw, i)) for i in ids)
    truth = replace(_distances_truth(draw, ids), pairs=pairs)
    return question, f"{_all_stated(draw, ids)}.", truth


def _distance_to_nearest(draw: _Draw) -> tuple[str, str, Truth]:
    label, ids = _singular_group(draw)
    i = _nearest_of_ids(draw, ids)
    question = draw.put("distance_to_nearest", _fields(_neutral(draw, label)))
    if not draw.is_known([i]):
        return question, *_unknown_distance(draw, [i])
    answer = f"The nearest {label} {_cite([i])} is {_meters(draw, i)} away."
    return question, answer, _distances_truth(draw, [i])


def _distance_to_nearest_object(draw: _Draw) -> tuple[str, str, Truth]:
    i = _nearest_of_ids(draw, draw.ids)
    question = draw.put("distance_to_nearest", _fields("object"))
    if not draw.is_known([i]):
        return question, *_unknown_distance(draw, [i])
    return question, f"{_nearest_stated(draw, i)}.", _distances_truth(draw, [i])


def _closer(draw: _Draw) -> tuple[str, str, Truth]:
    """Whether one thing is closer than another, or the nearest of its name."""
    label, ids = _singular_group(draw)
    other, others = _singular_group(draw)
    if label == other:
        raise _NothingToAskError
    name = draw.pick(["closer", "farther"])
    question = draw.put(name, _fields(_neutral(draw, label), y=_neutral(draw, other)))
    for unknown in (ids, others):
        if prompt.distances_stated(draw.scene.attributes) and not draw.is_known(unknown):
            return question, *_unknown_distance(draw, unknown)
    a, b = (_nearest_of_ids(draw, group) for group in (ids, others))
    is_closer = _is_closer(draw, a, b)
    holds = is_closer == (name == "closer")
    verdict = f"the {label} is {'closer' if is_closer else 'farther away'}"
    answer = f"{_compared(draw, a, b)}: {verdict}, so {'yes' if holds else 'no'}."
    return question, answer, _polar(holds, a, b)


def _compared(draw: _Draw, a: int, b: int) -> str:
    """`The bus [1] is 6.0 m away and the nearest dog [3] 2.1 m`, or how far down both are."""
    first, second = (_nearest_named(draw, i) for i in (a, b))
    if draw.is_known([a, b]):
        return f"{_capital(first)} is {_meters(draw, a)} away and {second} {_meters(draw, b)}"
    # Of two things on one floor the one further down in the image is nearer.
    down_a, down_b = draw.places[[a - 1, b - 1], 1]
    return f"{_capital(first)} is {down_a}% down and {second} {down_b}%"


def _is_closer(draw: _Draw, a: int, b: int) -> bool:
    """Whether one object is closer than another, where that is clear."""
    if draw.is_known([a, b]):
        difference, least = draw.meters[b - 1] - draw.meters[a - 1], METERS_APART
    else:
        lower_edges = draw.scene.boxes[:, 3]
        difference, least = lower_edges[a - 1] - lower_edges[b - 1], ABOVE
    if abs(difference) < least:
        raise _NothingToAskError
    return bool(difference > 0)


def _which_closer(draw: _Draw) -> tuple[str, str, Truth]:
    a, b = draw.pick(list(permutations(draw.singles, 2)))
    if prompt.distances_stated(draw.scene.attributes) and not draw.is_known([a, b]):
        raise _NothingToAskError
    word = draw.pick(["closer", "farther"])
    i = a if _is_closer(draw, a, b) == (word == "closer") else b
    question = draw.put(f"which_{word}", _two_fields(draw, a, b))
    away = f", {_meters(draw, i)} away" if draw.is_known([i]) else ""
    truth = Truth(
        mentions=frozenset([draw.label(i)]),
        among=frozenset([draw.label(a), draw.label(b)]),
        cited=frozenset([i]),
        cites_answer=True,
    )
    return question, f"The {word} {_be(draw, i)} {_the(draw, i)}{away}.", truth


def _existence_within(draw: _Draw) -> tuple[str, str, Truth]:
    absent = draw.chance(0.1)
    label, ids = (draw.absent(), ()) if absent else draw.pick(draw.groups_of(1, MOST_COUNTED))
    holds = _none_missed(draw, label, draw.chance())
    known = bool(ids) and draw.is_known(ids)
    i = min(ids, key=lambda i: draw.meters[i - 1], default=0)
    _, limit = _limit(draw, draw.meters[i - 1] if known else _some_distance(draw), holds)
    name = label if absent else _neutral(draw, label)
    question = draw.put("existence_within", _fields(name, limit=limit))
    if absent:
        return question, f"No, I do not see {_one(label)}.", _polar(False)
    if not known:
        return question, *_unknown_distance(draw, ids)
    evidence = f"{_capital(_nearest_named(draw, i))} {_be(draw, i)} {_meters(draw, i)} away"
    return question, f"{evidence}, so {'yes' if holds else 'no'}.", _polar(holds, i)


def _any_within(draw: _Draw) -> tuple[str, str, Truth]:
    """Whether anything, or anybody, is within a distance."""
    people = [i for i in draw.ids if is_person(draw.label(i))]
    name, ids = draw.pick([("anything_within", draw.ids), ("anybody_within", people)])
    holds = draw.chance()
    if not draw.is_known(ids) or (draw.missed and not holds):
        raise _NothingToAskError
    i = _nearest_of_ids(draw, ids)
    _, limit = _limit(draw, draw.meters[i - 1], holds)
    answer = f"{_nearest_stated(draw, i)}, so {'yes' if holds else 'no'}."
    return draw.put(name, {"limit": limit}), answer, _polar(holds, i)


def _is_within(draw: _Draw) -> tuple[str, str, Truth]:
    """Whether an object is within a distance, or beyond it."""
    i, called = draw.referred(by_colour=True, by_side=True)
    known, is_near = draw.is_known([i]), draw.chance()
    _, limit = _limit(draw, draw.meters[i - 1] if known else _some_distance(draw), is_near)
    name = draw.pick(["is_within", "is_within", "is_beyond"])
    question = draw.put(name, _fields(called, limit=limit))
    if not known:
        return question, *_unknown_distance(draw, [i])
    holds = is_near == (name == "is_within")
    return question, f"{_stated(draw, i)}, so {'yes' if holds else 'no'}.", _polar(holds, i)


def _count_within(draw: _Draw) -> tuple[str, str, Truth]:
    label, ids = draw.pick(draw.groups_of(2, MOST_PLACES) or draw.groups_of(1, 1))
    known = draw.is_known(ids)
    reference = draw.meters[draw.pick(ids) - 1] if known else _some_distance(draw)
    meters, limit = _limit(draw, reference, draw.chance())
    question = draw.put("count_within", _fields(_neutral(draw, label), limit=limit))
    if not known:
        return question, *_unknown_distance(draw, ids)
    distances = draw.meters[[i - 1 for i in ids]]
    if (np.abs(distances - meters) < NEARER).any():
        raise _NothingToAskError
    count = int((distances < meters).sum())
    answer = f"{_all_stated(draw, ids)}, so {_number_word(count) if count else 'none'}."
    return question, answer, Truth(number=count, cited=frozenset(ids))


def _singular_group(draw: _Draw) -> tuple[str, tuple[int, ...]]:
    """A label that has a singular, as often as not of several objects, and its ids."""
    several = draw.groups_of(2, MOST_COUNTED) if draw.chance() else []
    groups = several or draw.groups_of(1, MOST_COUNTED)
    return draw.pick([(label, ids) for label, ids in groups if not plural_only(label)])


def _meters(draw: _Draw, i: int) -> str:
    return f"{draw.meters[i - 1]:.1f} m"


def _some_distance(draw: _Draw) -> float:
    return float(draw.rng.uniform(1, 8))


def _limit(draw: _Draw, meters: float, is_longer: bool) -> tuple[float, str]:
    """A distance in meters that is longer or shorter than a given one, and its text."""
    limit = meters * draw.rng.uniform(*((1.05, 2.0) if is_longer else (0.4, 0.95)))
    if draw.chance(0.6):
        limit = float(np.ceil(limit) if is_longer else np.floor(limit))
    limit = round(limit, 1)
    if limit <= 0 or abs(limit - meters) < NEARER or (limit > meters) != is_longer:
        raise _NothingToAskError
    if limit < 1 and draw.chance():
        return limit, f"{limit * 100:.0f} {draw.pick(['cm', 'centimeters'])}"
    unit = "meter" if limit == 1 else "meters"
    if limit.is_integer() and limit < len(_NUMBERS) and draw.chance(0.4):
        return limit, f"{_number_word(int(limit))} {unit}"
    return limit, f"{limit:g} {draw.pick([unit, unit, 'm'])}"


def _stated(draw: _Draw, i: int) -> str:
    """`The dog [3] is 2.1 m away`."""
    return f"{_capital(_the(draw, i))} {_be(draw, i)} {_meters(draw, i)} away"


def _all_stated(draw: _Draw, ids: Sequence[int]) -> str:
    """`The dogs are [2] 4.0 m, [3] 2.1 m away`, or of one `The dog [3] is 2.1 m away`."""
    if len(ids) == 1:
        return _stated(draw, ids[0])
    each = ", ".join(f"{_cite([i])} {_meters(draw, i)}" for i in ids)
    return f"The {plural(draw.label(ids[0]))} are {each} away"


def _nearest_stated(draw: _Draw, i: int) -> str:
    """`The nearest is [4], the dog, 2.1 m away`: the number comes first, as in `_nearest`."""
    return f"The nearest is {_cite([i])}, the {draw.label(i)}, {_meters(draw, i)} away"


def _nearest_named(draw: _Draw, i: int) -> str:
    """`the dog [3]` or, where there are several, `the nearest dog [3]`."""
    nearest = "nearest " if len(draw.groups[draw.label(i)]) > 1 else ""
    return f"the {nearest}{draw.label(i)} {_cite([i])}"


def _distances_truth(draw: _Draw, ids: Sequence[int]) -> Truth:
    known = [i for i in draw.ids if draw.is_known([i])]
    return Truth(
        mentions=frozenset(_meters(draw, i) for i in ids),
        among=frozenset(_meters(draw, i) for i in known),
        cited=frozenset(ids),
    )


def _unknown_distance(draw: _Draw, ids: Sequence[int]) -> tuple[str, Truth]:
    """The answer about objects of one label none of which has a distance."""
    if any(draw.is_known([i]) for i in ids) or not draw.chance(_UNKNOWN_ASKED):
        raise _NothingToAskError
    label = draw.label(ids[0])
    name, be = (label, _be(draw, ids[0])) if len(ids) == 1 else (plural(label), "are")
    answer = f"I can't tell how far the {name} {_cite(ids)} {be}."
    return answer, Truth(cited=frozenset(ids), unanswerable=True)


def _has_colour(draw: _Draw, i: int, colour: str) -> str:
    """`red`, with the verb for things and for somebody."""
    return f"wears {colour}" if is_person(draw.label(i)) else f"{_be(draw, i)} {colour}"


def _colour(draw: _Draw) -> tuple[str, str, Truth]:
    i, called = _coloured(draw)
    label, colour = draw.label(i), draw.colour(i)
    name = "colour_worn" if is_person(label) else "colour"
    question = draw.put(name, _fields(called))
    if colour is None:
        return question, *_unknown_colour(draw, i)
    answer = f"The {label} {_cite([i])} {_has_colour(draw, i, colour)}."
    return question, answer, _colours_truth([colour], [i])


def _coloured(draw: _Draw) -> tuple[int, str]:
    """An object whose name is no colour, and what it is called."""
    i, called = draw.referred(by_side=True)
    if draw.label(i) in COLOURS:
        raise _NothingToAskError
    return i, called


def _unknown_colour(draw: _Draw, i: int) -> tuple[str, Truth]:
    answer = f"I can't tell the color of {_the(draw, i)}."
    return answer, Truth(cited=frozenset([i]), unanswerable=True)


def _colours_truth(colours: Iterable[str], ids: Iterable[int]) -> Truth:
    return Truth(mentions=frozenset(colours), among=frozenset(COLOURS), cited=frozenset(ids))


def _colours(draw: _Draw) -> tuple[str, str, Truth]:
    label, ids = draw.pick(draw.groups_of(2, MOST_PLACES))
    colours = draw.colours(ids)
    name, verb = ("colours_worn", "wear") if is_person(label) else ("colours", "are")
    each = ", ".join(f"{_cite([i])} {colour}" for i, colour in zip(ids, colours, strict=True))
    return (
        draw.put(name, _fields(_neutral(draw, label))),
        f"The {plural(label)} {verb} {each}.",
        replace(_colours_truth(colours, ids), pairs=frozenset(zip(ids, colours, strict=True))),
    )


def _other_colour(draw: _Draw, seen: Sequence[str]) -> str:
    return draw.pick([colour for colour in COLOURS if colour not in seen])


def _is_colour(draw: _Draw) -> tuple[str, str, Truth]:
    i, called = _coloured(draw)
    label, colour = draw.label(i), draw.colour(i)
    holds = _none_missed(draw, label, draw.chance())
    asked = colour if colour and holds else _other_colour(draw, [colour or ""])
    name = "wears_colour" if is_person(label) else "is_colour"
    question = draw.put(name, _fields(called, colour=asked))
    if colour is None:
        return question, *_unknown_colour(draw, i)
    verb, true = _has_colour(draw, i, colour).split(" ", 1)
    return question, _yes_no(_the(draw, i), holds, verb, true), _polar(holds, i)


def _of_colour(draw: _Draw) -> tuple[str, str, tuple[int, ...]]:
    """A label and a colour, and which are known to be both; often none, or no such thing."""
    if not any(draw.colour(i) for i in range(1, len(draw.scene.labels) + 1)):
        raise _NothingToAskError
    if draw.chance(0.15):
        label = draw.absent()
        if label in COLOURS:
            raise _NothingToAskError
        return label, draw.pick(COLOURS), ()
    label, ids = draw.pick(draw.groups_of(1, MOST_COUNTED))
    colours = [colour for i in ids if (colour := draw.colour(i))]
    # Of what has no colour in the list none is denied.
    one_of_them = len(colours) < len(ids) or draw.chance(0.6)
    colour = draw.pick(colours) if one_of_them else _other_colour(draw, colours)
    found = tuple(i for i in ids if draw.colour(i) == colour)
    return label, colour, _none_missed(draw, label, found)


def _existence_colour(draw: _Draw) -> tuple[str, str, Truth]:
    label, colour, ids = _of_colour(draw)
    seen = f"Yes, I see {_seen(label, ids, colour)}." if ids else ""
    return (
        draw.put("existence_colour", _colour_fields(draw, label, colour)),
        seen or f"No, I do not see {_one(label, colour)}.",
        _polar(bool(ids), *ids),
    )


def _count_colour(draw: _Draw) -> tuple[str, str, Truth]:
    label, colour, ids = _of_colour(draw)
    # More of them may have it where one is unknown.
    draw.colours(draw.groups.get(label, ()))
    question = draw.put("count_colour", _colour_fields(draw, label, colour))
    return question, _counted(label, ids, colour), _number(ids)


def _state(draw: _Draw) -> tuple[str, str, Truth]:
    i = draw.pick([i for i in draw.singles if _state_of(draw, i) in _OPPOSITES])
    state = _state_of(draw, i)
    holds = draw.chance()
    asked = state if holds else _OPPOSITES[state]
    return (
        draw.put("state", _fields(draw.label(i), state=asked)),
        _yes_no(_the(draw, i), holds, _be(draw, i), state),
        _polar(holds, i),
    )


def _state_of(draw: _Draw, i: int) -> str:
    return draw.scene.attributes[i - 1].get("state", "")


def _listing(draw: _Draw) -> tuple[str, str, Truth]:
    return draw.put("listing"), *_told(draw, _seen)


def _description(draw: _Draw) -> tuple[str, str, Truth]:
    # What a robot is asked most: nothing at all.
    # It is in words of training, which evaluation does not use.
    nothing = draw.split == "train" and draw.chance(0.25)
    question = "" if nothing else draw.put("description")
    return question, *_told(draw, partial(_described, draw))


def _told(draw: _Draw, part: Callable[[str, tuple[int, ...]], str]) -> tuple[str, Truth]:
    """The first groups of objects, each as `part` tells it, and whether there are more."""
    if draw.missed and not draw.groups:
        raise _NothingToAskError
    told = dict(list(draw.groups.items())[:MOST_GROUPS])
    labels = frozenset(told)
    known = _words(draw.vocabulary)
    # To tell what is left out is no mistake.
    untold = draw.groups.keys() - labels
    truth = Truth(
        mentions=labels,
        # Not a new set for each scene, where it can be helped.
        among=known if labels <= known and not untold else (known | labels) - untold,
        cited=frozenset(i for ids in told.values() for i in ids),
    )
    parts = [part(label, ids) for label, ids in told.items()]
    if len(draw.groups) > len(told):
        parts.append("more")
    return f"I see {_joined(parts)}." if parts else "I see no objects.", truth


def _described(draw: _Draw, label: str, ids: tuple[int, ...]) -> str:
    if len(ids) > 1:
        return _seen(label, ids)
    return f"{_seen(label, ids)} {_on(draw.side(ids[0]))}"


def _which_colour(draw: _Draw) -> tuple[str, str, Truth]:
    label, ids = _several(draw)
    i, colour = draw.pick([found for found in draw.only_ones(draw.colour) if found[0] in ids])
    name = "which_wears" if is_person(label) else "which_colour"
    return (
        draw.put(name, _colour_fields(draw, label, colour)),
        f"The {label} {_cite([i])} {_has_colour(draw, i, colour)}.",
        _picked(i),
    )


def _which_side(draw: _Draw) -> tuple[str, str, Truth]:
    label, ids = _several(draw)
    i, side = draw.pick([found for found in draw.only_ones(draw.side) if found[0] in ids])
    return (
        draw.put("which_side", _fields(draw.called(label), on_side=_on(side))),
        f"The {label} {_cite([i])} is {_on(side)}.",
        _picked(i),
    )


def _which_biggest(draw: _Draw) -> tuple[str, str, Truth]:
    label, ids = _several(draw)
    i = _ahead(draw.areas, ids)
    answer = f"The biggest is {_the(draw, i)}."
    return draw.put("which_biggest", _fields(draw.called(label))), answer, _picked(i)


def _cannot_tell(draw: _Draw) -> tuple[str, str, Truth]:
    labels = [label for label in draw.groups if not plural_only(label)]
    if not labels or draw.chance(0.4):
        return draw.put("unanswerable"), CANNOT_TELL, Truth(unanswerable=True)
    label = draw.pick(labels)
    called = draw.called(label)
    if draw.chance():
        i, called = draw.referred(by_colour=True, by_side=True)
        label = draw.label(i)
    name = "unanswerable_person" if is_person(label) else "unanswerable_thing"
    return draw.put(name, _fields(called)), CANNOT_TELL, Truth(unanswerable=True)


def _presupposed(draw: _Draw) -> tuple[str, str, Truth]:
    """A question about something that is not there, or not in that colour."""
    colour = None
    if draw.chance(0.4):
        label, colour, ids = _of_colour(draw)
        if ids or plural_only(label):
            raise _NothingToAskError
    else:
        label = draw.absent()
    named = draw.in_colour(label, colour) if colour else draw.described(label)
    worn = "colour_worn" if is_person(label) else "colour"
    name = draw.pick(["where", "distance"] if colour else ["where", "distance", worn])
    return draw.put(name, _fields(named)), f"I do not see {_one(label, colour)}.", _polar(False)


def _of_a_kind(draw: _Draw) -> tuple[str, _Groups]:
    """A word for several kinds of things, and the groups that it stands for."""
    there = [word for word, nouns in KINDS_OF_THINGS.items() if nouns & draw.groups.keys()]
    word = draw.pick(there if there and draw.chance(0.65) else list(KINDS_OF_THINGS))
    nouns = KINDS_OF_THINGS[word]
    return word, [(label, ids) for label, ids in draw.groups.items() if label in nouns]


def _existence_kind(draw: _Draw) -> tuple[str, str, Truth]:
    word, groups = _of_a_kind(draw)
    nouns = KINDS_OF_THINGS[word]
    if not groups and (
        not nouns & _words(draw.vocabulary) or nouns & draw.missed or _others_called(draw, word)
    ):
        raise _NothingToAskError
    return draw.put("existence", _fields(word)), *_any_of(groups, word)


def _others_called(draw: _Draw, word: str) -> bool:
    """Whether there is what is called so without being of the kind, such as a bag of crisps."""
    return any(overlap(word, label) for label in draw.there - KINDS_OF_THINGS[word])


def _count_kind(draw: _Draw) -> tuple[str, str, Truth]:
    word, groups = _of_a_kind(draw)
    ids = _ids(groups)
    if not ids or len(ids) > MOST_COUNTED or _others_called(draw, word):
        raise _NothingToAskError
    answer = f"I see {_all_seen(groups)}, {_number_word(len(ids))} in all."
    return draw.put("count", _fields(word)), answer, _number(ids)


def _anybody(draw: _Draw) -> tuple[str, str, Truth]:
    groups = [(label, ids) for label, ids in draw.groups.items() if is_person(label)]
    looked_for = any(map(is_person, draw.vocabulary))
    if not groups and (not looked_for or any(map(is_person, draw.there))):
        raise _NothingToAskError
    return draw.put("anybody"), *_any_of(groups, "person")


def _any_of(groups: _Groups, word: str) -> tuple[str, Truth]:
    """Whether there are groups of what a word stands for."""
    if not groups:
        return f"No, I do not see {with_article(word)}.", _polar(False)
    return f"Yes, I see {_all_seen(groups)}.", _polar(True, *_ids(groups))


def _all_seen(groups: _Groups) -> str:
    return _joined([_seen(*group) for group in groups])


def _ids(groups: _Groups) -> list[int]:
    return [i for _, ids in groups for i in ids]


_FAMILIES: dict[str, tuple[Form, ...]] = {
    "existence": (_existence, _existence, _existence_kind, _anybody, _existence_side),
    "count": (_count, _count, _count, _count_kind, _count_side),
    "position": (_where, _where_all, _is_on_side, _what_on_side),
    "relation": (_relation, _relation, _which_relation),
    "size": (_extreme, _extreme, _bigger, _which_bigger),
    "nearest": (_nearest, _nearest, _nearest_of, _nearest_of, _farthest),
    "distance": (
        *(_distance, _distances, _distance_to_nearest, _distance_to_nearest_object),
        *(_closer, _closer, _which_closer, _is_within, _count_within),
        *(_existence_within, _existence_within, _any_within),
    ),
    "attribute": (_colour, _colours, _is_colour, _existence_colour, _count_colour, _state),
    "listing": (_listing,),
    "description": (_description,),
    "which": (_which_colour, _which_side, _which_biggest),
    "unanswerable": (_cannot_tell, _presupposed),
}
FAMILIES = tuple(_FAMILIES)
