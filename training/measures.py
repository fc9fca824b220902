"""The measures that the card quotes: MRR@10, expected calibration error, log loss; and paired differences."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def reciprocal_rank(scores: Sequence[float] | Floats, relevant: Sequence[bool], *, depth: int = 10) -> float:
    """Return 1 / the place of the first relevant document, 0 beyond `depth`; ties keep the order of the list."""
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    places = np.flatnonzero(np.asarray(relevant)[order])
    return 1.0 / (int(places[0]) + 1) if len(places) and places[0] < depth else 0.0


class Difference(NamedTuple):
    """A mean of paired differences and its standard error."""

    mean: float
    standard_error: float


def paired(after: Sequence[float], before: Sequence[float]) -> Difference:
    """Compare two runs over the same queries."""
    gaps = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    return Difference(float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(len(gaps))))


def weights_for_prior(relevant: NDArray[np.bool_], prior: float) -> Floats:
    """Weigh pairs so that the relevant ones make up `prior` of the whole; the weights sum to 1."""
    weights = np.where(relevant, prior / max(1, relevant.sum()), (1 - prior) / max(1, (~relevant).sum()))
    return weights / weights.sum()


def calibration_error(probabilities: Floats, relevant: NDArray[np.bool_], weights: Floats, *, bins: int = 10) -> float:
    """Expected calibration error (Guo et al. 2017): mean gap of promise and truth over equally wide bins."""
    places = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    promised = np.bincount(places, weights * probabilities, bins)
    kept = np.bincount(places, weights * relevant, bins)
    return float(np.abs(promised - kept).sum() / weights.sum())


def log_loss(logits: Floats, relevant: NDArray[np.bool_], weights: Floats) -> float:
    """Mean negative log likelihood, in nats."""
    return float((weights * np.logaddexp(0.0, np.where(relevant, -logits, logits))).sum() / weights.sum())


def sigmoid(logits: Floats) -> Floats:
    """Logits to probabilities."""
    return np.exp(-np.logaddexp(0.0, -logits))
