# SPDX-License-Identifier: Apache-2.0
"""Statistics with confidence intervals, by bootstrap over scenes.

Scenes (or images, or frames) are resampled, not questions, since questions about one scene are
correlated. The samples are the same for all statistics with the same number of scenes, so that
variants of a model can be compared sample by sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

# Maps (R, C) indices of scenes to R values, NaN if undefined.
Statistic = Callable[[np.ndarray], np.ndarray]

SAMPLES = 1000
_SEED = 20240625
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Interval:
    """Value with its 95 % confidence interval.

    Attributes:
        value: Value; NaN if undefined.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is outside the interval; false for an undefined value."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, eq=False)
class Ratio:
    """Ratio of two sums over scenes, such as right answers to questions.

    Attributes:
        numerators: (C,) numerator of each scene.
        denominators: (C,) denominator of each scene.
    """

    numerators: np.ndarray
    denominators: np.ndarray

    def __call__(self, chosen: np.ndarray) -> np.ndarray:
        """See `Statistic`."""
        above = np.asarray(self.numerators, float)[chosen].sum(axis=1)
        below = np.asarray(self.denominators, float)[chosen].sum(axis=1)
        return np.divide(above, below, out=np.full(len(above), np.nan), where=below != 0)


@dataclass(frozen=True, eq=False)
class MeanRatio:
    """Mean over classes of the ratio of two sums over scenes, without undefined ratios.

    Attributes:
        numerators: (C, K) numerator of each scene and class.
        denominators: (C, K) denominator of each scene and class.
    """

    numerators: np.ndarray
    denominators: np.ndarray

    def __call__(self, chosen: np.ndarray) -> np.ndarray:
        """See `Statistic`."""
        counts = scene_counts(chosen, len(self.numerators))
        above, below = counts @ self.numerators, counts @ self.denominators  # (R, K)
        ratios = np.divide(above, below, out=np.zeros_like(above), where=below != 0)
        return mean_of_defined(ratios.T, (below != 0).T)


@dataclass(frozen=True, eq=False)
class Mean:
    """Mean of several statistics, without undefined values.

    Attributes:
        parts: The statistics.
    """

    parts: Sequence[Statistic]

    def __call__(self, chosen: np.ndarray) -> np.ndarray:
        """See `Statistic`."""
        values = np.stack([part(chosen) for part in self.parts])
        return mean_of_defined(values, ~np.isnan(values))


@dataclass(frozen=True, eq=False)
class Auroc:
    """Area under the ROC curve of a value as a classifier.

    Attributes:
        positives: Values of the positive items of each of C scenes.
        negatives: Values of the negative items of each of C scenes.
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
class Difference:
    """Difference of two statistics on the same samples.

    Attributes:
        one: Minuend.
        other: Subtrahend.
    """

    one: Statistic
    other: Statistic

    def __call__(self, chosen: np.ndarray) -> np.ndarray:
        """See `Statistic`."""
        return self.one(chosen) - self.other(chosen)


def bootstrap(statistic: Statistic, scenes: int, samples: int = SAMPLES) -> Interval:
    """Compute a statistic with its percentile bootstrap interval.

    Args:
        statistic: The statistic.
        scenes: Number C of scenes.
        samples: Number of bootstrap samples; the same samples in every call.

    Returns:
        Value over all scenes with its interval; NaN without scenes.
    """
    if scenes == 0:
        return Interval(np.nan, np.nan, np.nan)
    [value] = statistic(np.arange(scenes)[None])
    sampled = statistic(_samples(scenes, samples))
    sampled = sampled[~np.isnan(sampled)]
    if len(sampled) == 0:
        return Interval(float(value), np.nan, np.nan)
    low, high = np.percentile(sampled, _PERCENTILES)
    return Interval(float(value), float(low), float(high))


def bootstrap_difference(
    one: Statistic, other: Statistic, scenes: int, samples: int = SAMPLES
) -> Interval:
    """Compute the difference of two statistics on the same bootstrap samples.

    Args:
        one: Minuend.
        other: Subtrahend.
        scenes: Number C of scenes.
        samples: See `bootstrap`.
    """
    return bootstrap(Difference(one, other), scenes, samples)


def scene_counts(chosen: np.ndarray, scenes: int) -> np.ndarray:
    """Count how often each scene was chosen.

    Args:
        chosen: (R, C) indices of scenes.
        scenes: Number C of scenes.

    Returns:
        (R, C) float64.
    """
    rows = np.arange(len(chosen))[:, None] * scenes
    counts = np.bincount((rows + chosen).ravel(), minlength=len(chosen) * scenes)
    return counts.reshape(len(chosen), scenes).astype(float)


def mean_of_defined(values: np.ndarray, defined: np.ndarray) -> np.ndarray:
    """Mean of the defined ones of N values for each of R samples.

    Args:
        values: (N, R) values.
        defined: (N, R) bool.

    Returns:
        (R,) means, NaN for a sample without a defined value.
    """
    count = defined.sum(axis=0)
    total = np.where(defined, values, 0).sum(axis=0)
    return np.divide(total, count, out=np.full(values.shape[1], np.nan), where=count > 0)


def auroc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Area under the receiver operating characteristic.

    Args:
        positives: (P,) values of positive items.
        negatives: (N,) values of negative items.

    Returns:
        Share of pairs in which the positive item has the higher value, with ties counted half; NaN
        without pairs.
    """
    count = len(positives)
    pairs = count * len(negatives)
    if pairs == 0:
        return float("nan")
    values = np.concatenate([positives, negatives])
    _, which, sizes = np.unique(values, return_inverse=True, return_counts=True)
    # Mean rank, from 1, of the items with the same value.
    ranks = (sizes.cumsum() - (sizes - 1) / 2)[which]
    return float((ranks[:count].sum() - count * (count + 1) / 2) / pairs)


@cache
def _samples(scenes: int, samples: int) -> np.ndarray:
    """(R, C) indices."""
    return np.random.default_rng(_SEED).integers(0, scenes, (samples, scenes))
