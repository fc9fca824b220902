"""The parts of self-attention that architectures share: heads, the first token alone, where a token stands.

Every sequence in a run has the same length and no padding, so nothing is masked for padding's sake.
"""

import math
from collections.abc import Sequence

import numpy as np

from rerankd.convert.graph import MICROSOFT, GraphBuilder
from rerankd.convert.weights import Floats


def attend(
    build: GraphBuilder,
    states: tuple[str, str, str],
    heads: int,
    *,
    biases: str = "",
    score_bias: str = "",
    scale: float | None = None,
) -> str:
    """Multi-head attention over query, key and value, each `(batch, tokens, width)`.

    `biases` are those of query, key and value end to end; `score_bias`, shape `(1 or batch, 1 or heads, queries,
    keys)`, is added to the scaled products; `scale` is 1 / sqrt(width of a head) unless given.
    """
    inputs = [*states, biases, "", score_bias]
    while not inputs[-1]:
        inputs.pop()
    scaling = {} if scale is None else {"scale": scale}
    return build.node("MultiHeadAttention", inputs, {"num_heads": heads, **scaling}, domain=MICROSOFT)


def split(build: GraphBuilder, joined: str, at: str, parts: Sequence[str]) -> tuple[str, ...]:
    """Take a product of layers side by side, all of one width, apart again; the pieces are named below `at`."""
    return tuple(build.nodes("Split", [joined], {"axis": -1}, outputs=[f"{at}.{part}" for part in parts]))


def integers(build: GraphBuilder, *values: int) -> str:
    """A constant list of whole numbers."""
    return build.constant(np.array(values, np.int64))


def first_token(build: GraphBuilder, states: str) -> str:
    """The first token's states, shape `(batch, 1, width)`."""
    zero, one = (integers(build, value) for value in (0, 1))
    return build.node("Slice", [states, zero, one, one])


def count_tokens(build: GraphBuilder, ids: str) -> str:
    """How many tokens the sequences have, shape `(1,)`."""
    return build.node("Shape", [ids], {"start": 1, "end": 2})


def places(build: GraphBuilder, tokens: str) -> str:
    """0 … tokens - 1, shape `(tokens,)`."""
    zero, one = (build.constant(np.array(value, np.int64)) for value in (0, 1))
    return build.node("Range", [zero, build.node("Squeeze", [tokens]), one])


def rotation(base: float, head_width: int, positions: int, divide: float = 1.0) -> tuple[Floats, Floats]:
    """Cosines and sines of rotary positions, each of shape `(positions, head_width / 2)`.

    A position turns pair i of a head by position / base ** (2 i / head_width) / divide:
    https://arxiv.org/abs/2104.09864. The products are rounded to float32 as the reference's are.
    """
    exponents = np.arange(0, head_width, 2, dtype=np.float64) / head_width
    frequencies = (1 / base**exponents / divide).astype(np.float32)
    angles = np.arange(positions, dtype=np.float32)[:, np.newaxis] * frequencies
    return np.cos(angles), np.sin(angles)


def rotate(build: GraphBuilder, states: str, tables: tuple[str, str]) -> str:
    """Turn the heads of `(batch, tokens, width)` by their positions; `tables` are cosines and sines."""
    start = integers(build, 0)
    return build.node("RotaryEmbedding", [states, start, *tables], domain=MICROSOFT)


def slopes(heads: int) -> Floats:
    """How fast each head's attention falls with distance, shape `(heads,)`: ALiBi, https://arxiv.org/abs/2108.12409.

    Powers of 2 ** (-8 / heads); between two powers of two of heads, those of the smaller, then every other of the
    larger, as in https://github.com/ofirpress/attention_with_linear_biases.
    """
    whole = 2 ** math.floor(math.log2(heads))
    found = [2 ** (-8 * (head + 1) / whole) for head in range(whole)]
    found += [2 ** (-8 * (2 * head + 1) / (2 * whole)) for head in range(heads - whole)]
    return np.array(found, np.float32)


def fall_with_distance(build: GraphBuilder, tokens: str, heads: int, *, first_only: bool) -> str:
    """ALiBi without direction, shape `(1, heads, tokens, tokens)`, or `(1, heads, 1, tokens)` for the first token."""
    here = build.node("Cast", [places(build, tokens)], {"to": 1})
    steps = build.constant(-slopes(heads).reshape(1, heads, 1, 1))
    if first_only:
        return build.node("Mul", [steps, here])
    column = build.node("Unsqueeze", [here, integers(build, 1)])
    return build.node("Mul", [steps, build.node("Abs", [build.node("Sub", [here, column])])])
