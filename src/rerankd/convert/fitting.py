"""Eight bits for one linear layer, fitted to states it really meets.

A product is `(states / smoothing, in 8 bits per row) @ (smoothing * weights, in 8 bits per column)`. Smoothing moves
range from states to weights, channel by channel, and changes nothing in exact arithmetic: Xiao et al. 2023,
SmoothQuant, https://arxiv.org/abs/2211.10438. Theirs is folded into the LayerNorm before; here what a LayerNorm gives
also goes around the layer, unsmoothed, so that smoothing is a multiplication of its own, which costs 1 to 2 % of the
layer's time and works after GELU too.
"""

from dataclasses import dataclass

import numpy as np

from rerankd.convert.quantise import Quantised, matrix
from rerankd.convert.weights import Floats

LEVELS = 255
STRENGTH = 0.5
"""SmoothQuant's alpha. Choosing the best of 0.25, 0.5 and 0.75 for each layer was no better (2.0 % error of scores with
0.5, 2.6 % with the choice, all-MiniLM-L6-v2) and took three times as long."""
ZERO_POINTS = (128, 96, 64, 32, 16)
"""128 suits states on both sides of zero, a small one what GELU leaves: nothing below -0.17."""
TINY = 1e-12
"""The smallest step, where a row is all zeros."""

_FARTHEST = 4.0
"""Logarithm of the largest factor: a channel that the texts hardly used may be alive elsewhere."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """One layer in eight bits.

    `smoothing`, shape `(inputs,)`, divides states before they are quantised. `zero_point` is the byte that means 0.
    `error` is the root of the mean square error of the outputs over that of the outputs, both on the states given.
    """

    smoothing: Floats
    zero_point: int
    weights: Quantised
    error: float


def fit(states: Floats, weights: Floats, *, limit: int, dither: np.random.Generator | None = None) -> Fitted:
    """Find smoothing, zero point and scales for `states` `(rows, inputs)` and `weights` `(inputs, outputs)`.

    `limit` is the largest weight in steps, `dither` rounds at random: see `quantise`.
    """
    factors = smoothing(states, weights)
    smooth = states / factors
    zero_point = _zero_point(smooth)
    restored = restore(smooth, zero_point)
    quantised = matrix(weights * factors[:, np.newaxis], limit, np.square(restored).mean(axis=0), dither)
    truth = states @ weights
    found = (restored @ quantised.values.astype(np.float32)) * quantised.scales
    power = float(np.square(truth, dtype=np.float64).mean()) or 1.0
    error = float(np.sqrt(np.square(found - truth, dtype=np.float64).mean() / power))
    return Fitted(factors, zero_point, quantised, error)


def smoothing(states: Floats, weights: Floats) -> Floats:
    """Factors per input channel, shape `(inputs,)`: `max |x|^a / max |w|^(1 - a)`, of geometric mean 1."""
    ranges: Floats = np.abs(states).max(axis=0)
    columns: Floats = np.abs(weights).max(axis=1)
    factors = np.ones(ranges.shape, np.float32)
    used = (ranges > TINY) & (columns > TINY)
    if used.any():
        logs = STRENGTH * np.log(ranges[used]) - (1 - STRENGTH) * np.log(columns[used])
        factors[used] = np.exp(np.clip(logs - logs.mean(), -_FARTHEST, _FARTHEST))
    return factors


def steps(states: Floats, zero_point: int) -> Floats:
    """Step of each row, shape `(rows, 1)`: the smallest with which 0 … 255 holds the row's largest and smallest."""
    above = states.max(axis=1, keepdims=True) / np.float32(LEVELS - zero_point)
    below = states.min(axis=1, keepdims=True) / np.float32(-zero_point)
    return np.maximum(np.maximum(above, below), np.float32(TINY))


def restore(states: Floats, zero_point: int) -> Floats:
    """What eight bits leave of states."""
    step = steps(states, zero_point)
    return (np.clip(np.rint(states / step), -zero_point, LEVELS - zero_point) * step).astype(np.float32)


def _zero_point(states: Floats) -> int:
    return min(ZERO_POINTS, key=lambda zero_point: float(np.square(steps(states, zero_point)).mean()))
