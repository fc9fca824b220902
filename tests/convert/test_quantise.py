import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rerankd.convert import quantise

matrices = arrays(np.float32, (5, 3), elements=st.floats(-1000, 1000, width=32))


def naive(weights: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> quantise.Quantised:
    """Every weight to the nearest of 64 steps, the largest of its column being the last."""
    scales = np.abs(weights).max(axis=0) / np.float32(quantise.SAFE_LIMIT)
    scales = np.where(scales == 0, np.float32(1), scales).astype(np.float32)
    return quantise.Quantised(np.rint(weights / scales).astype(np.int8), scales)


def evenly(weights: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.ones(len(weights), np.float32)


@given(matrices)
def test_a_matrix_is_restored_to_half_a_step_per_column_and_clipped_only_where_that_is_better(
    weights: np.ndarray[tuple[int, int], np.dtype[np.float32]],
) -> None:
    found = quantise.matrix(weights, quantise.SAFE_LIMIT, evenly(weights))
    values, scales = found
    assert scales.shape == (3,)
    assert np.abs(values).max() <= quantise.SAFE_LIMIT
    kept = np.clip(weights, -quantise.SAFE_LIMIT * scales, quantise.SAFE_LIMIT * scales)
    assert (np.abs(values * scales - kept) <= scales * 0.5001 + 1e-30).all()
    errors = [
        np.square(one.values * one.scales - weights, dtype=np.float64).sum(axis=0) for one in (found, naive(weights))
    ]
    assert (errors[0] <= errors[1] * 1.001 + 1e-30).all()


@given(matrices)
def test_a_table_is_restored_to_half_a_step_per_row(weights: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    values, scales = quantise.table(weights)
    assert scales.shape == (5, 1)
    assert (np.abs(values * scales - weights) <= scales * 0.5001 + 1e-30).all()


def test_a_column_of_zeros_stays_zero() -> None:
    values, scales = quantise.matrix(np.zeros((4, 2), np.float32), quantise.SAFE_LIMIT, np.ones(4, np.float32))
    assert not values.any()
    assert (scales == 1).all()


def test_clipping_lowers_the_error_of_the_outputs_that_matter() -> None:
    random = np.random.default_rng(0)
    weights = random.normal(0, 1, (256, 8)).astype(np.float32)
    weights[0] = 12
    importance = np.ones(256, np.float32)
    importance[0] = 1e-6

    def error(quantised: quantise.Quantised) -> float:
        gaps = quantised.values * quantised.scales - weights
        return float((importance @ np.square(gaps)).sum())

    clipped = quantise.matrix(weights, quantise.SAFE_LIMIT, importance)
    assert np.abs(clipped.values).max() == quantise.SAFE_LIMIT
    assert error(clipped) < 0.7 * error(naive(weights))


def _all_on_the_first(
    weights: np.ndarray[tuple[int, int], np.dtype[np.float32]],
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Importance with which the largest weight, the first, is not clipped."""
    importance = np.zeros(len(weights), np.float32)
    importance[0] = 1
    return importance


def test_dither_is_right_on_average_where_the_nearest_value_is_always_below() -> None:
    scale, steps = 2.0, 10.3
    weights = np.full((4000, 1), steps * scale, np.float32)
    weights[0] = quantise.SAFE_LIMIT * scale
    rounded, dithered = (
        quantise.matrix(weights, quantise.SAFE_LIMIT, _all_on_the_first(weights), dither).values[1:]
        for dither in (None, np.random.default_rng(0))
    )
    assert (rounded == 10).all()
    assert float(dithered.mean()) == pytest.approx(steps, abs=0.03)
