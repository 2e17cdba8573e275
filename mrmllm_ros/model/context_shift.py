# SPDX-License-Identifier: Apache-2.0
"""Comprehension of the scene: likelihood of labels in the place where the robot is.

The language model scores each label as an object in the context, and as an object in places of
many kinds. The log-probability in the context minus the mean over these places is the shift of the
label's log-odds. This is ours, not from the paper; how it was chosen is in docs/labels.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Lock, Thread

import numpy as np

from mrmllm_ros.model.label_knowledge import ContinuationKnowledge, start_learning
from mrmllm_ros.model.language_model import LanguageModel

# The mean score of a label in these places is its prior.
REFERENCE_PLACES = (
    *("a kitchen", "an office", "a living room", "a bedroom", "a bathroom", "a workshop"),
    *("a hospital", "a shop", "a school", "a street", "a garden", "a restaurant"),
)
# Largest shift of log-odds in either direction.
MAX_SHIFT = 3.0


class ContextKnowledge(ContinuationKnowledge):
    """Scores of labels in a context and in reference places."""

    # None of the places is one of the rendered scenes.
    examples = (
        "Place: a bathroom. Object: towel\n"
        "Place: a garden. Object: shovel\n"
        "Place: a classroom. Object: blackboard\n"
        "Place: a church. Object: bench\n"
    )

    def __init__(
        self,
        language_model: LanguageModel,
        context: str,
        load_language_model: Callable[[], LanguageModel],
    ) -> None:
        """Read the scores on disk.

        Args:
            language_model: The language model, for its name and revision.
            context: A place such as `a hospital corridor`.
            load_language_model: See `ContinuationKnowledge`.
        """
        super().__init__(language_model, (context, *REFERENCE_PLACES), load_language_model)

    def shifts(self, labels: Sequence[str]) -> np.ndarray:
        """Log-probability in the context minus the mean over the reference places.

        Args:
            labels: V labels with scores, see `learn`.

        Returns:
            (V,) float32, from -`MAX_SHIFT` to `MAX_SHIFT`.
        """
        values = self._scores.take(labels).values
        return (values[:, 0] - values[:, 1:].mean(1)).clip(-MAX_SHIFT, MAX_SHIFT)

    def _prompt(self, name: str) -> str:
        return f"Place: {name}. Object"


@dataclass(frozen=True, eq=False)
class _Learned:
    """Shifts of labels in a context."""

    context: str
    labels: tuple[str, ...]
    shifts: np.ndarray


class ContextShift:
    """Shifts of the log-odds of labels in the current context.

    A thread computes them for a new context or new labels, so that setting either returns at once;
    until then there are none.

    Attributes:
        make_knowledge: Creates the knowledge about a context.
    """

    def __init__(self, make_knowledge: Callable[[str], ContextKnowledge]) -> None:
        """Start without a context.

        Args:
            make_knowledge: Creates the knowledge about a context.
        """
        self.make_knowledge = make_knowledge
        self._context = ""
        self._labels: tuple[str, ...] = ()
        self._learned: _Learned | None = None
        self._learner: Thread | None = None
        self._stop = Event()
        self._lock = Lock()

    def set_context(self, context: str) -> None:
        """Set the context.

        Args:
            context: A place such as `a hospital corridor`; empty if unknown.
        """
        with self._lock:
            if context.strip() != self._context:
                self._context = context.strip()
                self._start()

    def set_labels(self, labels: Sequence[str]) -> None:
        """Set the labels to shift."""
        with self._lock:
            if tuple(labels) != self._labels:
                self._labels = tuple(labels)
                self._start()

    def of(self, labels: Sequence[str]) -> np.ndarray | None:
        """Shifts of V labels: (V,) float32; None without a context or until they are known."""
        learned = self._learned
        if learned is None or learned.labels != tuple(labels):
            return None
        # A thread for an older context may have ended after the context changed.
        return learned.shifts if learned.context == self._context else None

    def wait(self) -> None:
        """Wait until the shifts are known."""
        if self._learner is not None:
            self._learner.join()

    def _start(self) -> None:
        self._stop.set()
        self._learned = None
        context, labels = self._context, self._labels
        if not (context and labels):
            return
        knowledge = self.make_knowledge(context)

        def use(own: ContextShift) -> None:
            own._learned = _Learned(context, labels, knowledge.shifts(labels))

        if knowledge.missing(labels):
            self._learner, self._stop = start_learning(self, knowledge, labels, use)
        else:
            use(self)
