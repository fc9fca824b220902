import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rerankd.convert import quantise

matrices = arrays(np.float32, (5, 3), elements=st.floats(-1000, 1000, width=32))


@given(matrices)
def test_a_matrix_is_restored_to_half_a_step_per_column(
    weights: np.ndarray[tuple[int, int], np.dtype[np.float32]],
) -> None:
    values, scales = quantise.matrix(weights)
    assert scales.shape == (3,)
    assert np.abs(values).max() <= quantise.MATRIX_LIMIT
    assert (np.abs(values * scales - weights) <= scales * 0.5001 + 1e-30).all()


@given(matrices)
def test_a_table_is_restored_to_half_a_step_per_row(weights: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    values, scales = quantise.table(weights)
    assert scales.shape == (5, 1)
    assert (np.abs(values * scales - weights) <= scales * 0.5001 + 1e-30).all()


def test_a_column_of_zeros_stays_zero() -> None:
    values, scales = quantise.matrix(np.zeros((4, 2), np.float32))
    assert not values.any()
    assert (scales == 1).all()
