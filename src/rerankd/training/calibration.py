"""Fit the two numbers that make a score a probability of relevance: p = sigmoid(slope * score + bias)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_STEPS = 100
_TOLERANCE = 1e-12


class Calibration(NamedTuple):
    """Platt scaling; the temperature is 1 / slope."""

    slope: float
    bias: float

    def logits(self, scores: Floats) -> Floats:
        """Return calibrated logits."""
        return self.slope * scores + self.bias

    def scores(self, logits: Floats) -> Floats:
        """Return the scores before calibration."""
        return (logits - self.bias) / self.slope


def fit(scores: Floats, targets: Floats | NDArray[np.bool_], weights: Floats) -> Calibration:
    """Minimise the weighted log loss by Newton's method; two unknowns, so no library is needed.

    `targets` are labels, or probabilities between 0 and 1.

    Raises:
        ArithmeticError: no convergence: the scores separate the pairs perfectly, or do not tell them apart at all.
    """
    design = np.stack([scores, np.ones_like(scores)], axis=1)
    unknowns = np.zeros(2)
    for _ in range(_STEPS):
        probabilities = sigmoid(design @ unknowns)
        gradient = design.T @ (weights * (probabilities - targets))
        curvature = (design * (weights * probabilities * (1 - probabilities))[:, None]).T @ design
        step = np.linalg.solve(curvature, gradient)
        unknowns -= step
        if float(np.abs(step).max()) < _TOLERANCE:
            return Calibration(float(unknowns[0]), float(unknowns[1]))
    raise ArithmeticError("the calibration did not converge: take more pairs")


def softened(relevant: NDArray[np.bool_]) -> Floats:
    """Return Platt's targets (1999): no pair is certain, so that a fit exists where scores separate pairs perfectly."""
    good, bad = int(relevant.sum()), int((~relevant).sum())
    return np.where(relevant, (good + 1) / (good + 2), 1 / (bad + 2))


def sigmoid(logits: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + small), small / (1 + small))
