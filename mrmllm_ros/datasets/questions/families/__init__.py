# SPDX-License-Identifier: Apache-2.0
"""Question families, one module each; modules are found automatically.

`FORMS` lists the functions that sample a question with its answer; a function may be repeated to
sample it more often. `EXTRA` is the number of additional times that training asks the family in
each round: small language models learn some families late. `ASKED` says when a family is asked;
see `Family.asked`.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Literal

from mrmllm_ros.datasets.questions.scene_sampler import Form


@dataclass(frozen=True)
class Family:
    """Question family.

    Attributes:
        forms: Functions that sample a question with its answer.
        extra: Number of additional times that training asks the family.
        asked: `always`, in scenes with an `annotation`, or on `request`: as the share of the
            questions that the caller of `ask` gives it.
    """

    forms: tuple[Form, ...]
    extra: int = 0
    asked: Literal["always", "annotation", "request"] = "always"


def _find() -> dict[str, Family]:
    found = {}
    for module in pkgutil.iter_modules(__path__):
        family = importlib.import_module(f"{__name__}.{module.name}")
        found[module.name] = Family(
            family.FORMS, getattr(family, "EXTRA", 0), getattr(family, "ASKED", "always")
        )
    return found


ALL_FAMILIES = _find()
# The families of every scene.
FAMILIES = {name: family for name, family in ALL_FAMILIES.items() if family.asked == "always"}
