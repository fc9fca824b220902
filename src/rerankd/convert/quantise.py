"""Weights to eight bits: matrices per output channel in seven or eight bits, embedding tables per row in eight.

Seven bits where the CPU has no VNNI: there the product of unsigned and signed bytes is summed in pairs of 16 bits,
which 255 * 127 * 2 overflows and 255 * 64 * 2 does not (onnxruntime calls this `reduce_range`):
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SAFE_LIMIT = 64
FULL_LIMIT = 127
TABLE_LIMIT = 127

_CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)

Floats = NDArray[np.float32]
Bytes = NDArray[np.int8]


class Quantised(NamedTuple):
    """`values * scales` is the original, up to half a scale where nothing was clipped. Zero points are all zero."""

    values: Bytes
    scales: Floats


def matrix(
    weights: Floats,
    limit: int,
    importance: Floats,
    dither: np.random.Generator | None = None,
) -> Quantised:
    """Quantise a matrix of shape `(inputs, outputs)`; scales have the shape `(outputs,)`.

    `importance` is each input's mean square, shape `(inputs,)`: a column's largest weights are clipped as far as that
    lowers the error of its output. With `dither`, weights are rounded up as often as the remainder says.
    """
    scales = _scales(weights, axis=0, limit=limit)
    best, error = scales, np.full(scales.shape, np.inf, np.float32)
    for clip in _CLIPS:
        tried = scales * np.float32(clip)
        values = np.rint(weights / tried)
        np.clip(values, -limit, limit, out=values)
        values *= tried
        values -= weights
        np.square(values, out=values)
        found = importance @ values
        best, error = np.where(found < error, tried, best), np.minimum(found, error)
    return _round(weights, best, limit, dither)


def table(rows: Floats) -> Quantised:
    """Quantise rows of an embedding table `(rows, width)`; scales have the shape `(rows, 1)`."""
    scales = _scales(rows, axis=1, limit=TABLE_LIMIT)[:, np.newaxis]
    return _round(rows, scales, TABLE_LIMIT)


def _scales(weights: Floats, *, axis: int, limit: int) -> Floats:
    scales = np.abs(weights).max(axis=axis) / np.float32(limit)
    return np.where(scales == 0, np.float32(1), scales).astype(np.float32)


def _round(weights: Floats, scales: Floats, limit: int, dither: np.random.Generator | None = None) -> Quantised:
    steps = weights / scales
    whole = np.rint(steps) if dither is None else np.floor(steps + dither.random(steps.shape, np.float32))
    return Quantised(np.clip(whole, -limit, limit).astype(np.int8), scales)
