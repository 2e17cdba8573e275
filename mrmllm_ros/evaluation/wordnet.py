# SPDX-License-Identifier: Apache-2.0
"""Kinds of nouns in WordNet, which people wrote: a control for what a language model knows.

WordNet (Fellbaum, 1998) groups nouns into synsets and says of which kind each is. The classes of
ImageNet are synsets.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

_KIND_OF = ("@", "@i")  # pointers to hypernyms


class WordNet:
    """Nouns of WordNet 3.0.

    Args:
        folder: Folder with `index.noun` and `data.noun`.
    """

    def __init__(self, folder: Path) -> None:
        self._senses = dict(map(_senses, _lines(folder / "index.noun")))
        self._hypernyms = dict(map(_hypernyms, _lines(folder / "data.noun")))

    def senses(self, noun: str) -> frozenset[str]:
        """Ids of the synsets of a noun; empty for an unknown noun."""
        return frozenset(self._senses.get(_lemma(noun), ()))

    def main_sense(self, noun: str) -> str | None:
        """Id of the most frequent sense of a noun; None for an unknown noun."""
        return next(iter(self._senses.get(_lemma(noun), ())), None)

    def kinds(self, synset: str) -> frozenset[str]:
        """Ids of a synset and of all kinds that it belongs to."""
        return frozenset(self.distances(synset))

    def distances(self, synset: str) -> dict[str, int]:
        """Number of steps from a synset to itself and to each kind that it belongs to."""
        found = {synset: 0}
        waiting = deque(found)
        while waiting:
            current = waiting.popleft()
            for kind in self._hypernyms[current]:
                if kind not in found:
                    found[kind] = found[current] + 1
                    waiting.append(kind)
        return found


def _lemma(noun: str) -> str:
    return noun.lower().replace(" ", "_")


def _lines(path: Path) -> list[list[str]]:
    """Fields of each line; lines that begin with a space are the license."""
    lines = path.read_text(encoding="ascii").splitlines()
    return [line.split() for line in lines if not line.startswith(" ")]


def _senses(fields: list[str]) -> tuple[str, list[str]]:
    """Noun, and ids of its synsets, most frequent first. See `man wndb` for the format."""
    return fields[0], fields[-int(fields[2]) :]


def _hypernyms(fields: list[str]) -> tuple[str, list[str]]:
    """Id of a synset, and ids of the synsets that it is a kind of."""
    pointers = 4 + 2 * int(fields[3], 16)
    count = int(fields[pointers])
    starts = range(pointers + 1, pointers + 1 + 4 * count, 4)
    return fields[0], [fields[i + 1] for i in starts if fields[i] in _KIND_OF]
