# SPDX-License-Identifier: Apache-2.0
"""Perception-embedded prompt: the detections written into the language model's prompt.

The paper's third mechanism (MR-MLLM, abstract: "embed perceptual information into the language
model's prompts"). The format is ours. First lines tell how many there are of what is there more
than once, and the orders of the objects, by distance and from left to right: a small language
model is bad at counting, and at comparing many numbers at once. Then there is one numbered line
for each object, largest first, with what is known of it, its side, and two numbers of 0 to 99:
where its lower edge is, across and down. The number in brackets is what answers cite; it follows
the label, as in most answers, because to go on as in the text before is what language models do
best. The list comes last, so that what is largest and what is smallest stand at its ends. The text
is within a budget of tokens, and always the same for the same detections.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mrmllm_ros.detection.detections import Detections
from mrmllm_ros.detection.raw_objects import printable
from mrmllm_ros.settings import Validated, setting

GRID = 100
SIDES = ("left", "middle", "right")
DESCRIBE = "Describe the scene."
INSTRUCTION = (
    "You are a robot. The numbered objects, largest first, are all that your camera sees. Answer "
    "in one short sentence and put the number of each object you mention behind it, like [1]. If "
    "something is not listed, say that you do not see it."
)
# A trained model knows the rest.
TRAINED_INSTRUCTION = (
    "You are a robot. The numbered objects, largest first, are what your camera sees."
)
# A small language model follows examples better than an instruction. Each has objects of its own,
# or the model carries those of the examples over into its answers.
EXAMPLES = (
    (
        "several chair 2\nnearest first [1][2][3]\nleft [2] middle [1] right [3]\n"
        "dog [1] brown middle 45,90\nchair [2] left 10,80\nchair [3] right 82,75",
        "How many chairs are there?",
        "There are two chairs [2][3].",
    ),
    ("boat [1] white middle 45,90", "Is there a cat?", "No, I do not see a cat."),
    ("kite [1] right 75,20", "Is there a kite?", "Yes, there is a kite [1]."),
    (
        "nearest first [2][1]\nleft [1] right [2]\ntruck [1] left 20,80\nbicycle [2] right 75,90",
        DESCRIBE,
        "I see a truck [1] on the left and a bicycle [2] on the right.",
    ),
)
_LINE = re.compile(r" \[\d+\] .*\d+,\d+$", re.MULTILINE)
# Brackets are for the numbers of objects.
_NO_CITATION = str.maketrans("[]", "()")
_NAMELESS = "object"
CITATION = re.compile(r"\[(\d{1,6}(?:,\s*\d{1,6})*)\]")


@dataclass(frozen=True)
class PromptSettings(Validated):
    """How much of the perception is written into the prompt."""

    max_objects: int = setting(
        30, "Most objects written into the prompt.", minimum=1, maximum=300, live=True
    )
    token_budget: int = setting(
        800, "Most tokens that the lines of objects may take.", minimum=32, maximum=8192, live=True
    )


def describe_objects(
    detections: Detections,
    settings: PromptSettings,
    count_tokens: Callable[[str], int],
    attributes: Sequence[Mapping[str, str]] = (),
) -> str:
    """Write a line for each object, as many as fit, and before them what is told of them all.

    Args:
        detections: Objects, largest first.
        settings: Limits.
        count_tokens: Length of a text in the language model's tokens.
        attributes: What else is known of each object, by name; none where left out.

    Returns:
        A line such as `several car 3, dog 2` where labels are listed more than once. Lines such as
        `nearest first [2][1][3]` and `left [1][3] right [2]` where there is an order, between them
        `lowest first [1][2][3]` where there are distances (the first line is then of those that
        have one). Lines such as `car [1] red left 16,83`: label and number, what else is known,
        the third of the image that the center is in, center across and lower edge down, in
        hundredths of the image. Then a line that says how many objects were left out, if any
        were; or a line that says that there are no objects.
    """
    if len(detections) == 0:
        return "No objects."
    lines: list[str] = []
    budget = settings.token_budget
    shares = _shares(detections)
    known = attributes or [{}] * len(detections)
    orders = 3 if distances_stated(known) else 2
    labels = [_words(label) or _NAMELESS for label in detections.labels]
    for i, line in enumerate(_lines(labels, known, shares)[: settings.max_objects]):
        counted = f"{labels[i]} 2, " if labels[:i].count(labels[i]) == 1 else ""
        budget -= count_tokens(counted + f"[{i + 1}]" * orders + f"{line}\n")
        if budget < 0:
            break
        lines.append(line)
    count = len(lines)
    if left_out := len(detections) - count:
        lines.append(f"and {left_out} more")
    first = _orders(shares[:count], known[:count]) if count > 1 else []
    return "\n".join([*_several(labels[:count]), *first, *lines])


def _several(labels: Sequence[str]) -> list[str]:
    """A line of the labels that there are more than once, each with its number, if there are."""
    counts = Counter(labels)
    several = ", ".join(f"{label} {count}" for label, count in counts.items() if count > 1)
    return [f"several {several}"] if several else []


def _orders(shares: np.ndarray, attributes: Sequence[Mapping[str, str]]) -> list[str]:
    """Lines that tell in what orders objects are; see `describe_objects`."""
    lower_edges = shares[:, 3]
    far = how_far(lower_edges, attributes)
    nearest = np.argsort(far, kind="stable")
    lines = [f"nearest first {_numbers(nearest[~np.isnan(far[nearest])])}"]
    if distances_stated(attributes):
        # Else it is the same order.
        lines.append(f"lowest first {_numbers(np.argsort(-lower_edges, kind='stable'))}")
    of_sides = by_side(shares).items()
    return [*lines, " ".join(f"{name} {_numbers(ids)}" for name, ids in of_sides if len(ids))]


def by_side(shares: np.ndarray) -> dict[str, np.ndarray]:
    """Indices of (N, 4) boxes on each side of the image, there from left to right."""
    across = centers_x(shares)
    rightwards = np.argsort(across, kind="stable")
    sides = np.array([side(x) for x in across[rightwards]])
    return {name: rightwards[sides == name] for name in SIDES}


def _numbers(indices: np.ndarray) -> str:
    return "".join(f"[{i + 1}]" for i in indices)


def how_far(lower_edges: np.ndarray, attributes: Sequence[Mapping[str, str]]) -> np.ndarray:
    """How far away objects are, each against the others.

    Args:
        lower_edges: (N,) lower edges as shares of the image's height. Of two things on one floor
            the one further down in the image is nearer.
        attributes: What else is known of each object, by name.

    Returns:
        (N,) meters, NaN of an object without a distance among its attributes; or, if none has
        one, lower edges with the sign turned.
    """
    if not distances_stated(attributes):
        return -lower_edges
    stated = [values.get("distance", "nan").split()[0] for values in attributes]
    return np.array(stated, float)


def distances_stated(attributes: Sequence[Mapping[str, str]]) -> bool:
    """Whether any object has its distance among its attributes."""
    return any("distance" in values for values in attributes)


def stated_distances(detections: Detections) -> tuple[dict[str, str], ...]:
    """The distance of each object in words, where it is known."""
    if detections.distances_m is None:
        return ({},) * len(detections)
    return tuple(
        {} if np.isnan(meters) else {"distance": f"{meters:.1f} m"}
        for meters in detections.distances_m
    )


def listed(objects: str) -> int:
    """Number of objects in what `describe_objects` wrote; the others were left out."""
    return len(_LINE.findall(objects))


def chat(objects: str | None, question: str, examples: bool = True) -> list[dict[str, str]]:
    """The conversation that asks the language model one question about one image.

    Args:
        objects: What `describe_objects` wrote; None leaves perception out of the prompt.
        question: The user's question; empty asks for a description.
        examples: Whether to show the model how others were answered and to instruct it at
            length, which one that is not trained for it needs.

    Returns:
        Messages with `role` and `content`, as chat templates take them.
    """
    turns = [("system", INSTRUCTION if examples else TRAINED_INSTRUCTION)]
    for example_objects, asked, answered in EXAMPLES if examples else ():
        turns += [("user", _ask(example_objects, asked)), ("assistant", answered)]
    turns += [("user", _ask(objects, question.strip() or DESCRIBE))]
    return [{"role": role, "content": content} for role, content in turns]


def cited_ids(text: str, count: int | None = None) -> tuple[int, ...]:
    """Ids of the objects that an answer cites, in the order of their first citation.

    Args:
        text: The answer.
        count: Number of objects; citations beyond it name nothing and are left out. None keeps
            whatever is cited.
    """
    ids = (int(number) for numbers in CITATION.findall(text) for number in numbers.split(","))
    return tuple(dict.fromkeys(i for i in ids if count is None or 1 <= i <= count))


def _ask(objects: str | None, question: str) -> str:
    if objects is None:
        return question
    return f"Objects:\n{objects}\n{question}"


def side(center_x: float) -> str:
    """The third of the image that a place is in: left, middle or right.

    Args:
        center_x: How far across it is, as a share of the image.
    """
    return SIDES[min(max(int(center_x * 3), 0), 2)]


def centers_x(shares: np.ndarray) -> np.ndarray:
    """(N,) how far across the middles of (N, 4) boxes are."""
    return (shares[:, 0] + shares[:, 2]) / 2


def places(shares: np.ndarray) -> np.ndarray:
    """Where lower edges are: (N, 2) hundredths of the image, across and down, from 0 to 99.

    Args:
        shares: (N, 4) boxes as shares of the image.
    """
    # A tenth is ten hundredths, whatever floating point makes of it.
    hundredths = np.stack([centers_x(shares), shares[:, 3]], 1) * GRID + 1e-6
    return hundredths.astype(int).clip(0, GRID - 1)


def _shares(detections: Detections) -> np.ndarray:
    """(N, 4) boxes as shares of the image, without what is beyond its edges."""
    return (detections.xyxy.astype(float) / np.tile(detections.resolution_wh, 2)).clip(0, 1)


def _lines(
    labels: Sequence[str], attributes: Sequence[Mapping[str, str]], shares: np.ndarray
) -> list[str]:
    return [
        " ".join(
            [label, f"[{i}]", *map(_words, values.values()), side(x), ",".join(map(str, place))]
        )
        for i, (label, values, x, place) in enumerate(
            zip(labels, attributes, centers_x(shares), places(shares), strict=True), start=1
        )
    ]


def _words(text: str) -> str:
    """Text on one line that holds no number in brackets, which an answer would seem to cite."""
    return printable(text.translate(_NO_CITATION))
