"""Fit the two numbers that make a score a probability of relevance: p = sigmoid(slope * score + bias)."""

from typing import NamedTuple

import numpy as np
from measures import Floats, sigmoid
from numpy.typing import NDArray

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


def fit(scores: Floats, relevant: NDArray[np.bool_], weights: Floats) -> Calibration:
    """Minimise the weighted log loss by Newton's method; two unknowns, so no library is needed.

    Raises:
        ArithmeticError: no convergence: the scores separate the pairs perfectly, or do not tell them apart at all.
    """
    design = np.stack([scores, np.ones_like(scores)], axis=1)
    unknowns = np.zeros(2)
    for _ in range(_STEPS):
        probabilities = sigmoid(design @ unknowns)
        gradient = design.T @ (weights * (probabilities - relevant))
        curvature = (design * (weights * probabilities * (1 - probabilities))[:, None]).T @ design
        step = np.linalg.solve(curvature, gradient)
        unknowns -= step
        if float(np.abs(step).max()) < _TOLERANCE:
            return Calibration(float(unknowns[0]), float(unknowns[1]))
    raise ArithmeticError("the calibration did not converge: take more pairs")
