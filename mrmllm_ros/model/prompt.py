# SPDX-License-Identifier: Apache-2.0
"""Perception-embedded prompt: the detections written into the language model's prompt.

The paper's third mechanism (MR-MLLM, abstract: "embed perceptual information into the language
model's prompts"). The format is ours: one numbered line for each object, most salient first,
coordinates on a grid of 0 to 99, within a budget of tokens, and always the same text for the same
detections. The numbers are what answers cite.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mrmllm_ros.perception.detections import Detections
from mrmllm_ros.settings import Validated, setting

GRID = 100
DESCRIBE = "Describe the scene."
INSTRUCTION = (
    "You are a robot. The numbered objects are all that your camera sees. Answer in one short "
    "sentence and put the number of each object you mention behind it, like [1]. If something is "
    "not listed, say that you do not see it."
)
# A small language model follows examples better than an instruction. Each has objects of its own,
# or the model carries those of the examples over into its answers.
EXAMPLES = (
    (
        "[1] dog, middle, (30,40,60,90)\n"
        "[2] chair, left, (0,30,20,80)\n"
        "[3] chair, right, (70,30,95,80)",
        "How many chairs are there?",
        "There are two chairs [2][3].",
    ),
    ("[1] boat, middle, (30,40,60,90)", "Is there a cat?", "No, I do not see a cat."),
    ("[1] kite, right, (70,10,80,20)", "Is there a kite?", "Yes, there is a kite [1]."),
    (
        "[1] truck, left, (0,30,40,80)\n[2] bicycle, right, (60,50,90,90)",
        DESCRIBE,
        "I see a truck [1] on the left and a bicycle [2] on the right.",
    ),
)
CITATION = re.compile(r"\[(\d{1,6}(?:,\s*\d{1,6})*)\]")


@dataclass(frozen=True)
class PromptSettings(Validated):
    """How much of the perception is written into the prompt."""

    max_objects: int = setting(
        30, "Most objects written into the prompt.", minimum=1, maximum=300, live=True
    )
    token_budget: int = setting(
        600, "Most tokens that the lines of objects may take.", minimum=32, maximum=8192, live=True
    )


def describe_objects(
    detections: Detections, settings: PromptSettings, count_tokens: Callable[[str], int]
) -> str:
    """Write one line for each object, as many as fit.

    Args:
        detections: Objects, most salient first.
        settings: Limits.
        count_tokens: Length of a text in the language model's tokens.

    Returns:
        Lines such as `[1] person, left, (6,37,27,83)`; then a line that says how many objects
        were left out, if any were; or a line that says that there are none.
    """
    if len(detections) == 0:
        return "No objects."
    lines: list[str] = []
    budget = settings.token_budget
    for line in _lines(detections)[: settings.max_objects]:
        budget -= count_tokens(line + "\n")
        if budget < 0:
            break
        lines.append(line)
    if left_out := len(detections) - len(lines):
        lines.append(f"and {left_out} more")
    return "\n".join(lines)


def listed(objects: str) -> int:
    """Number of objects in what `describe_objects` wrote; the others were left out."""
    return sum(line.startswith("[") for line in objects.splitlines())


def chat(objects: str | None, question: str, examples: bool = True) -> list[dict[str, str]]:
    """The conversation that asks the language model one question about one image.

    Args:
        objects: What `describe_objects` wrote; None leaves perception out of the prompt.
        question: The user's question; empty asks for a description.
        examples: Whether to show the model how others were answered, which one that is not
            trained for it needs.

    Returns:
        Messages with `role` and `content`, as chat templates take them.
    """
    turns = [("system", INSTRUCTION)]
    for example_objects, asked, answered in EXAMPLES if examples else ():
        turns += [("user", _ask(example_objects, asked)), ("assistant", answered)]
    turns += [("user", _ask(objects, question.strip() or DESCRIBE))]
    return [{"role": role, "content": content} for role, content in turns]


def cited_ids(text: str, count: int) -> tuple[int, ...]:
    """Ids of the objects that an answer cites, in the order of their first citation.

    Args:
        text: The answer.
        count: Number of objects; citations beyond it name nothing and are left out.
    """
    ids = (int(number) for numbers in CITATION.findall(text) for number in numbers.split(","))
    return tuple(dict.fromkeys(i for i in ids if 1 <= i <= count))


def _ask(objects: str | None, question: str) -> str:
    if objects is None:
        return question
    return f"Objects:\n{objects}\n{question}"


def _lines(detections: Detections) -> list[str]:
    size = np.tile(detections.resolution_wh, 2)
    grid = (detections.xyxy / size * GRID).astype(int).clip(0, GRID - 1)
    return [
        # A label is written on one line, whatever it holds.
        f"[{i}] {' '.join(label.split())}, {_side(box)}, ({','.join(map(str, box))})"
        for i, (label, box) in enumerate(zip(detections.labels, grid, strict=True), start=1)
    ]


def _side(box: np.ndarray) -> str:
    center_x = (box[0] + box[2]) / 2
    return ("left", "middle", "right")[min(int(center_x * 3 / GRID), 2)]
