"""How sure a figure is: bootstrap intervals, paired permutation tests, and Holm's correction for several tests.

Queries are drawn within their stratum (the data set they are from), and strata weigh the same, so that the mean over
several sets is a mean of means. Everything is seeded: the same values give the same intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESAMPLES = 10_000
CONFIDENCE = 0.95
_CELLS = 4_000_000
"""Random numbers drawn at once: bounds the memory, whatever the number of queries."""
_SAME = 1e-12
"""Means closer than this are equal: floating-point sums of the same numbers in another order."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """One system minus another over the same queries.

    `p` is the two-sided p-value of the paired permutation test, `p_holm` the same after Holm's correction; `wins`,
    `draws` and `losses` count queries.
    """

    mean: float
    low: float
    high: float
    p: float
    p_holm: float
    wins: int
    draws: int
    losses: int

    @property
    def significant(self) -> bool:
        """Whether the difference is significant at 5 % after correction."""
        return self.p_holm < 1 - CONFIDENCE


def weights(strata: Ints) -> Floats:
    """Weigh queries so that every stratum counts the same; the weights sum to 1."""
    names, inverse, counts = np.unique(strata, return_inverse=True, return_counts=True)
    return 1.0 / (len(names) * counts[inverse])


def estimates(values: Floats, strata: Ints, *, resamples: int = RESAMPLES, seed: int = 0) -> list[Estimate]:
    """Estimate the mean of each column of `values`, shape `(queries, columns)`: percentile bootstrap over queries."""
    means = weights(strata) @ values
    lows, highs = _interval(resampled_means(values, strata, resamples=resamples, seed=seed))
    return [Estimate(float(mean), float(low), float(high)) for mean, low, high in zip(means, lows, highs, strict=True)]


def differences(gaps: Floats, strata: Ints, *, resamples: int = RESAMPLES, seed: int = 0) -> list[Difference]:
    """Judge paired differences, shape `(queries, comparisons)`; Holm's correction is over the comparisons."""
    spread = estimates(gaps, strata, resamples=resamples, seed=seed)
    p_values = permutation_p(gaps, strata, resamples=resamples, seed=seed)
    wins, losses = np.count_nonzero(gaps > _SAME, axis=0), np.count_nonzero(gaps < -_SAME, axis=0)
    return [
        Difference(
            one.mean, one.low, one.high, float(p_values[i]), float(p_holm), int(wins[i]),
            len(gaps) - int(wins[i]) - int(losses[i]), int(losses[i]),
        )
        for i, (one, p_holm) in enumerate(zip(spread, holm(p_values), strict=True))
    ]  # fmt: skip


def resampled_means(values: Floats, strata: Ints, *, resamples: int, seed: int) -> Floats:
    """Return the means of bootstrap samples, shape `(resamples, columns)`; all columns share each draw of queries."""
    random = np.random.default_rng(seed)
    names = np.unique(strata)
    total = np.zeros((resamples, values.shape[1]))
    for name in names:
        part = values[strata == name]
        n = len(part)
        step = max(1, _CELLS // n)
        for start in range(0, resamples, step):
            size = min(step, resamples - start)
            drawn = random.integers(n, size=(size, n)) + np.arange(size)[:, None] * n
            counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
            total[start : start + size] += counts @ part / n
    return total / len(names)


def permutation_p(gaps: Floats, strata: Ints, *, resamples: int, seed: int) -> Floats:
    """Return two-sided p-values of the paired randomisation test (Smucker et al. 2007), shape `(comparisons,)`.

    Under the null hypothesis a query's two values may be swapped: signs of the differences are drawn at random. The
    observed one counts among the draws, so that no p-value is 0.
    """
    random = np.random.default_rng(seed)
    weighted = gaps * weights(strata)[:, None]
    observed = np.abs(weighted.sum(axis=0)) - _SAME
    reached = np.zeros(gaps.shape[1], np.int64)
    step = max(1, _CELLS // len(gaps))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        signs = random.integers(0, 2, size=(size, len(gaps)), dtype=np.int8) * 2.0 - 1.0
        reached += np.count_nonzero(np.abs(signs @ weighted) >= observed, axis=0)
    return (1 + reached) / (1 + resamples)


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Correct p-values for their number (Holm 1979)."""
    given = np.asarray(p_values, np.float64)
    order = np.argsort(given, kind="stable")
    stepped = given[order] * np.arange(len(given), 0, -1)
    corrected = np.empty_like(given)
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected


def _interval(means: Floats) -> tuple[Floats, Floats]:
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    return low, high
