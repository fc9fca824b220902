"""The peak is measured with graphs that compute what they say."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from rerankd.bench.peak import MatrixPeak, PeakPrecision, write_product

SIZE = (8, 64, 32)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_graph_is_one_product_of_the_sizes_asked_for(tmp_path: Path, precision: PeakPrecision) -> None:
    write_product(tmp_path / "product.onnx", precision, SIZE)
    session = ort.InferenceSession(str(tmp_path / "product.onnx"), providers=["CPUExecutionProvider"])
    dtype = np.float32 if precision == "fp32" else np.uint8

    def product(rows: NDArray[np.generic]) -> NDArray[np.float64]:
        return np.asarray(session.run(None, {"rows": rows.astype(dtype)})[0], np.float64)

    # Every row of the matrix by itself, eight at a time; then all of them added up.
    matrix = np.concatenate([product(np.eye(8, 64, 8 * block)) for block in range(8)])
    assert matrix.shape == (64, 32)
    assert matrix.std() > 0.9
    assert np.allclose(product(np.ones((8, 64))), matrix.sum(axis=0), atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_sample_is_a_rate_that_grows_with_nothing_but_the_machine(precision: PeakPrecision) -> None:
    with MatrixPeak(1, precision, [SIZE, (16, 64, 64)]) as peak:
        rates = [peak.sample(0.01) for _ in range(3)]
    assert all(1e6 < rate < 1e14 for rate in rates)
