# SPDX-License-Identifier: Apache-2.0
"""Class names of ImageNet with the label of each, which WordNet decides, and ranks in a table.

The label of a name is its nearest kind in WordNet among the labels, each in its most frequent
sense. So the truth does not depend on the tables under test, but for that of WordNet.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mrmllm_ros.evaluation.wordnet import WordNet

TOP_1 = "top-1"
MRR = "MRR"
MEASURES = (TOP_1, MRR)


@dataclass(frozen=True, eq=False)
class NamePairs:
    """Names with their labels.

    Attributes:
        names: (P,) indices of the names among the N class names.
        labels: (P,) indices of their labels among the V labels.
        ambiguous: Number of names that are left out, because several labels are nearest.
    """

    names: np.ndarray
    labels: np.ndarray
    ambiguous: int

    def __len__(self) -> int:
        return len(self.names)

    def ranks(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Rank the label of each name among all labels, equal values in random order.

        Args:
            values: (V, N) table `K(y|n)`.

        Returns:
            (P,) probability that the label is the first, and mean reciprocal rank, by measure.
        """
        of_names = values[:, self.names]  # (V, P)
        own = of_names[self.labels, np.arange(len(self))]
        better, tied = (of_names > own).sum(0), (of_names == own).sum(0)
        harmonic = np.concatenate([[0], (1 / np.arange(1, len(values) + 1)).cumsum()])
        return {
            TOP_1: (better == 0) / tied,
            MRR: (harmonic[better + tied] - harmonic[better]) / tied,
        }


def name_pairs(
    labels: Sequence[str],
    names: Sequence[str],
    synsets: Sequence[str],
    wordnet: WordNet,
    share_word: bool,
) -> NamePairs:
    """Find the label of each class name.

    Args:
        labels: V labels; those that WordNet does not know have no names.
        names: N class names.
        synsets: Their ids in WordNet.
        wordnet: The judge.
        share_word: Select names that have a word in common with their label, or those that have
            none.
    """
    senses = [wordnet.main_sense(label) for label in labels]
    found: list[tuple[int, int]] = []
    ambiguous = 0
    for column, (name, synset) in enumerate(zip(names, synsets, strict=True)):
        nearest = _nearest(senses, wordnet.distances(synset))
        shared = [not _words(name).isdisjoint(_words(labels[row])) for row in nearest]
        if not nearest or any(shared) != share_word:
            continue
        if len(nearest) > 1:
            ambiguous += 1
        else:
            found.append((column, nearest[0]))
    columns, rows = np.array(found, np.int64).reshape(-1, 2).T
    return NamePairs(columns, rows, ambiguous)


def _nearest(senses: Sequence[str | None], distances: dict[str, int]) -> list[int]:
    """Rows of the senses at the smallest distance."""
    known = {row: distances[sense] for row, sense in enumerate(senses) if sense in distances}
    return [row for row, distance in known.items() if distance == min(known.values())]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
