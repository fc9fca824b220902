"""int8 fitted to texts: states quantised per token, weights per output channel; see `fitting`.

`DynamicQuantizeMatMul` takes one step for all tokens of a sequence, which a single extreme token makes coarse for all.
Here each token has its own, and the bytes meet in the same kernels. One core with AVX512-VNNI, layers of 384 to 3,072
channels, 32 to 512 tokens: 178 to 370 GFLOP/s, `DynamicQuantizeMatMul` 224 to 401, fp32 82 to 111; `MatMulNBits` with
8-bit weights and states in blocks of 32 has half the error and 96 to 144, which is no gain worth having.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from rerankd.convert import fitting
from rerankd.convert.formats import FullPrecision, Precision
from rerankd.convert.graph import MICROSOFT, GraphBuilder
from rerankd.convert.weights import Floats


@dataclass(frozen=True, slots=True)
class EightBits:
    """See `formats.Format`.

    `samples` are states that each layer met, `(rows, inputs)`, by its stem; layers without, and those in `full`, stay
    in fp32. `limit` is the largest weight in steps. `fits` keeps what was found, for the next graph with another
    `full`. `dither` rounds weights at random, right on average: where they start on a grid of eight bits, as those of
    a served model do, most of what training adds is less than half a step, and the nearest value would be the old one.
    """

    samples: Mapping[str, Floats]
    limit: int
    full: frozenset[str] = frozenset()
    dither: bool = False
    fits: dict[str, fitting.Fitted] = field(default_factory=dict[str, fitting.Fitted])

    @property
    def precision(self) -> Precision:
        """Named int8."""
        return "int8"

    @property
    def small_tables(self) -> bool:
        """Tables are in eight bits too: that alone costs 0.3 % of the spread of scores."""
        return True

    def multiply(self, build: GraphBuilder, states: str, weights: Floats, stem: str) -> str:
        """See `formats.Format`."""
        samples = self.samples.get(stem)
        if samples is None or stem in self.full:
            return FullPrecision().multiply(build, states, weights, stem)
        if stem not in self.fits:
            dither = np.random.default_rng(zlib.crc32(stem.encode())) if self.dither else None
            self.fits[stem] = fitting.fit(samples, weights, limit=self.limit, dither=dither)
        return _multiply(build, states, self.fits[stem], stem)


def _multiply(build: GraphBuilder, states: str, fitted: fitting.Fitted, stem: str) -> str:
    values, scales = fitted.weights
    inverse = (1 / fitted.smoothing).astype(np.float32)
    states = build.node("Mul", [states, build.weight(f"{stem}.smoothing", inverse.shape, [inverse])])
    # QuantizeLinear takes one step a row along one axis, so rows of all sequences of a batch become one axis.
    flat = build.node("Reshape", [states, build.constant(np.array([-1, values.shape[0]], np.int64))])
    step = _steps(build, flat, fitted.zero_point)
    rows = build.node("Reshape", [step, build.constant(np.array([-1], np.int64))])
    zero = build.constant(np.array(fitted.zero_point, np.uint8))
    zeros = build.node("Expand", [zero, build.node("Shape", [rows])])
    inputs = [
        build.node("QuantizeLinear", [flat, rows, zeros], {"axis": 0}),
        build.weight(f"{stem}.weight_int8", values.shape, [values]),
        build.constant(np.array(1, np.float32)),
        build.weight(f"{stem}.scales", scales.shape, [scales]),
        zero,
    ]
    product = build.node("Mul", [build.node("MatMulIntegerToFloat", inputs, domain=MICROSOFT), step])
    outputs = build.constant(np.array([values.shape[1]], np.int64))
    shape = build.node("Concat", [build.node("Shape", [states], {"end": -1}), outputs], {"axis": 0})
    return build.node("Reshape", [product, shape])


def _steps(build: GraphBuilder, states: str, zero_point: int) -> str:
    """As `fitting.steps`."""
    above = build.node("ReduceMax", [states], {"axes": [-1]})
    below = build.node("ReduceMin", [states], {"axes": [-1]})
    parts = [
        build.node("Mul", [above, build.constant(np.array(1 / (fitting.LEVELS - zero_point), np.float32))]),
        build.node("Mul", [below, build.constant(np.array(-1 / zero_point, np.float32))]),
        build.constant(np.array(fitting.TINY, np.float32)),
    ]
    return build.node("Max", parts)
