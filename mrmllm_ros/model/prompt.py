# SPDX-License-Identifier: Apache-2.0
"""Perception-embedded prompt: detections as text in the language model's prompt.

The paper's third mechanism (MR-MLLM, abstract: "embed perceptual information into the language
model's prompts"). The format is ours. The first lines give the counts of repeated labels and the
orders of the objects, by distance and from left to right, because a small language model is bad at
counting and at comparing many numbers. Then each object has a numbered line, largest first, with
its attributes, its distance, its side, and the position of its lower edge from 0 to 99 across and
down. Answers cite the number in brackets. It follows the label, as in answers, because language
models best continue a text in the form that it has. The list comes last, so that the largest and
the smallest object stand at its ends. Behind it, one line names the doubtful objects with their
numbers alone. The text stays within a budget of tokens and is the same for the same detections.
"""

from __future__ import annotations

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
# A trained model needs no further instruction.
TRAINED_INSTRUCTION = (
    "You are a robot. The numbered objects, largest first, are what your camera sees."
)
# A small language model follows examples better than an instruction. Each example has objects of
# its own, because the model would repeat objects that several examples share.
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
# Maximum length of a context in characters.
MAX_CONTEXT_LENGTH = 200
# Brackets are reserved for the numbers of objects.
_NO_CITATION = str.maketrans("[]", "()")
_NAMELESS = "object"
_PERHAPS = "perhaps"
# Chosen on the tuning half of the photographs; see docs/labels.md. Training data use it too.
PERHAPS_THRESHOLD = 0.2


@dataclass(frozen=True)
class PromptSettings(Validated):
    """Limits of the object list in the prompt."""

    max_objects: int = setting(
        30, "Maximum number of objects in the prompt.", minimum=1, maximum=300, live=True
    )
    token_budget: int = setting(
        800, "Maximum number of tokens of the object list.", minimum=32, maximum=8192, live=True
    )
    perhaps_threshold: float = setting(
        PERHAPS_THRESHOLD,
        "Minimum score of doubtful objects, which the prompt names in a line of their own and "
        'answers mention with "perhaps"; from detector.score_threshold on there are none. Used '
        "with vision-language models and with weights that were trained with doubtful objects, "
        "which the embedded weights were not.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )


@dataclass(frozen=True)
class ObjectList:
    """Object list of a prompt.

    Attributes:
        text: The list.
        count: Number of objects in it, doubtful ones not counted.
        doubtful: Ids of the doubtful objects in it.
    """

    text: str
    count: int
    doubtful: tuple[int, ...] = ()

    @property
    def citable(self) -> frozenset[int]:
        """Ids of all objects in the list."""
        return frozenset((*range(1, self.count + 1), *self.doubtful))


def describe_objects(
    detections: Detections,
    settings: PromptSettings,
    count_tokens: Callable[[str], int],
    attributes: Sequence[Mapping[str, str]] = (),
    doubtful: Mapping[int, str] | None = None,
) -> ObjectList:
    """Write the object list of the prompt, with as many objects as fit.

    Args:
        detections: Objects as `detector.rank` orders them (largest first), with known distances.
        settings: Limits.
        count_tokens: Function that counts the tokens of a text.
        attributes: Other attributes of each object by name, such as `{"color": "red"}`.
        doubtful: Labels of the doubtful objects by id, highest score first.

    Returns:
        The list. Its first lines are a count such as `several car 3, dog 2` of labels that occur
        more than once, and orders such as `nearest first [2][1][3]` and `left [1][3] right [2]`.
        If distances are known, `nearest first` holds the objects with a distance, and
        `lowest first [1][2][3]` follows. Then each object has a line such as
        `car [1] red 2.1 m left 16,83`: label, number, attributes, distance, third of the image,
        and the lower edge's center across and down in hundredths of the image. Without objects
        the text is `No objects.`. A last line such as `perhaps cup [7] spoon [9]` names the
        doubtful objects; or, if objects were left out, it counts these.
    """
    lines: list[str] = []
    budget = settings.token_budget
    boxes = _normalized(detections)
    meters = distances(detections)
    orders = 2 if np.isnan(meters).all() else 3
    labels = [_sanitized(label) or _NAMELESS for label in detections.labels]
    known = attributes or [{}] * len(detections)
    for i, line in enumerate(_lines(labels, known, meters, boxes)[: settings.max_objects]):
        counted = f"{labels[i]} 2, " if labels[:i].count(labels[i]) == 1 else ""
        budget -= count_tokens(counted + f"[{i + 1}]" * orders + f"{line}\n")
        if budget < 0:
            break
        lines.append(line)
    count = len(lines)
    named: dict[int, str] = {}
    if left_out := len(detections) - count:
        lines.append(f"and {left_out} more")
    else:
        named = _affordable(doubtful or {}, settings.max_objects - count, budget, count_tokens)
    first = _orders(boxes[:count], meters[:count]) if count > 1 else []
    texts = [*_several(labels[:count]), *first, *(lines or ["No objects."])]
    if named:
        texts.append(" ".join([_PERHAPS, *named.values()]))
    return ObjectList("\n".join(texts), count, tuple(named))


def _affordable(
    doubtful: Mapping[int, str],
    max_objects: int,
    budget: int,
    count_tokens: Callable[[str], int],
) -> dict[int, str]:
    """Select the first doubtful objects within the limits: texts such as `cup [7]` by id."""
    named: dict[int, str] = {}
    budget -= count_tokens(f"{_PERHAPS}\n")
    for i, label in list(doubtful.items())[:max_objects]:
        text = f"{_sanitized(label) or _NAMELESS} [{i}]"
        budget -= count_tokens(f" {text}")
        if budget < 0:
            break
        named[i] = text
    return named


def _several(labels: Sequence[str]) -> list[str]:
    """A line with the labels that occur more than once and their counts, if there are any."""
    counts = Counter(labels)
    several = ", ".join(f"{label} {count}" for label, count in counts.items() if count > 1)
    return [f"several {several}"] if several else []


def _orders(boxes: np.ndarray, meters: np.ndarray) -> list[str]:
    """Lines with the orders of the objects; see `describe_objects`."""
    lower_edges = boxes[:, 3]
    depths = depth_order(lower_edges, meters)
    nearest = np.argsort(depths, kind="stable")
    lines = [f"nearest first {_numbers(nearest[~np.isnan(depths[nearest])])}"]
    # Without distances the two orders are the same.
    if not np.isnan(meters).all():
        lines.append(f"lowest first {_numbers(np.argsort(-lower_edges, kind='stable'))}")
    sides = group_by_side(boxes).items()
    return [*lines, " ".join(f"{name} {_numbers(ids)}" for name, ids in sides if len(ids))]


def group_by_side(boxes: np.ndarray) -> dict[str, np.ndarray]:
    """Indices of (N, 4) normalized boxes by side of the image, each side from left to right."""
    across = centers_x(boxes)
    rightwards = np.argsort(across, kind="stable")
    sides = np.array([side(x) for x in across[rightwards]])
    return {name: rightwards[sides == name] for name in SIDES}


def _numbers(indices: np.ndarray) -> str:
    return "".join(f"[{i + 1}]" for i in indices)


def distances(detections: Detections) -> np.ndarray:
    """(N,) distances in meters, rounded as the prompt states them; NaN where unknown."""
    if detections.distances_m is None:
        return np.full(len(detections), np.nan)
    return np.array([float(_meters(distance)) for distance in detections.distances_m])


def _meters(distance: float) -> str:
    return f"{distance:.1f}"


def depth_order(lower_edges: np.ndarray, meters: np.ndarray) -> np.ndarray:
    """Values that increase with the distance from the camera.

    Args:
        lower_edges: (N,) lower edges, normalized by the image's height. Of two objects on one
            floor, the one further down in the image is nearer.
        meters: (N,) distances in meters, NaN where unknown.

    Returns:
        (N,) distances in meters; if none is known, the negative lower edges.
    """
    return -lower_edges if np.isnan(meters).all() else meters


def context_error(context: str) -> str:
    """Why a text cannot be a context, and the fix; empty for a valid context.

    A context is part of a line of the prompt and must not start another line.
    """
    if len(context) > MAX_CONTEXT_LENGTH:
        return (
            f"the context has {len(context)} characters; the maximum is {MAX_CONTEXT_LENGTH}; "
            "shorten it"
        )
    unprintable = next((character for character in context if not character.isprintable()), None)
    if unprintable is not None:
        return (
            f"the context contains the unprintable character U+{ord(unprintable):04X}; remove it"
        )
    return ""


def system_message(instruction: str, context: str) -> str:
    """Add the place where the robot is to an instruction.

    Args:
        instruction: The instruction.
        context: The place, such as `a hospital corridor`; empty if unknown.
    """
    place = context.strip()
    return f"{instruction} You are in {place}." if place else instruction


def question_with_context(question: str, context: str) -> str:
    """Write what the asker knows about the scene before a question.

    Args:
        question: The question; empty asks for a description.
        context: What the asker knows; may be empty.
    """
    asked, known = question.strip() or DESCRIBE, context.strip()
    return f"Context: {known}\n{asked}" if known else asked


def chat(
    objects: str | None, question: str, examples: bool = True, context: str = ""
) -> list[dict[str, str]]:
    """Create the conversation that asks one question about one image.

    Args:
        objects: Text of `describe_objects`; None leaves the object list out.
        question: The user's question; empty asks for a description.
        examples: Whether to add examples and a longer instruction, which untrained models need.
        context: Place where the robot is, such as `a hospital corridor`; empty if unknown.

    Returns:
        Messages with `role` and `content`, as chat templates take them.
    """
    instruction = INSTRUCTION if examples else TRAINED_INSTRUCTION
    turns = [("system", system_message(instruction, context))]
    for example_objects, asked, answered in EXAMPLES if examples else ():
        turns += [("user", _ask(example_objects, asked)), ("assistant", answered)]
    turns += [("user", _ask(objects, question.strip() or DESCRIBE))]
    return [{"role": role, "content": content} for role, content in turns]


def _ask(objects: str | None, question: str) -> str:
    if objects is None:
        return question
    return f"Objects:\n{objects}\n{question}"


def side(center_x: float) -> str:
    """Name the third of the image: left, middle or right.

    Args:
        center_x: Horizontal position, normalized by the image's width.
    """
    return SIDES[min(max(int(center_x * 3), 0), 2)]


def centers_x(boxes: np.ndarray) -> np.ndarray:
    """(N,) horizontal centers of (N, 4) boxes."""
    return (boxes[:, 0] + boxes[:, 2]) / 2


def grid_positions(boxes: np.ndarray) -> np.ndarray:
    """Positions of lower edges: (N, 2) hundredths of the image, across and down, 0 to 99.

    Args:
        boxes: (N, 4) boxes, normalized by the image size.
    """
    # The small offset makes 0.1 ten hundredths despite floating-point rounding.
    hundredths = np.stack([centers_x(boxes), boxes[:, 3]], 1) * GRID + 1e-6
    return hundredths.astype(int).clip(0, GRID - 1)


def _normalized(detections: Detections) -> np.ndarray:
    """(N, 4) boxes, normalized by the image size and clipped to the image."""
    return (detections.xyxy.astype(float) / np.tile(detections.resolution_wh, 2)).clip(0, 1)


def _lines(
    labels: Sequence[str],
    attributes: Sequence[Mapping[str, str]],
    meters: np.ndarray,
    boxes: np.ndarray,
) -> list[str]:
    values = [
        [*map(_sanitized, known.values()), *([] if np.isnan(m) else [f"{_meters(m)} m"])]
        for known, m in zip(attributes, meters, strict=True)
    ]
    return [
        " ".join([label, f"[{i}]", *known, side(x), ",".join(map(str, position))])
        for i, (label, known, x, position) in enumerate(
            zip(labels, values, centers_x(boxes), grid_positions(boxes), strict=True), start=1
        )
    ]


def _sanitized(text: str) -> str:
    """Text on one line, without brackets, which answers use for citations."""
    return printable(text.translate(_NO_CITATION))
