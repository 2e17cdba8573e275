# SPDX-License-Identifier: Apache-2.0
"""Figures with confidence intervals, by bootstrap over scenes.

What is drawn again and again is scenes (or images, or frames), never single questions: those about
one scene stand or fall together. Every draw is the same for all figures of as many scenes, so that
two variants of a model can be compared draw by draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

# From (R, C) indices of scenes to R figures, NaN where one is not defined.
Statistic = Callable[[np.ndarray], np.ndarray]

DRAWS = 1000
_SEED = 20240625
_TAILS = (2.5, 97.5)  # percent: 95 % lie between


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % confidence interval.

    Attributes:
        value: The figure; NaN where it is not defined.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is outside; false where the figure is not defined."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, eq=False)
class Ratio:
    """A sum over scenes divided by another, such as right answers by questions.

    Attributes:
        numerators: (C,) of each scene.
        denominators: (C,) of each scene.
    """

    numerators: np.ndarray
    denominators: np.ndarray

    def __call__(self, chosen: np.ndarray) -> np.ndarray:
        """See `Statistic`."""
        above = np.asarray(self.numerators, float)[chosen].sum(axis=1)
        below = np.asarray(self.denominators, float)[chosen].sum(axis=1)
        return np.divide(above, below, out=np.full(len(above), np.nan), where=below != 0)


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean of several figures; those that are not defined are left out.

    Attributes:
        parts: The figures.
    """

    parts: Sequence[Statistic]

    def __call__(self, chosen: np.ndarray) -> np.ndarray:
        """See `Statistic`."""
        values = np.stack([part(chosen) for part in self.parts])
        defined = ~np.isnan(values)
        count = defined.sum(axis=0)
        total = np.where(defined, values, 0).sum(axis=0)
        return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


@dataclass(frozen=True, eq=False)
class Auroc:
    """How well a value tells some items of scenes from others.

    Attributes:
        positives: Of each of C scenes the values of items where the value should be high.
        negatives: Of each of C scenes the values of items where it should be low.
    """

    positives: Sequence[np.ndarray]
    negatives: Sequence[np.ndarray]

    def __call__(self, chosen: np.ndarray) -> np.ndarray:
        """See `Statistic`."""
        return np.array([self._of(row) for row in chosen])

    def _of(self, row: np.ndarray) -> float:
        return auroc(
            np.concatenate([self.positives[i] for i in row]),
            np.concatenate([self.negatives[i] for i in row]),
        )


@dataclass(frozen=True, eq=False)
class _Difference:
    one: Statistic
    other: Statistic

    def __call__(self, chosen: np.ndarray) -> np.ndarray:
        return self.one(chosen) - self.other(chosen)


def bootstrap(statistic: Statistic, scenes: int, draws: int = DRAWS) -> Interval:
    """Give a figure its percentile interval.

    Args:
        statistic: The figure.
        scenes: Number C of scenes.
        draws: How often C scenes are drawn, with replacement; the same ones in every call.

    Returns:
        The figure over all scenes, and the interval; NaN where there are no scenes.
    """
    if scenes == 0:
        return Interval(np.nan, np.nan, np.nan)
    [value] = statistic(np.arange(scenes)[None])
    drawn = statistic(_draws(scenes, draws))
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) == 0:
        return Interval(float(value), np.nan, np.nan)
    low, high = np.percentile(drawn, _TAILS)
    return Interval(float(value), float(low), float(high))


def bootstrap_difference(
    one: Statistic, other: Statistic, scenes: int, draws: int = DRAWS
) -> Interval:
    """The difference of two figures of the same scenes, both of the same draw each time.

    Args:
        one: A figure.
        other: What is taken from it.
        scenes: Number C of scenes.
        draws: See `bootstrap`.
    """
    return bootstrap(_Difference(one, other), scenes, draws)


def auroc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Area under the receiver operating characteristic.

    Args:
        positives: (P,) values of items that should have high ones.
        negatives: (N,) values of the others.

    Returns:
        The share of pairs in which the positive has the higher value, ties counted half; NaN
        where there are no pairs.
    """
    count = len(positives)
    pairs = count * len(negatives)
    if pairs == 0:
        return float("nan")
    values = np.concatenate([positives, negatives])
    _, which, sizes = np.unique(values, return_inverse=True, return_counts=True)
    # The mean rank, from 1, of all items of one value.
    ranks = (sizes.cumsum() - (sizes - 1) / 2)[which]
    return float((ranks[:count].sum() - count * (count + 1) / 2) / pairs)


@cache
def _draws(scenes: int, draws: int) -> np.ndarray:
    """(R, C) indices."""
    return np.random.default_rng(_SEED).integers(0, scenes, (draws, scenes))
