# SPDX-License-Identifier: Apache-2.0
"""Questions about the image itself: whether the camera sees well, and what is wrong if not.

No list of objects tells it. What is right follows from the damage that was done to the image.
"""

from __future__ import annotations

import numpy as np

from mrmllm_ros.training.data.example import QuestionAnswer, Truth
from mrmllm_ros.training.data.nouns import Split
from mrmllm_ros.training.data.wordings import wording

CLEAR = "clear"
# What each kind of damage makes of an image; detail is lost in two ways that look much alike.
LOOKS = {
    "blur": "blurred",
    "scaling": "blurred",
    "noise": "grainy",
    "jpeg": "blocky",
    "dark": "dark",
    "glare": "overexposed",
    "fog": "foggy",
    "occlusion": "covered",
}
FAMILY = "visibility"
# A milder damage is hard to see, so that nothing is asked about it.
_PLAIN_FROM = 2


def visibility(kind: str, strength: int) -> str:
    """How an image looks.

    Args:
        kind: Of the damage.
        strength: Of the damage, 1 to 3; 0 where there is none.

    Returns:
        `CLEAR`, one of `LOOKS`, or nothing where that is hard to say.
    """
    if strength == 0:
        return CLEAR
    return LOOKS[kind] if strength >= _PLAIN_FROM else ""


def ask_about_visibility(
    look: str, rng: np.random.Generator, split: Split
) -> tuple[QuestionAnswer, ...]:
    """Ask one question of each form about an image.

    Args:
        look: What `visibility` gave.
        rng: Source of chance.
        split: Whose wordings to use.

    Returns:
        What it is like, whether it is clear, and whether it looks in a certain way, which is true
        as often as not where something is wrong; nothing where `look` is empty.
    """
    if not look:
        return ()
    others = sorted({*LOOKS.values()} - {look})
    asked = look if look != CLEAR and rng.random() < 0.5 else str(rng.choice(others))

    def put(name: str) -> str:
        return wording(name, split, float(rng.random()), {"look": asked})

    among = frozenset({CLEAR, *LOOKS.values()})
    what = Truth(mentions=frozenset([look]), among=among, cited=frozenset())
    return (
        QuestionAnswer(
            question=put("visibility"),
            answer=f"The picture is {look}.",
            family=FAMILY,
            truth=what,
        ),
        _yes_no(put("is_visibility_clear"), look, look == CLEAR),
        _yes_no(put("is_visibility"), look, look == asked),
    )


def _yes_no(question: str, look: str, holds: bool) -> QuestionAnswer:
    return QuestionAnswer(
        question=question,
        answer=f"The picture is {look}, so {'yes' if holds else 'no'}.",
        family=FAMILY,
        truth=Truth(polarity=holds, cited=frozenset()),
    )
