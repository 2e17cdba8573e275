# SPDX-License-Identifier: Apache-2.0
"""Kinds of nouns in WordNet, which people wrote: a control for what a language model knows.

WordNet (Fellbaum, 1998) groups nouns into synsets and says of which kind each is. The classes of
ImageNet are synsets.
"""

from __future__ import annotations

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
        return frozenset(self._senses.get(noun.lower().replace(" ", "_"), ()))

    def kinds(self, synset: str) -> frozenset[str]:
        """Ids of a synset and of all kinds that it belongs to."""
        found: set[str] = set()
        waiting = [synset]
        while waiting:
            current = waiting.pop()
            if current not in found:
                found.add(current)
                waiting += self._hypernyms[current]
        return frozenset(found)


def _lines(path: Path) -> list[list[str]]:
    """Fields of each line; lines that begin with a space are the license."""
    lines = path.read_text(encoding="ascii").splitlines()
    return [line.split() for line in lines if not line.startswith(" ")]


def _senses(fields: list[str]) -> tuple[str, list[str]]:
    """Noun, and ids of its synsets. See `man wndb` for the format."""
    return fields[0], fields[-int(fields[2]) :]


def _hypernyms(fields: list[str]) -> tuple[str, list[str]]:
    """Id of a synset, and ids of the synsets that it is a kind of."""
    pointers = 4 + 2 * int(fields[3], 16)
    count = int(fields[pointers])
    starts = range(pointers + 1, pointers + 1 + 4 * count, 4)
    return fields[0], [fields[i + 1] for i in starts if fields[i] in _KIND_OF]
