# SPDX-License-Identifier: Apache-2.0
"""Templates of questions, and of one answer, from `templates.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

import yaml

from mrmllm_ros.datasets.questions.vocabulary import Split

_FIELDS = frozenset(
    (
        *("x", "xs", "a_x", "y", "Is", "Is_cap", "Does", "Does_cap"),
        *("red_x", "red_xs", "a_red_x", "on_side", "color", "state", "relation", "limit", "found"),
    )
)
_BRITISH_SPELLING = {"color": "colour", "Color": "Colour", "meter": "metre", "gray": "grey"}


@dataclass(frozen=True)
class Templates:
    """Templates of one question.

    Attributes:
        train: Templates for training.
        evaluation: Templates for evaluation, not used in training.

    Raises:
        ValueError: If a split has no templates, or a template has an unknown field.
    """

    train: tuple[str, ...]
    evaluation: tuple[str, ...]

    def __post_init__(self) -> None:
        if not (self.train and self.evaluation):
            raise ValueError("templates.yaml: each question needs templates for both splits")
        for template in self.train + self.evaluation:
            fields = {field for _, field, _, _ in Formatter().parse(template) if field}
            if unknown := fields - _FIELDS:
                raise ValueError(f"templates.yaml: {template!r} has unknown fields {unknown}")

    def of(self, split: Split) -> tuple[str, ...]:
        """The templates of a split."""
        return self.train if split == "train" else self.evaluation


def _read() -> dict[str, Templates]:
    text = Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
    return {
        name: Templates(tuple(splits["train"]), tuple(splits["evaluation"]))
        for name, splits in yaml.safe_load(text).items()
    }


TEMPLATES = _read()


def fill(name: str, split: Split, choice: float, fields: Mapping[str, str]) -> str:
    """Fill in a template of a question.

    Args:
        name: Name of the question, such as `count`.
        split: Split of the templates.
        choice: From 0 to below 1, selects the template.
        fields: Values of the template's fields.
    """
    templates = TEMPLATES[name].of(split)
    return templates[int(choice * len(templates))].format(**fields)


def british(text: str) -> str:
    """Change American to British spelling."""
    for american, spelling in _BRITISH_SPELLING.items():
        text = text.replace(american, spelling)
    return text
