# SPDX-License-Identifier: Apache-2.0
"""Families of questions, one module each.

A module holds `FORMS`, the functions that draw a question and its answer, each as often as it is
listed; and, where training should ask the family more often, `EXTRA`: how many times more. A
module that is added here is found by itself.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass

from mrmllm_ros.datasets.questions.scene_sampler import Form


@dataclass(frozen=True)
class Family:
    """A family of questions.

    Attributes:
        forms: Functions that draw a question and its answer.
        extra: How many times more often training asks it.
    """

    forms: tuple[Form, ...]
    extra: int = 0


def _find() -> dict[str, Family]:
    found = {}
    for module in pkgutil.iter_modules(__path__):
        family = importlib.import_module(f"{__name__}.{module.name}")
        found[module.name] = Family(family.FORMS, getattr(family, "EXTRA", 0))
    return found


FAMILIES = _find()
