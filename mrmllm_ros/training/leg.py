# SPDX-License-Identifier: Apache-2.0
"""Legs: a long training run divided into several shorter ones, each within a given time."""

from __future__ import annotations

import time
from collections.abc import Callable


class UnfinishedError(Exception):
    """A leg is over before the training run; the same command continues the run."""


class Leg:
    """Time of one leg, from the start of the process on.

    Attributes:
        minutes: Length of the leg; 0 for no end.
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the leg.

        Args:
            minutes: Length of the leg; 0 for no end.
            clock: Function that returns seconds.
        """
        self.minutes = minutes
        self._clock = clock
        self._started_s = clock()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started_s

    def is_over(self, elapsed_s: float) -> bool:
        """Whether the leg ends within a number of seconds after its start."""
        return self.minutes > 0 and elapsed_s >= self.minutes * 60

    def check(self, task: str) -> None:
        """End the leg during a task whose result so far is kept on disk.

        Args:
            task: The task, for the message.

        Raises:
            UnfinishedError: If the leg is over.
        """
        if self.is_over(self.elapsed_s):
            raise UnfinishedError(f"the leg of {self.minutes:g} minutes is over while {task}")
