# SPDX-License-Identifier: Apache-2.0
"""Score answers by their statements, not by their wording."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache

from mrmllm_ros.datasets.example import Truth
from mrmllm_ros.datasets.questions.grammar import plural
from mrmllm_ros.datasets.questions.vocabulary import other_words
from mrmllm_ros.detection.colors import COLORS
from mrmllm_ros.model.citations import CITATION

_NUMBERS = {
    word: number
    for number, words in enumerate(
        (
            *("no none nothing nobody zero", "a an one", "two both", "three", "four", "five"),
            *("six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"),
            *("fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
        )
    )
    for word in words.split()
}
# "no," is an answer, not a number; 2.1 is a distance; "a total of three" has its number later.
_NUMBER = re.compile(
    rf"(?<![\w.])(?:no(?!\s*,)|a(?! (?:lot|number|total|couple|few)\b)|"
    rf"{'|'.join(word for word in _NUMBERS if word not in ('no', 'a'))}|\d+)"
    r"(?![\w']|\.\d)"
)

_IN_ALL = re.compile(rf"({'|'.join(_NUMBERS)}|\d+) in all\b")

_CANNOT_TELL = re.compile(
    r"\b(?:can't|cannot|can not|couldn't|could not|unable to|no way to|(?:im|not )possible to"
    r"|hard to) (?:\w+ )?(?:tell|say|know|determine)\b"
    r"|\b(?:do not|don't) (?:really )?know\b|\b(?:not|un)\s?(?:sure|certain)\b"
    r"|\b(?:cannot|can't|can not) be (?:\w+ )?(?:told|said|known|determined)\b"
    r"|\b(?:does not|doesn't) (?:say|tell)\b"
    r"|\b(?:does not|doesn't) show (?:whether|if|how|wh(?:at|en|ere|ich|o|om|ose|y))\b"
    r"|\bnobody can (?:tell|say|know)\b|\bno idea\b|\bis (?:not known|unknown)\b"
)
# Means "cannot tell" or "is absent", depending on the question.
_NOT_SHOWN = re.compile(r"\b(?:does not|doesn't) show\b")

_YES = re.compile(r"\W*(?:yes|yeah|yep|correct|indeed|that is right)\b")
_NO = re.compile(r"\W*(?:no|nope|not|none|neither|nobody)\b")
# A guess is a yes.
_PERHAPS = re.compile(r"\b(?:perhaps|maybe)\b(?!,? not?\b)")
# A verdict at the end, after the evidence.
_VERDICT = re.compile(r"[,;:] (?:so )?(yes|no)\W*$")
# Text before ", so " is evidence; mentions are scored in the conclusion.
_EVIDENCE = re.compile(r"^.*, so ", re.DOTALL)
_SEE = r"(?:see|spot|find|count|notice|have|detect)"
_NOT_SEEN = re.compile(
    rf"\b(?:do not|don't|did not|didn't|cannot|can't|can not|could not|couldn't) {_SEE}\b"
    rf"|\bi (?:can )?{_SEE} (?:no|none|not|nothing|neither|zero)\b"
    r"|\bthere (?:is|are|seems to be) (?:no|none|not|nothing)\b|\bthere (?:isn't|aren't)\b"
)
_SEEN = re.compile(rf"\bi (?:can )?{_SEE}\b|\bthere (?:is|are)\b|\bthere's\b")
_NOT = re.compile(r"\b(?:is|are|does|do) not\b|\b(?:is|are|does|do)n't\b")
_SEEN_THAT_NOT = re.compile(rf"\bi (?:can )?{_SEE} that\b.*(?:{_NOT.pattern})")

_METERS = re.compile(r"\d+(?:\.\d+)? m")
_UNITS = (" m", "m", " metres", " meters", " metre", " meter")
_OTHER_FORMS = {"middle": ("centre", "center"), "gray": ("grey",)}


def is_right(text: str, truth: Truth, cited: Collection[int]) -> bool:
    """Score an answer.

    Args:
        text: The answer.
        truth: Statements of a right answer; parts that are None are not checked.
        cited: Ids that the answer cites, in its order.
    """
    words = _plain(text)
    cannot_tell = bool(_CANNOT_TELL.search(words)) and not _PERHAPS.match(words)
    if truth.unanswerable:
        return cannot_tell or bool(_NOT_SHOWN.search(words))
    if cannot_tell:
        return False
    if truth.polarity is not None and polarity(text) is not truth.polarity:
        return False
    if truth.number is not None and number(text) != truth.number:
        return False
    if truth.mentions is not None:
        named = mentions(_EVIDENCE.sub("", text), truth.among)
        if frozenset(named) != truth.mentions:
            return False
    if truth.pairs is not None and _pairs(text, truth.among, cited) != truth.pairs:
        return False
    return not truth.cites_answer or frozenset(cited) == truth.cited


def polarity(text: str) -> bool | None:
    """Parse the answer to a yes-or-no question.

    Returns:
        True for yes, perhaps or "there is one", False for no or "there is none", None if it says
        neither or that it cannot tell.
    """
    words = _plain(text)
    guess = _PERHAPS.match(words)
    if _CANNOT_TELL.search(words) and not guess:
        return None
    if verdict := _VERDICT.search(words):
        return verdict[1] == "yes"
    if guess or _YES.match(words):
        return True
    if _NO.match(words) or _NOT_SEEN.search(words) or _NOT_SHOWN.search(words):
        return False
    if _PERHAPS.search(words):
        return True
    if _SEEN.search(words) and not _SEEN_THAT_NOT.search(words):
        return True
    return False if _NOT.search(words) else None


def says_perhaps(text: str) -> bool:
    """Whether an answer is a guess, such as `Perhaps I see a cup [7].`."""
    return bool(_PERHAPS.search(_plain(text)))


def number(text: str) -> int | None:
    """Parse the number in an answer: the sum "in all", or else the first number.

    Citations are not numbers; `a` and `an` count as one.

    Returns:
        The number, 0 if the answer sees no object, or None without a number.
    """
    words = _plain(text)
    if _NOT_SEEN.search(words) or _NOT_SHOWN.search(words):
        return 0
    found = _IN_ALL.search(words) or _NUMBER.search(words)
    if found is None:
        return None
    word = found[found.lastindex or 0]
    return _NUMBERS[word] if word in _NUMBERS else int(word)


def mentions(text: str, among: frozenset[str]) -> tuple[str, ...]:
    """Find words in an answer, in the answer's order.

    Plurals, synonyms and other spellings of meters count as the word.

    A word in a longer word of `among` does not count, such as `truck` in `fire truck`. If `among`
    has other words than colors, an adjective such as `orange` in `an orange car` does not count.
    """
    pattern, words = _forms(among)
    plain = _plain(text)
    found = [(m.start(), m.end(), words[m.group()]) for m in pattern.finditer(plain)]
    if not among <= _COLORS:
        found = [each for each in found if not _is_adjective(plain, found, *each)]
    return tuple(word for _, _, word in found)


def _pairs(
    text: str, among: frozenset[str], cited: Collection[int]
) -> frozenset[tuple[int, str]] | None:
    """Ids with their words, one word for all or one for each; None if the numbers differ."""
    words = mentions(text, among)
    if len(words) == 1:
        words *= len(cited)
    return frozenset(zip(cited, words, strict=True)) if len(words) == len(cited) else None


def citation_counts(cited: Collection[int], truth: Truth) -> tuple[int, int, int]:
    """Count citations.

    Args:
        cited: Ids that an answer cites.
        truth: Truth with the expected citations.

    Returns:
        Numbers of right, actual and expected citations; zeros if the truth has no citations.
    """
    if truth.cited is None:
        return 0, 0, 0
    actual = frozenset(cited)
    return len(actual & truth.cited), len(actual), len(truth.cited)


_COLORS = frozenset(COLORS)


def _plain(text: str) -> str:
    """Normalize case, apostrophes and blanks, and remove citations."""
    without = CITATION.sub(" ", text).lower().replace("\u2019", "'")
    return " ".join(without.split())


@lru_cache(maxsize=4096)
def _forms(among: frozenset[str]) -> tuple[re.Pattern[str], dict[str, str]]:
    """Pattern of all forms of the words, longest first, and the word of each form."""
    names = sorted(among)
    words = {
        form: word for word in names for name in other_words(word) for form in _forms_of(name)
    }
    # Forms of the words take precedence over synonyms, and the words over their forms.
    words |= {form: word for word in names for form in _forms_of(word)}
    words |= {word.lower(): word for word in names}
    longest_first = sorted(words, key=lambda form: (-len(form), form))
    choice = "|".join(map(re.escape, longest_first)) or r"\b\B"
    return re.compile(rf"(?<!\w)(?:{choice})(?!\w)"), words


def _forms_of(word: str) -> Iterable[str]:
    if _METERS.fullmatch(word):
        meters = word.removesuffix(" m")
        return (f"{m}{unit}" for m in {meters, f"{float(meters):g}"} for unit in _UNITS)
    forms = (word, plural(word), f"{word}s", *_OTHER_FORMS.get(word, ()))
    return (form.lower() for form in forms)


def _is_adjective(
    text: str, found: list[tuple[int, int, str]], start: int, end: int, word: str
) -> bool:
    """Whether a word is an adjective (`orange cars`) or a worn color (`a man in orange`)."""
    if word not in _COLORS:
        return False
    followed = any(text[end:other] == " " for other, _, _ in found if other > end)
    return followed or text[:start].endswith(" in ")
