# SPDX-License-Identifier: Apache-2.0
"""Label table `K(y|n)`: probability that a thing with class name n has label y.

The visual encoder names regions in its own words. Two judges are averaged. A name that ends with a
label, as `Windsor tie` ends with `tie`, has that label. And the language model says how well each
label continues `minivan:`, after some examples (see `label_scorer`), with two corrections: labels
that follow every name lose most of their mean score, and general kinds such as `animal` compete
with the labels, because most names have none of them. This table is ours, not from the paper.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Kinds of things that compete with the labels.
OTHER_KINDS = (
    *("animal", "fish", "insect", "snake", "lizard", "monkey", "whale", "plant", "flower"),
    *("mushroom", "fruit", "vegetable", "food", "drink", "furniture", "tool", "machine", "weapon"),
    *("musical instrument", "building", "structure", "clothing", "shoe", "hat", "bag", "box"),
    *("container", "toy", "ball", "aircraft", "vehicle", "lamp", "screen", "camera", "computer"),
    *("door", "fence", "rock", "mountain", "water", "place", "material", "device", "game", "mask"),
    *("curtain", "rug", "paper"),
)
# Chosen with class names of known kinds; see docs/labels.md.
_PRIOR_WEIGHT = 0.6
_TEMPERATURE = 0.5


@dataclass(frozen=True, eq=False)
class ContinuationScores:
    """Scores of kinds of things as continuations of names, by a language model.

    Attributes:
        names: N class names.
        kinds: M kinds: labels and `OTHER_KINDS`.
        values: (M, N) float32 log-probabilities.

    Raises:
        ValueError: If the shape of `values` differs.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    values: np.ndarray

    def __post_init__(self) -> None:
        _check_shape(self.values, (len(self.kinds), len(self.names)))

    @classmethod
    def empty(cls, names: Sequence[str]) -> ContinuationScores:
        """Scores of no kinds."""
        return cls(tuple(names), (), np.zeros((0, len(names)), np.float32))

    @classmethod
    def read(cls, path: Path) -> ContinuationScores:
        """Read a file of `write`.

        Raises:
            OSError, KeyError, ValueError: If the file is missing or damaged.
        """
        with np.load(path, allow_pickle=False) as arrays:
            names, kinds = (tuple(arrays[key].tolist()) for key in ("names", "kinds"))
            return cls(names, kinds, arrays["values"].astype(np.float32))

    def write(self, path: Path) -> None:
        """Write the scores in half precision."""
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                names=np.array(self.names, str),
                kinds=np.array(self.kinds, str),
                values=self.values.astype(np.float16),
            )

    def __add__(self, other: ContinuationScores) -> ContinuationScores:
        """Add the kinds of other scores of the same names."""
        values = np.concatenate([self.values, other.values])
        return ContinuationScores(self.names, (*self.kinds, *other.kinds), values)

    def take(self, kinds: Sequence[str]) -> ContinuationScores:
        """Select kinds."""
        rows = {kind: row for row, kind in enumerate(self.kinds)}
        values = self.values[[rows[kind] for kind in kinds]]
        return ContinuationScores(self.names, tuple(kinds), values)

    def missing(self, kinds: Sequence[str]) -> tuple[str, ...]:
        """Kinds without scores."""
        return tuple(kind for kind in dict.fromkeys(kinds) if kind not in self.kinds)


@dataclass(frozen=True, eq=False)
class LabelTable:
    """`K(y|n)` of labels and names.

    Attributes:
        labels: V labels y.
        values: (V, N) float32 from 0 to 1, for N class names n.

    Raises:
        ValueError: If the shape of `values` differs.
    """

    labels: tuple[str, ...]
    values: np.ndarray

    def __post_init__(self) -> None:
        _check_shape(self.values, (len(self.labels), self.values.shape[1]))

    @classmethod
    def identity(cls, labels: Sequence[str]) -> LabelTable:
        """Table for a classifier whose names are the labels."""
        return cls(tuple(labels), np.eye(len(labels), dtype=np.float32))

    @classmethod
    def of_scores(cls, labels: Sequence[str], scores: ContinuationScores) -> LabelTable:
        """Table of string matches, averaged with the language model's scores.

        Labels without scores have string matches alone.
        """
        values = string_matches(labels, scores.names).astype(np.float32)
        rows = [row for row, label in enumerate(labels) if label in scores.kinds]
        if rows:
            known = probabilities([labels[row] for row in rows], scores)
            values[rows] = (values[rows] + known) / 2
        return cls(tuple(labels), values)


def string_matches(labels: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Find names that end with a label, in one of their synonyms.

    Args:
        labels: V labels.
        names: N names with synonyms separated by commas, such as `bow tie, bow-tie, bowtie`.

    Returns:
        (V, N) bool.
    """
    synonyms = [[_words(synonym) for synonym in name.split(",")] for name in names]
    matches = np.zeros((len(labels), len(names)), bool)
    for row, words in zip(matches, map(_words, labels), strict=True):
        row[:] = [any(own[-len(words) :] == words for own in of_name) for of_name in synonyms]
    return matches


def probabilities(labels: Sequence[str], scores: ContinuationScores) -> np.ndarray:
    """Convert scores to `K(y|n)`.

    Args:
        labels: V labels with scores.
        scores: Scores of the labels and of `OTHER_KINDS`.

    Returns:
        (V, N) probabilities; the rest to 1 is that of the other kinds.
    """
    kinds = dict.fromkeys((*labels, *OTHER_KINDS))
    values = scores.take(tuple(kinds)).values  # (V + other kinds, N)
    logits = (values - _PRIOR_WEIGHT * values.mean(1, keepdims=True)) / _TEMPERATURE
    odds = np.exp(logits - logits.max(0))
    return (odds / odds.sum(0))[: len(labels)]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _check_shape(values: np.ndarray, expected: tuple[int, int]) -> None:
    if values.shape != expected:
        raise ValueError(f"values have shape {values.shape}, expected {expected}")
