import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from rerankd.convert import fitting
from rerankd.convert.quantise import FULL_LIMIT, SAFE_LIMIT

Floats = NDArray[np.float32]

rows = arrays(np.float32, (4, 6), elements=st.floats(-1000, 1000, width=32))


def _states(seed: int = 0, count: int = 64, width: int = 48) -> Floats:
    """Like a LayerNorm's output: most channels alike, a few with far more range."""
    random = np.random.default_rng(seed)
    states = random.normal(0, 1, (count, width)).astype(np.float32)
    states[:, ::13] *= 20
    return states


def _weights(seed: int = 1) -> Floats:
    return np.random.default_rng(seed).normal(0, 0.1, (48, 32)).astype(np.float32)


def test_smoothing_changes_nothing_in_exact_arithmetic() -> None:
    states, weights = _states(), _weights()
    factors = fitting.smoothing(states, weights)
    assert factors.max() / factors.min() > 3
    smooth = (states / factors) @ (weights * factors[:, np.newaxis])
    assert np.abs(smooth - states @ weights).max() < 1e-5 * np.abs(states @ weights).max()


def test_channels_that_are_never_used_are_left_alone() -> None:
    states, weights = _states(), _weights()
    states[:, 3] = 0
    weights[5] = 0
    factors = fitting.smoothing(states, weights)
    assert factors[3] == factors[5] == 1
    assert (fitting.smoothing(np.zeros_like(states), weights) == 1).all()


@given(rows, st.sampled_from(fitting.ZERO_POINTS))
def test_every_row_is_restored_to_half_a_step_of_its_own(states: Floats, zero_point: int) -> None:
    step = fitting.steps(states, zero_point)
    assert (np.abs(fitting.restore(states, zero_point) - states) <= step * 0.502).all()


def test_a_row_of_extremes_does_not_make_the_others_coarse() -> None:
    states = _states()
    calm = fitting.restore(states, 128)[1:]
    states[0] *= 1000
    assert np.array_equal(fitting.restore(states, 128)[1:], calm)


def test_states_on_one_side_of_zero_get_most_of_the_bytes() -> None:
    states = np.maximum(_states(), -0.17)
    assert fitting.fit(states, _weights(), limit=FULL_LIMIT).zero_point < 128
    assert fitting.fit(_states(), _weights(), limit=FULL_LIMIT).zero_point == 128


@pytest.mark.parametrize("limit", [FULL_LIMIT, SAFE_LIMIT])
def test_the_error_told_is_that_of_the_product(limit: int) -> None:
    states, weights = _states(), _weights()
    fitted = fitting.fit(states, weights, limit=limit)
    values, scales = fitted.weights
    product = (fitting.restore(states / fitted.smoothing, fitted.zero_point) @ values.astype(np.float32)) * scales
    truth = states @ weights
    assert fitted.error == pytest.approx(np.sqrt(np.square(product - truth).mean() / np.square(truth).mean()), rel=1e-4)
    assert np.abs(values).max() <= limit
    assert 0 < fitted.error < 0.02


def test_smoothing_lowers_the_error_where_channels_differ_in_range(monkeypatch: pytest.MonkeyPatch) -> None:
    states, weights = _states(), _weights()
    smooth = fitting.fit(states, weights, limit=FULL_LIMIT).error

    def none(states: Floats, _: Floats) -> Floats:
        return np.ones(states.shape[1], np.float32)

    monkeypatch.setattr(fitting, "smoothing", none)
    assert smooth < 0.9 * fitting.fit(states, weights, limit=FULL_LIMIT).error
