# SPDX-License-Identifier: Apache-2.0
"""English grammar of labels and lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from mrmllm_ros.datasets.questions.vocabulary import (
    IRREGULAR,
    PAIRED,
    UNCOUNTED,
    is_person,
)

NUMBERS = (
    *("no", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)


def plural_only(label: str) -> bool:
    """Whether a label has no singular, such as scissors."""
    return label.split()[-1] in PAIRED | {"skis"}


@cache
def plural(label: str) -> str:
    """The plural of a label.

    Example:
        >>> plural("knife"), plural("bar of soap"), plural("fire hydrant")
        ('knives', 'bars of soap', 'fire hydrants')
    """
    head, of, rest = label.partition(" of ")
    *before, last = head.split()
    return " ".join([*before, _plural_word(last)]) + of + rest


def _plural_word(word: str) -> str:
    if word in PAIRED or word in UNCOUNTED:
        return word
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.endswith("man"):
        return word[:-2] + "en"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


def with_article(label: str, adjective: str = "") -> str:
    """A label with its article, such as `an orange car`.

    Example:
        >>> with_article("umbrella"), with_article("skis"), with_article("scissors", "red")
        ('an umbrella', 'some skis', 'a pair of red scissors')
    """
    name = f"{adjective} {label}".strip()
    if label.split()[-1] in UNCOUNTED:
        return f"some {name}"
    if plural_only(label):
        return f"a pair of {name}"
    vowel = name[0] in "aeiou" and not name.startswith(("uni", "ute", "uri", "eu", "one "))
    return f"{'an' if vowel or name.startswith('hour') else 'a'} {name}"


def verbs(label: str) -> tuple[str, str]:
    """The forms of "be" and "do" that agree with a label."""
    return ("are", "do") if plural_only(label) else ("is", "does")


def in_color(label: str, name: str, color: str) -> str:
    """A phrase such as `red cars`, or for persons `people in red`."""
    return f"{name} in {color}" if is_person(label) else f"{color} {name}"


def indefinite(label: str, color: str | None = None) -> str:
    """A phrase such as `a car`, `a red car` or `a person in red`."""
    if color is None or is_person(label):
        return with_article(label) + (f" in {color}" if color else "")
    return with_article(label, color)


def cite(ids: Iterable[int]) -> str:
    """Citations such as `[1][4]`."""
    return "".join(f"[{i}]" for i in ids)


def mention(label: str, ids: Sequence[int], color: str | None = None) -> str:
    """A cited phrase such as `a dog [3]`, `people [1][4]` or `red cars [2][5]`."""
    if len(ids) == 1:
        return f"{indefinite(label, color)} {cite(ids)}"
    return f"{_named_color(plural(label), label, color)} {cite(ids)}"


def _named_color(name: str, label: str, color: str | None) -> str:
    return in_color(label, name, color) if color else name


def counted(label: str, ids: Sequence[int], color: str | None = None) -> str:
    """A sentence such as `I see dogs [3][5], two in all.`, the count after the citations."""
    if not ids:
        return f"I see no {_named_color(plural(label), label, color)}."
    return f"I see {mention(label, ids, color)}, {number_word(len(ids))} in all."


def mention_all(groups: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    """List groups as in `a dog [3] and people [1][4]`."""
    return joined([mention(*group) for group in groups])


def ids_of(groups: Sequence[tuple[str, tuple[int, ...]]]) -> list[int]:
    """Ids of all groups."""
    return [i for _, ids in groups for i in ids]


def joined(parts: Sequence[str]) -> str:
    """List parts as in `a, b and c`."""
    return " and ".join([part for part in (", ".join(parts[:-1]), parts[-1]) if part])


def on_side(side: str) -> str:
    """A phrase such as `on the left`."""
    return "in the middle" if side == "middle" else f"on the {side}"


def capital(text: str) -> str:
    """Capitalize the first letter."""
    return text[0].upper() + text[1:]


def number_word(number: int) -> str:
    """A number in words, up to twelve."""
    return NUMBERS[number] if number < len(NUMBERS) else str(number)
