# SPDX-License-Identifier: Apache-2.0
"""Scores of labels, learned from the language model once and kept on disk."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import ClassVar, TypeVar
from weakref import finalize, ref
from zipfile import BadZipFile

import numpy as np

from mrmllm_ros.atomic_files import atomic_file
from mrmllm_ros.environment import cache_folder
from mrmllm_ros.model.label_scorer import LabelScorer
from mrmllm_ros.model.label_table import (
    OTHER_KINDS,
    ContinuationScores,
    LabelTable,
    probabilities,
)
from mrmllm_ros.model.language_model import LanguageModel

# Scores of the embedded language model for the labels of the embedded detector and the class names
# of the embedded encoder, made by `mrmllm models labels`.
SHIPPED = Path(__file__).parent / "label_scores"

T = TypeVar("T")

_SYNONYMS = 3  # of a class name, in its prompt


class ContinuationKnowledge:
    """Scores of labels as continuations of names.

    They are read from files that come with the package, and from a cache on disk. `learn` computes
    the scores of other labels and adds them to the cache.

    Attributes:
        examples: Lines before each name in the prompt.
        competitors: Continuations that are scored beside the labels.
        names: The names.
    """

    examples: ClassVar[str]
    competitors: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        language_model: LanguageModel,
        names: Sequence[str],
        load_language_model: Callable[[], LanguageModel],
    ) -> None:
        """Read the scores on disk.

        Args:
            language_model: The language model, for its name and revision.
            names: Names that labels continue.
            load_language_model: Gives the language model without the adapters of a checkpoint,
                which cost it some of its knowledge.
        """
        self.names = tuple(names)
        self._load_language_model = load_language_model
        self._file_name = f"{language_model.name}-{self._digest(language_model)}.npz"
        self._scores = ContinuationScores.empty(self.names)
        for folder in (SHIPPED, self._cache):
            scores = self._read(folder / self._file_name)
            self._scores += scores.take(self._scores.missing(scores.kinds))

    def missing(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Labels, and continuations that compete with them, without scores."""
        return self._scores.missing((*labels, *self.competitors))

    def learn(self, labels: Sequence[str], stop: Event) -> None:
        """Compute missing scores with the language model and write the cache.

        Args:
            labels: Labels; a few hundred names take minutes on a CPU.
            stop: Ends the computation early, without a result.
        """
        missing = self.missing(labels)
        if not missing:
            return
        started_s = time.monotonic()
        parts: list[np.ndarray] = []
        language_model = self._load_language_model()
        scorer = LabelScorer(language_model, missing, self.examples)
        for part in scorer.scores(list(map(self._prompt, self.names))):
            if stop.is_set():
                return
            parts.append(part)
        self._scores += ContinuationScores(self.names, missing, np.concatenate(parts, 1))
        _log().info(
            "%s scored %d labels for %d names in %.0f s",
            language_model.name,
            len(missing),
            len(self.names),
            time.monotonic() - started_s,
        )
        self._write()

    def _prompt(self, name: str) -> str:
        """Name as it stands in the prompt."""
        return name

    @property
    def _cache(self) -> Path:
        return cache_folder() / "label_scores"

    def _digest(self, language_model: LanguageModel) -> str:
        """Digest of what the scores depend on."""
        texts = (language_model.name, language_model.revision, self.examples, *self.names)
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]

    def _read(self, path: Path) -> ContinuationScores:
        if not path.is_file():
            return ContinuationScores.empty(self.names)
        try:
            scores = ContinuationScores.read(path)
        except (OSError, KeyError, ValueError, BadZipFile) as error:
            _log().warning("%s cannot be read and is ignored: %s", path, error)
            return ContinuationScores.empty(self.names)
        return scores

    def _write(self) -> None:
        path = self._cache / self._file_name
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as written:
                self._scores.write(written)
        except OSError as error:
            _log().warning("the scores of labels cannot be kept in %s: %s", path, error)


class LabelKnowledge(ContinuationKnowledge):
    """Scores of labels for the class names of an encoder, with synonyms separated by commas."""

    # None of them is a class name of ImageNet or a label of COCO.
    examples = (
        "rose: flower\nmug: cup\noak: tree\nsedan: car\nhamster: animal\npizza cutter: tool\n"
    )
    competitors = OTHER_KINDS

    def table(self, labels: Sequence[str]) -> LabelTable:
        """Table of labels from the scores known so far; others have string matches alone."""
        return LabelTable.of_scores(labels, self._scores)

    def language_model_table(self, labels: Sequence[str]) -> LabelTable:
        """Table of what the language model says alone.

        Args:
            labels: Labels with scores, see `learn`.
        """
        values = probabilities(labels, self._scores).astype(np.float32)
        return LabelTable(tuple(labels), values)

    def export(self, labels: Sequence[str], folder: Path) -> Path:
        """Write the scores of labels and other kinds to a folder and return the path."""
        path = folder / self._file_name
        folder.mkdir(parents=True, exist_ok=True)
        self._scores.take(tuple(dict.fromkeys((*labels, *OTHER_KINDS)))).write(path)
        return path

    def _prompt(self, name: str) -> str:
        return ", ".join(name.split(", ")[:_SYNONYMS])


def start_learning(
    owner: T,
    knowledge: ContinuationKnowledge,
    labels: tuple[str, ...],
    on_learned: Callable[[T], None],
) -> tuple[Thread, Event]:
    """Start a thread that learns labels.

    Args:
        owner: Object that needs the labels. The thread does not keep it alive, and stops when it
            is collected.
        knowledge: Learns the labels.
        labels: The labels.
        on_learned: Called with the owner in the thread, unless learning fails or is stopped.

    Returns:
        The thread, and an event that stops it.
    """
    stop = Event()
    finalize(owner, stop.set)
    arguments = (ref(owner), knowledge, labels, on_learned, stop)
    thread = Thread(target=_learn, args=arguments, name="labels", daemon=True)
    thread.start()
    return thread, stop


def _learn(
    owner: ref[T],
    knowledge: ContinuationKnowledge,
    labels: tuple[str, ...],
    on_learned: Callable[[T], None],
    stop: Event,
) -> None:
    try:
        knowledge.learn(labels, stop)
    except Exception:
        # For example, not enough memory on the GPU.
        _log().exception("the language model could not score labels; they are used without scores")
        return
    needs = owner()
    if needs is not None and not stop.is_set():
        on_learned(needs)


def _log() -> logging.Logger:
    return logging.getLogger(__name__)
