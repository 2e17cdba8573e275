# SPDX-License-Identifier: Apache-2.0
"""Citations of objects in answers: `[3]` or `[1, 4]`, the numbers of the prompt's object list."""

from __future__ import annotations

import re

CITATION = re.compile(r"\[(\d{1,6}(?:,\s*\d{1,6})*)\]")


def cited_ids(text: str, count: int | None = None) -> tuple[int, ...]:
    """Parse the ids of the objects that an answer cites, in the order of first citation.

    Args:
        text: The answer.
        count: Number of objects; ids beyond it are dropped. None keeps every id.
    """
    ids = (int(number) for numbers in CITATION.findall(text) for number in numbers.split(","))
    return tuple(dict.fromkeys(i for i in ids if count is None or 1 <= i <= count))
