"""The body of BERT and RoBERTa as ONNX operators: ids in, hidden states out.

There is no attention mask: every sequence in a run has the same length and no padding. Operators are onnxruntime's
fused ones where they compute the same thing (docs/ContribOperators.md in its repository).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rerankd.convert import quantise
from rerankd.convert.architecture import Architecture
from rerankd.convert.graph import MICROSOFT, ElementType, GraphBuilder
from rerankd.convert.weights import Floats, Weights
from rerankd.errors import ModelLoadError

Precision = Literal["fp32", "int8"]

INPUT_IDS = "input_ids"
TYPE_IDS = "token_type_ids"

_TANH_GELU = frozenset({"gelu_new", "gelu_fast", "gelu_pytorch_tanh"})


@dataclass(frozen=True, slots=True)
class Encoder:
    """Writes one encoder into a graph. `precision` is that of the word table and the large matrices."""

    builder: GraphBuilder
    weights: Weights
    architecture: Architecture
    precision: Precision

    def write(self, *, first_token_only: bool) -> str:
        """Add all of the encoder and return the name of its last hidden states.

        Their shape is `(batch, tokens, width)`; with `first_token_only` it is `(batch, 1, width)`, computed without
        the last layer's work on the other tokens, which nothing would read.
        """
        states = self._embed()
        last = self.architecture.layers - 1
        for index in range(self.architecture.layers):
            states = self._layer(states, index, first_token_only=first_token_only and index == last)
        return states

    def vector(self, name: str) -> str:
        """Add a bias or a LayerNorm parameter by its name below the encoder."""
        return self._whole(name, self.weights.read(self._full(name)))

    def matrix(self, names: tuple[str, ...], stem: str) -> tuple[str, ...]:
        """Add linear layers' weights side by side, shape `(inputs, outputs)`: the matrix, and its scales if int8."""
        # PyTorch keeps (outputs, inputs).
        joined = np.concatenate([self.weights.read(self._full(f"{name}.weight")) for name in names])
        transposed = np.ascontiguousarray(joined.T)
        del joined
        if self.precision == "fp32":
            return (self._whole(f"{stem}.weight", transposed),)
        values, scales = quantise.matrix(transposed)
        return (
            self.builder.weight(f"{stem}.weight_int8", values.shape, [values]),
            self.builder.weight(f"{stem}.scales", scales.shape, [scales]),
        )

    def multiply(self, states: str, names: tuple[str, ...], stem: str) -> str:
        """Multiply states by linear layers' weights; the biases are the next operator's."""
        inputs = [states, *self.matrix(names, stem)]
        if self.precision == "fp32":
            return self.builder.node("MatMul", inputs)
        return self.builder.node("DynamicQuantizeMatMul", inputs, domain=MICROSOFT)

    def _full(self, name: str) -> str:
        return self.weights.prefix + name

    def _whole(self, name: str, values: Floats) -> str:
        return self.builder.weight(name, values.shape, [values])

    def _embed(self) -> str:
        build, arch = self.builder, self.architecture
        ids = build.input(INPUT_IDS, ElementType.INT64, ("batch", "tokens"))
        positions = self.weights.read(self._full("embeddings.position_embeddings.weight"))
        segments = self.weights.read(self._full("embeddings.token_type_embeddings.weight"))
        _check("position_embeddings", positions.shape, (arch.positions, arch.width))
        _check("token_type_embeddings", segments.shape, (arch.segments, arch.width))
        total = self._words(ids)
        if arch.segments > 1:
            type_ids = build.input(TYPE_IDS, ElementType.INT64, ("batch", "tokens"))
            table = self._whole("embeddings.token_type", segments)
            total = build.node("Add", [total, build.node("Gather", [table, type_ids], {"axis": 0})])
        else:
            positions = positions + segments[0]
        table = self._whole("embeddings.position", positions)
        place = self._positions_bert(ids, table) if arch.kind == "bert" else self._positions_roberta(ids, table)
        parameters = [self.vector(f"embeddings.LayerNorm.{part}") for part in ("weight", "bias")]
        return build.node(
            "LayerNormalization",
            [build.node("Add", [total, place]), *parameters],
            {"axis": -1, "epsilon": arch.epsilon},
        )

    def _words(self, ids: str) -> str:
        build, arch = self.builder, self.architecture
        full = self._full("embeddings.word_embeddings.weight")
        shape = self.weights.shape(full)
        _check("word_embeddings", shape, (arch.vocabulary, arch.width))
        if self.precision == "fp32":
            table = build.weight("embeddings.word", shape, self.weights.blocks(full))
            return build.node("Gather", [table, ids], {"axis": 0})
        scales: list[Floats] = []

        def rows() -> Iterator[quantise.Bytes]:
            for block in self.weights.blocks(full):
                values, scale = quantise.table(block)
                scales.append(scale)
                yield values

        table = build.weight("embeddings.word_int8", shape, rows())
        scale_table = self._whole("embeddings.word_scales", np.concatenate(scales))
        values = build.node("Cast", [build.node("Gather", [table, ids], {"axis": 0})], {"to": int(ElementType.FLOAT)})
        return build.node("Mul", [values, build.node("Gather", [scale_table, ids], {"axis": 0})])

    def _positions_bert(self, ids: str, table: str) -> str:
        """Rows 0 … tokens - 1 of the table."""
        build = self.builder
        tokens = build.node("Shape", [ids], {"start": 1, "end": 2})
        zero = build.constant(np.array([0], np.int64))
        return build.node("Slice", [table, zero, tokens, zero])

    def _positions_roberta(self, ids: str, table: str) -> str:
        """As `create_position_ids_from_input_ids` in transformers: tokens that are the padding id do not count."""
        build = self.builder
        pad = build.constant(np.array(self.architecture.pad_id, np.int64))
        counts = build.node("Not", [build.node("Equal", [ids, pad])])
        counts = build.node("Cast", [counts], {"to": int(ElementType.INT64)})
        axis = build.constant(np.array(1, np.int64))
        ordinals = build.node("Mul", [build.node("CumSum", [counts, axis]), counts])
        return build.node("Gather", [table, build.node("Add", [ordinals, pad])], {"axis": 0})

    def _layer(self, states: str, index: int, *, first_token_only: bool) -> str:
        at = f"encoder.layer.{index}"
        if first_token_only:
            asking, attended = self._attend_from_first(states, at)
        else:
            asking, attended = states, self._attend(states, at)
        attended = self.multiply(attended, (f"{at}.attention.output.dense",), f"{at}.attention.output")
        states = self._add_and_normalise(attended, asking, f"{at}.attention.output")
        inner = self.multiply(states, (f"{at}.intermediate.dense",), f"{at}.intermediate")
        inner = self._activate(inner, self.vector(f"{at}.intermediate.dense.bias"))
        outer = self.multiply(inner, (f"{at}.output.dense",), f"{at}.output")
        return self._add_and_normalise(outer, states, f"{at}.output")

    def _attend(self, states: str, at: str) -> str:
        names = tuple(f"{at}.attention.self.{part}" for part in ("query", "key", "value"))
        joined = self.multiply(states, names, f"{at}.attention.self")
        query, key, value = self.builder.nodes(
            "Split",
            [joined],
            {"axis": -1},
            outputs=[f"{at}.attention.{part}" for part in ("query", "key", "value")],
        )
        return self._attention(query, key, value, names)

    def _attend_from_first(self, states: str, at: str) -> tuple[str, str]:
        """Let only the first token ask. Returns its states and what it attended to, both `(batch, 1, width)`."""
        build = self.builder
        zero, one = (build.constant(np.array([value], np.int64)) for value in (0, 1))
        first = build.node("Slice", [states, zero, one, one])
        names = tuple(f"{at}.attention.self.{part}" for part in ("query", "key", "value"))
        query = self.multiply(first, names[:1], f"{at}.attention.query")
        joined = self.multiply(states, names[1:], f"{at}.attention.memory")
        key, value = build.nodes(
            "Split", [joined], {"axis": -1}, outputs=[f"{at}.attention.{part}" for part in ("key", "value")]
        )
        return first, self._attention(query, key, value, names)

    def _attention(self, query: str, key: str, value: str, names: tuple[str, ...]) -> str:
        biases = np.concatenate([self.weights.read(self._full(f"{name}.bias")) for name in names])
        return self.builder.node(
            "MultiHeadAttention",
            [query, key, value, self._whole(f"{names[0]}.biases", biases)],
            {"num_heads": self.architecture.heads},
            domain=MICROSOFT,
        )

    def _add_and_normalise(self, states: str, skipped: str, at: str) -> str:
        parts = (f"{at}.LayerNorm.weight", f"{at}.LayerNorm.bias", f"{at}.dense.bias")
        return self.builder.node(
            "SkipLayerNormalization",
            [states, skipped, *(self.vector(part) for part in parts)],
            {"epsilon": self.architecture.epsilon},
            domain=MICROSOFT,
        )

    def _activate(self, states: str, bias: str) -> str:
        build, name = self.builder, self.architecture.activation
        if name in {"gelu", "gelu_python"}:
            return build.node("BiasGelu", [states, bias], domain=MICROSOFT)
        if name in _TANH_GELU:
            return build.node("FastGelu", [states, bias], domain=MICROSOFT)
        total = build.node("Add", [states, bias])
        if name == "relu":
            return build.node("Relu", [total])
        return build.node("Mul", [total, build.node("Sigmoid", [total])])


def _check(name: str, found: tuple[int, ...], said: tuple[int, ...]) -> None:
    if found != said:
        raise ModelLoadError(
            f"{name} has the shape {found} and config.json says {said}: the files do not belong together"
        )
