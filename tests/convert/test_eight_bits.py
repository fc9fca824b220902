"""The int8 graph against the formulas that it was fitted with."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

import tiny
from rerankd.convert import calibration, fitting
from rerankd.convert.convert import WATCHED_FILE, convert
from rerankd.convert.eight_bits import EightBits
from rerankd.convert.formats import FullPrecision
from rerankd.convert.graph import ElementType, GraphBuilder
from rerankd.engines.base import Encoding
from rerankd.engines.onnx import ENGINE

Floats = NDArray[np.float32]


def _product(folder: Path, numbers: EightBits, weights: Floats, states: Floats) -> Floats:
    """Run a graph of one layer."""
    with (folder / "data").open("wb") as data:
        build = GraphBuilder(data, "data")
        build.input("states", ElementType.FLOAT, ("batch", "tokens", weights.shape[0]))
        build.node("Identity", [numbers.multiply(build, "states", weights, "layer")], output="out")
        build.output("out", ElementType.FLOAT, ("batch", "tokens", weights.shape[1]))
    build.write(folder / "one.onnx")
    onnx.checker.check_model(str(folder / "one.onnx"))
    session = ort.InferenceSession(str(folder / "one.onnx"), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["out"], {"states": states})[0])


def _layer() -> tuple[Floats, Floats]:
    random = np.random.default_rng(0)
    states = random.normal(0, 1, (2, 7, 32)).astype(np.float32)
    states[0, 0] *= 50
    return states, random.normal(0, 0.2, (32, 24)).astype(np.float32)


@pytest.mark.parametrize("one_sided", [False, True])
def test_the_operators_compute_what_was_fitted_for_each_token_of_each_sequence(tmp_path: Path, one_sided: bool) -> None:
    states, weights = _layer()
    if one_sided:
        states = np.maximum(states, -0.1)
    rows = states.reshape(-1, 32)
    numbers = EightBits({"layer": rows}, 64)
    found = _product(tmp_path, numbers, weights, states)
    fitted = numbers.fits["layer"]
    values, scales = fitted.weights
    restored = fitting.restore(rows / fitted.smoothing, fitted.zero_point)
    expected = ((restored @ values.astype(np.float32)) * scales).reshape(2, 7, 24)
    # A state half-way between two steps may fall either way: operators and numpy divide in another order.
    assert np.abs(found - expected).max() < 0.01 * np.abs(expected).max()
    assert np.median(np.abs(found - expected)) < 1e-5 * np.abs(expected).max()


def test_a_sequence_of_zeros_gives_zeros(tmp_path: Path) -> None:
    states, weights = _layer()
    assert not _product(tmp_path, EightBits({"layer": states.reshape(-1, 32)}, 64), weights, states * 0).any()


@pytest.mark.parametrize("how", ["left out", "never seen"])
def test_a_layer_that_is_left_out_or_was_never_seen_stays_exact(tmp_path: Path, how: str) -> None:
    states, weights = _layer()
    samples = {"layer": states.reshape(-1, 32)} if how == "left out" else {}
    numbers = EightBits(samples, 64, frozenset({"layer"}))
    np.testing.assert_allclose(_product(tmp_path, numbers, weights, states), states @ weights, rtol=1e-4, atol=1e-4)
    assert not numbers.fits


def test_a_classifier_in_int8_stays_close_to_fp32(tmp_path: Path) -> None:
    source = tiny.snapshot(tiny.tiny_bert(tmp_path / "model", std=0.1))
    folders = [tmp_path / name for name in ("full", "small")]
    for folder in folders:
        folder.mkdir()
    watched = FullPrecision(watched=True)
    full = convert(source, folders[0], watched)
    encodings = [Encoding(np.arange(2, stop), np.zeros(stop - 2, np.int64)) for stop in range(10, 60, 5)]
    seen = calibration.observe(folders[0] / WATCHED_FILE, watched.inputs, encodings, 1)
    small = convert(source, folders[1], EightBits(seen, 64))
    scores = [np.concatenate(ENGINE.open(graph).run(encodings)) for graph in (full, small)]
    assert small.precision == "int8"
    assert 0 < np.abs(scores[0] - scores[1]).std() < 0.1 * scores[0].std()


def test_states_are_seen_where_products_take_them_and_one_row_a_text_is_not_enough(tmp_path: Path) -> None:
    watched = FullPrecision(watched=True)
    convert(tiny.snapshot(tiny.tiny_bert(tmp_path)), tmp_path, watched)
    encodings = [Encoding(np.arange(2, stop), np.zeros(stop - 2, np.int64)) for stop in (7, 42)]
    seen = calibration.observe(tmp_path / WATCHED_FILE, watched.inputs, encodings, 1)
    assert {states.shape[0] for states in seen.values()} == {5 + calibration.ROWS}
    assert seen["encoder.layer.0.output"].shape[1] == 64
    assert seen["encoder.layer.0.output"].min() > -0.2, "what GELU leaves"
    last = {stem for stem in watched.inputs if ".1." in stem}
    assert last & set(seen) == {"encoder.layer.1.attention.memory"}, "the last layer asks for the first token only"
