"""The body that BERT and its kin share: normalise after attention and after the inner layer.

What differs (how positions are told, whether the inner layer is gated, what tensors are called) is data here; each
architecture's own module reads `config.json` into it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rerankd.convert import attention
from rerankd.convert.base import Head, Linear
from rerankd.convert.graph import ElementType, GraphBuilder
from rerankd.convert.layers import INPUT_IDS, TYPE_IDS, LayerWriter, Rows, apply, check_shape
from rerankd.convert.weights import Weights, find_prefix
from rerankd.errors import UnsupportedModel

_QKV = ("query", "key", "value")

Gate = Literal["", "first", "last"]
"""Which half of a gated inner layer goes through the activation; "" where it is not gated."""


@dataclass(frozen=True, slots=True)
class Names:
    """What tensors are called: a layer's below `layer` and its number. `qkv` is one name where they are packed.

    What differs with the names stands here too: `qk_norms` normalise query and key, `second_norm` normalises the
    normalised sum after attention plus what went around it once more.
    """

    layer: str = "encoder.layer"
    qkv: Sequence[str] = tuple(f"attention.self.{part}" for part in _QKV)
    qk_norms: Sequence[str] = ()
    attended: str = "attention.output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    inner: str = "intermediate.dense"
    outer: str = "output.dense"
    norm: str = "output.LayerNorm"
    embedding_norm: str = "embeddings.LayerNorm"
    gate: Gate = ""
    second_norm: str = ""


@dataclass(frozen=True, slots=True)
class Absolute:
    """A learnt vector per position; with `padding`, positions are counted as fairseq does (see `_counted`)."""

    rows: int
    padding: int | None = None


@dataclass(frozen=True, slots=True)
class Rotary:
    """Query and key are turned by position; see `attention.rotation`."""

    base: float
    divide: float
    rows: int


@dataclass(frozen=True, slots=True)
class Alibi:
    """Attention falls with distance; see `attention.slopes`. Any length can be read; `rows` is what is allowed."""

    rows: int


@dataclass(frozen=True, slots=True)
class PostNorm:
    """One such encoder.

    `segments` is 0 where there is no table of segments. `namings` are tried in turn. `steps` are those of a
    classifier's head, whose names may begin with "{prefix}".
    """

    what: str
    prefixes: Sequence[str]
    namings: Sequence[Names]
    steps: Sequence[Linear]
    vocabulary: int
    layers: int
    width: int
    heads: int
    activation: str
    epsilon: float
    positions: Absolute | Rotary | Alibi
    segment_rows: int
    embedding_width: int

    @property
    def max_tokens(self) -> int:
        """The longest sequence there are positions for."""
        if isinstance(self.positions, Absolute) and self.positions.padding is not None:
            # RoBERTa's positions begin at the padding id + 1: fairseq kept the first ones for padding.
            return self.positions.rows - self.positions.padding - 1
        return self.positions.rows

    @property
    def segments(self) -> int:
        """How many segments are told apart."""
        return max(1, self.segment_rows)

    def prefix(self, weights: Weights) -> str:
        """See `base.Architecture`."""
        return find_prefix(weights, "embeddings.word_embeddings.weight", self.prefixes, self.what)

    def head(self, weights: Weights, prefix: str) -> Head:
        """The first token's state, then `steps`."""
        del weights
        return Head([replace(step, name=step.name.format(prefix=prefix)) for step in self.steps])

    def write(self, layers: LayerWriter, *, first_token_only: bool) -> str:
        """See `base.Architecture`."""
        body = _Body(layers, self, _choose(self, layers))
        return body.write(first_token_only=first_token_only)


def _choose(model: PostNorm, layers: LayerWriter) -> Names:
    """The naming whose inner layer there is: that name differs from one to the other."""
    for names in model.namings:
        if layers.has(f"{names.layer}.0.{names.inner}.weight"):
            return names
    names = model.namings[0]
    absent = layers.full(f"{names.layer}.0.{names.inner}.weight")
    raise UnsupportedModel(f"the weights have no {absent!r}: this is no {model.what}")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where tokens stand, as attention is told: tables to turn by, or what is added to scores."""

    tables: tuple[str, str] | None = None
    scores: str = ""
    first_scores: str = ""


@dataclass(frozen=True, slots=True)
class _Body:
    layers: LayerWriter
    model: PostNorm
    names: Names

    def write(self, *, first_token_only: bool) -> str:
        ids = self.layers.builder.input(INPUT_IDS, ElementType.INT64, ("batch", "tokens"))
        states = self._embed(ids)
        place = self._place(ids, first_token_only=first_token_only)
        last = self.model.layers - 1
        for index in range(self.model.layers):
            states = self._layer(states, index, place, first_token_only=first_token_only and index == last)
        return states

    def _embed(self, ids: str) -> str:
        write, build, model = self.layers, self.layers.builder, self.model
        total = write.words(ids, "embeddings.word_embeddings.weight", (model.vocabulary, model.embedding_width))
        rows: list[str] = []
        once: np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None = None
        if model.segment_rows:
            segments = write.read("embeddings.token_type_embeddings.weight")
            check_shape("token_type_embeddings", segments.shape, (model.segment_rows, model.embedding_width))
            if model.segment_rows > 1:
                type_ids = build.input(TYPE_IDS, ElementType.INT64, ("batch", "tokens"))
                table = write.add("embeddings.token_type", segments)
                rows.append(build.node("Gather", [table, type_ids], {"axis": 0}))
            else:
                once = segments[0]
        if isinstance(model.positions, Absolute):
            positions = write.read("embeddings.position_embeddings.weight")
            check_shape("position_embeddings", positions.shape, (model.positions.rows, model.embedding_width))
            table = write.add("embeddings.position", positions if once is None else positions + once)
            pad = model.positions.padding
            rows.append(_from_start(build, ids, table) if pad is None else _counted(build, ids, table, pad))
        elif once is not None:
            rows.append(write.add("embeddings.token_type", once))
        for row in rows:
            total = build.node("Add", [total, row])
        states = write.normalise(total, self.names.embedding_norm, model.epsilon)
        if model.embedding_width != model.width:
            states = write.linear(states, ("embeddings_project",), "embeddings_project")
        return states

    def _place(self, ids: str, *, first_token_only: bool) -> _Place:
        write, build, model = self.layers, self.layers.builder, self.model
        if isinstance(model.positions, Rotary):
            cos, sin = attention.rotation(
                model.positions.base, model.width // model.heads, model.positions.rows, model.positions.divide
            )
            return _Place(tables=(write.add("rotary.cos", cos), write.add("rotary.sin", sin)))
        if isinstance(model.positions, Absolute):
            return _Place()
        tokens = attention.count_tokens(build, ids)
        needed = {True} if first_token_only and model.layers == 1 else {first_token_only, False}
        made = {first: attention.fall_with_distance(build, tokens, model.heads, first_only=first) for first in needed}
        return _Place(scores=made.get(False, ""), first_scores=made.get(True, ""))

    def _layer(self, states: str, index: int, place: _Place, *, first_token_only: bool) -> str:
        write, names, at = self.layers, self.names, f"{self.names.layer}.{index}"
        if first_token_only:
            asking, attended = self._attend_from_first(states, at, place)
        else:
            asking, attended = states, self._attend(states, at, place)
        attended = write.multiply(attended, (f"{at}.{names.attended}",), f"{at}.attention.output")
        states = self._add_and_normalise(attended, asking, f"{at}.{names.attended}", f"{at}.{names.attention_norm}")
        if names.second_norm:
            states = write.normalise(
                write.builder.node("Add", [states, asking]), f"{at}.{names.second_norm}", self.model.epsilon
            )
        inner = self._inner(states, at)
        outer = write.multiply(inner, (f"{at}.{names.outer}",), f"{at}.output")
        return self._add_and_normalise(outer, states, f"{at}.{names.outer}", f"{at}.{names.norm}")

    def _inner(self, states: str, at: str) -> str:
        write, build, model, name = self.layers, self.layers.builder, self.model, f"{at}.{self.names.inner}"
        inner = write.multiply(states, (name,), f"{at}.intermediate")
        if not self.names.gate:
            return write.activate(inner, model.activation, f"{name}.bias")
        first, last = attention.split(build, inner, f"{at}.intermediate", ("first", "last"))
        gate, rest = (first, last) if self.names.gate == "first" else (last, first)
        return build.node("Mul", [apply(build, gate, model.activation), rest])

    def _parts(self, at: str) -> tuple[str | Rows, ...]:
        names, width = [f"{at}.{name}" for name in self.names.qkv], self.model.width
        if len(names) == 1:
            return tuple(Rows(names[0], part * width, (part + 1) * width) for part in range(3))
        return tuple(names)

    def _attend(self, states: str, at: str, place: _Place) -> str:
        parts = self._parts(at)
        joined = self.layers.multiply(states, parts, f"{at}.attention.self")
        query, key, value = attention.split(self.layers.builder, joined, f"{at}.attention", _QKV)
        return self._attention((query, key, value), at, place.tables, place.tables, place.scores)

    def _attend_from_first(self, states: str, at: str, place: _Place) -> tuple[str, str]:
        """Let only the first token ask. Returns its states and what it attended to, both `(batch, 1, width)`."""
        build, parts = self.layers.builder, self._parts(at)
        first = attention.first_token(build, states)
        query = self.layers.multiply(first, parts[:1], f"{at}.attention.query")
        joined = self.layers.multiply(states, parts[1:], f"{at}.attention.memory")
        key, value = attention.split(build, joined, f"{at}.attention", _QKV[1:])
        # Position 0 turns nothing.
        return first, self._attention((query, key, value), at, None, place.tables, place.first_scores)

    def _attention(
        self,
        states: tuple[str, str, str],
        at: str,
        query_tables: tuple[str, str] | None,
        key_tables: tuple[str, str] | None,
        scores: str,
    ) -> str:
        write, build, names, parts = self.layers, self.layers.builder, self.names, self._parts(at)
        stem = f"{at}.attention.self"
        if key_tables is None and not names.qk_norms:
            biases = write.biases(parts, f"{stem}.biases")
            return attention.attend(build, states, self.model.heads, biases=biases, score_bias=scores)
        named = zip(states, parts, _QKV, strict=True)
        query, key, value = (
            build.node("Add", [state, write.biases((part,), f"{stem}.{name}.bias")]) for state, part, name in named
        )
        if names.qk_norms:
            of_query, of_key = names.qk_norms
            query = write.normalise(query, f"{at}.{of_query}", self.model.epsilon)
            key = write.normalise(key, f"{at}.{of_key}", self.model.epsilon)
        query = attention.rotate(build, query, query_tables) if query_tables else query
        key = attention.rotate(build, key, key_tables) if key_tables else key
        return attention.attend(build, (query, key, value), self.model.heads, score_bias=scores)

    def _add_and_normalise(self, states: str, skipped: str, layer: str, norm: str) -> str:
        return self.layers.add_and_normalise(states, skipped, norm, f"{layer}.bias", self.model.epsilon)


def _from_start(build: GraphBuilder, ids: str, table: str) -> str:
    """Rows 0 … tokens - 1 of the table."""
    zero = attention.integers(build, 0)
    return build.node("Slice", [table, zero, attention.count_tokens(build, ids), zero])


def _counted(build: GraphBuilder, ids: str, table: str, padding: int) -> str:
    """As `create_position_ids_from_input_ids` in transformers: tokens that are the padding id do not count."""
    pad = build.constant(np.array(padding, np.int64))
    counts = build.node("Not", [build.node("Equal", [ids, pad])])
    counts = build.node("Cast", [counts], {"to": int(ElementType.INT64)})
    axis = build.constant(np.array(1, np.int64))
    ordinals = build.node("Mul", [build.node("CumSum", [counts, axis]), counts])
    return build.node("Gather", [table, build.node("Add", [ordinals, pad])], {"axis": 0})
