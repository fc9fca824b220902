"""Linear layers, norms, activations and the word table as operators, in the precision asked for.

Every architecture writes its weights through here, so a number format is a matter of this file and `formats`.
Operators are onnxruntime's fused ones where they compute the same thing (docs/ContribOperators.md in its repository).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rerankd.convert import quantise
from rerankd.convert.formats import Format
from rerankd.convert.graph import MICROSOFT, ElementType, GraphBuilder
from rerankd.convert.weights import Floats, Weights
from rerankd.errors import ModelLoadError

INPUT_IDS = "input_ids"
TYPE_IDS = "token_type_ids"

ACTIVATIONS: Mapping[str, str] = {
    **dict.fromkeys(("gelu", "gelu_python"), "gelu"),
    **dict.fromkeys(("gelu_new", "gelu_fast", "gelu_pytorch_tanh"), "tanh_gelu"),
    "relu": "relu",
    **dict.fromkeys(("silu", "swish"), "silu"),
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}
"""The activations that are built, by their name in transformers/activations.py, to what they compute."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some outputs of a linear layer, `start` to `stop`: models keep query, key and value in one matrix."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class LayerWriter:
    """Writes one model's layers into a graph; names are those below `prefix`.

    `format` says in which numbers the word table and the large matrices are.
    """

    builder: GraphBuilder
    weights: Weights
    prefix: str
    format: Format

    def full(self, name: str) -> str:
        """A tensor's name in the file."""
        return self.prefix + name

    def has(self, name: str) -> bool:
        """Tell whether the weights have a tensor."""
        return self.weights.has(self.full(name))

    def read(self, name: str) -> Floats:
        """Read a tensor."""
        return self.weights.read(self.full(name))

    def add(self, name: str, values: Floats) -> str:
        """Add values that were read, or made of what was read, as a weight of the graph."""
        return self.builder.weight(name, values.shape, [values])

    def vector(self, name: str) -> str:
        """Add a bias or a LayerNorm parameter as it is."""
        return self.add(name, self.read(name))

    def rows(self, part: str | Rows, kind: str = "weight") -> Floats:
        """Read a linear layer's weights or bias, or the rows of it that are wanted."""
        if isinstance(part, str):
            return self.read(f"{part}.{kind}")
        return self.read(f"{part.name}.{kind}")[part.start : part.stop]

    def multiply(self, states: str, parts: Sequence[str | Rows], stem: str) -> str:
        """Multiply states by linear layers' weights side by side; the biases are the next operator's."""
        # PyTorch keeps (outputs, inputs).
        joined = np.concatenate([self.rows(part) for part in parts])
        transposed = np.ascontiguousarray(joined.T)
        del joined
        return self.format.multiply(self.builder, states, transposed, stem)

    def biases(self, parts: Sequence[str | Rows], stem: str) -> str:
        """Add linear layers' biases end to end."""
        return self.add(stem, np.concatenate([self.rows(part, "bias") for part in parts]))

    def linear(self, states: str, parts: Sequence[str | Rows], stem: str) -> str:
        """Multiply, and add the biases if there are any."""
        product = self.multiply(states, parts, stem)
        first = parts[0] if isinstance(parts[0], str) else parts[0].name
        if not self.has(f"{first}.bias"):
            return product
        return self.builder.node("Add", [product, self.biases(parts, f"{stem}.bias")])

    def normalise(self, states: str, at: str, epsilon: float) -> str:
        """LayerNorm over the last axis; its bias may be missing."""
        parameters = [self.vector(f"{at}.{part}") for part in ("weight", "bias") if self.has(f"{at}.{part}")]
        return self.builder.node("LayerNormalization", [states, *parameters], {"axis": -1, "epsilon": epsilon})

    def add_and_normalise(self, states: str, skipped: str, norm: str, bias: str, epsilon: float) -> str:
        """LayerNorm of the sum of a layer's product, its bias and what went around the layer."""
        # Three operators, since onnxruntime's SkipLayerNormalization is slower than they are: 365 us against 85 for 186
        # tokens x 384 on one core with AVX-512, 8 % of a 6-layer model. The engine keeps it from fusing them again.
        weight, shift, added = (self.vector(name) for name in (f"{norm}.weight", f"{norm}.bias", bias))
        total = self.builder.node("Add", [self.builder.node("Add", [states, added]), skipped])
        return self.builder.node("LayerNormalization", [total, weight, shift], {"axis": -1, "epsilon": epsilon})

    def activate(self, states: str, activation: str, bias: str) -> str:
        """Add a bias of that name and apply an activation, a key of `ACTIVATIONS`."""
        build, kind, bias = self.builder, ACTIVATIONS[activation], self.vector(bias)
        if kind == "gelu":
            return build.node("BiasGelu", [states, bias], domain=MICROSOFT)
        if kind == "tanh_gelu":
            return build.node("FastGelu", [states, bias], domain=MICROSOFT)
        return apply(build, build.node("Add", [states, bias]), activation)

    def words(self, ids: str, name: str, shape: tuple[int, int]) -> str:
        """Look ids up in the word table of that name, which must have the shape `(vocabulary, width)`."""
        build, full = self.builder, self.full(name)
        check_shape(name, self.weights.shape(full), shape)
        if not self.format.small_tables:
            table = build.weight("embeddings.word", shape, self.weights.blocks(full))
            return build.node("Gather", [table, ids], {"axis": 0})
        scales: list[Floats] = []

        def rows() -> Iterator[quantise.Bytes]:
            for block in self.weights.blocks(full):
                values, scale = quantise.table(block)
                scales.append(scale)
                yield values

        table = build.weight("embeddings.word_int8", shape, rows())
        scale_table = self.add("embeddings.word_scales", np.concatenate(scales))
        values = build.node("Cast", [build.node("Gather", [table, ids], {"axis": 0})], {"to": int(ElementType.FLOAT)})
        return build.node("Mul", [values, build.node("Gather", [scale_table, ids], {"axis": 0})])


def apply(build: GraphBuilder, states: str, activation: str) -> str:
    """Apply an activation, a key of `ACTIVATIONS`."""
    kind = ACTIVATIONS[activation]
    if kind == "gelu":
        return build.node("Gelu", [states], domain=MICROSOFT)
    if kind == "tanh_gelu":
        return build.node("FastGelu", [states], domain=MICROSOFT)
    if kind == "silu":
        return build.node("Mul", [states, build.node("Sigmoid", [states])])
    return build.node({"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}[kind], [states])


def check_shape(name: str, found: tuple[int, ...], said: tuple[int, ...]) -> None:
    """Check a table's shape against the configuration.

    Raises:
        ModelLoadError: they differ.
    """
    if found != said:
        raise ModelLoadError(
            f"{name} has the shape {found} and config.json says {said}: the files do not belong together"
        )
