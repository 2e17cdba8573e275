# SPDX-License-Identifier: Apache-2.0
"""Citations of objects in answers: `[3]` or `[1, 4]`, the numbers of the prompt's object list."""

from __future__ import annotations

import re
from collections.abc import Container

CITATION = re.compile(r"\[(\d{1,6}(?:,\s*\d{1,6})*)\]")


def cited_ids(text: str, citable: Container[int] | None = None) -> tuple[int, ...]:
    """Parse the ids of the objects that an answer cites, in the order of first citation.

    Args:
        text: The answer.
        citable: Ids of the objects; other ids are dropped. None keeps every id.
    """
    ids = (int(number) for numbers in CITATION.findall(text) for number in numbers.split(","))
    return tuple(dict.fromkeys(i for i in ids if citable is None or i in citable))
