"""Weights to eight bits: matrices per output channel in seven bits, embedding tables per row in eight.

Seven bits because on CPUs without VNNI the product of unsigned and signed bytes is summed in pairs of 16 bits, which
255 * 127 * 2 overflows and 255 * 64 * 2 does not (onnxruntime calls this `reduce_range`):
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MATRIX_LIMIT = 64
TABLE_LIMIT = 127

Floats = NDArray[np.float32]
Bytes = NDArray[np.int8]


class Quantised(NamedTuple):
    """`values * scales` is the original, up to half a scale. Zero points are all zero."""

    values: Bytes
    scales: Floats


def matrix(weights: Floats) -> Quantised:
    """Quantise a matrix of shape `(inputs, outputs)`; scales have the shape `(outputs,)`."""
    return _symmetric(weights, axis=0, limit=MATRIX_LIMIT)


def table(rows: Floats) -> Quantised:
    """Quantise rows of an embedding table `(rows, width)`; scales have the shape `(rows, 1)`."""
    values, scales = _symmetric(rows, axis=1, limit=TABLE_LIMIT)
    return Quantised(values, scales[:, np.newaxis])


def _symmetric(weights: Floats, *, axis: int, limit: int) -> Quantised:
    scales = np.abs(weights).max(axis=axis) / np.float32(limit)
    scales = np.where(scales == 0, np.float32(1), scales).astype(np.float32)
    values = np.rint(weights / np.expand_dims(scales, axis)).astype(np.int8)
    return Quantised(values, scales)
