"""Figures from samples: percentiles of all of them, rank correlation, ratios with their spread."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from sending a request to having read its answer, over all requests that were answered."""

    mean_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    max_s: float


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of repeated measurements, and how far they reached."""

    median: float
    least: float
    most: float


def latency(seconds: Sequence[float]) -> Latency | None:
    """Summarise; percentiles are interpolated between neighbours (Hyndman and Fan's 7, numpy's default).

    None without samples.
    """
    if not seconds:
        return None
    values = np.asarray(seconds, np.float64)
    p50, p95, p99 = (float(value) for value in np.quantile(values, [0.5, 0.95, 0.99]))
    return Latency(float(values.mean()), p50, p95, p99, float(values.max()))


def spread(values: Sequence[float]) -> Spread | None:
    """Summarise repeats; None without any."""
    return Spread(float(np.median(values)), min(values), max(values)) if values else None


def spearman(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Correlate the orders of two lists of scores, ties sharing their mean rank; None where one list has no order."""
    a, b = _ranks(left), _ranks(right)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else None


def _ranks(scores: Sequence[float]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(np.asarray(scores, np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]
