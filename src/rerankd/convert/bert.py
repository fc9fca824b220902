"""BERT and RoBERTa: a post-LayerNorm encoder with absolute positions, as operators.

There is no attention mask: every sequence in a run has the same length and no padding.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rerankd.convert import fields
from rerankd.convert.base import Head, Linear
from rerankd.convert.graph import MICROSOFT, ElementType
from rerankd.convert.layers import ACTIVATIONS, INPUT_IDS, TYPE_IDS, LayerWriter, check_shape
from rerankd.convert.weights import Weights, find_prefix
from rerankd.errors import UnsupportedModel

Kind = Literal["bert", "roberta"]

_WORDS = "embeddings.word_embeddings.weight"
_PREFIXES = ("", "bert.", "roberta.", "camembert.", "model.")


@dataclass(frozen=True, slots=True)
class Bert:
    """A BERT-like encoder; `kind` says how positions are counted and which head a classifier has."""

    kind: Kind
    vocabulary: int
    layers: int
    width: int
    heads: int
    inner: int
    activation: str
    epsilon: float
    positions: int
    segments: int
    pad_id: int

    @property
    def max_tokens(self) -> int:
        """The longest sequence there are positions for."""
        # RoBERTa's positions begin at pad_id + 1: fairseq kept the first ones for padding.
        return self.positions if self.kind == "bert" else self.positions - self.pad_id - 1

    def prefix(self, weights: Weights) -> str:
        """See `base.Architecture`."""
        return find_prefix(weights, _WORDS, _PREFIXES, "BERT or RoBERTa encoder")

    def head(self, weights: Weights, prefix: str) -> Head:
        """BERT: tanh(pooler), then a linear layer. RoBERTa: tanh(dense), then a linear layer, of other names."""
        del weights
        if self.kind == "bert":
            return Head((Linear(f"{prefix}pooler.dense", "tanh"), Linear("classifier")))
        return Head((Linear("classifier.dense", "tanh"), Linear("classifier.out_proj")))

    def write(self, layers: LayerWriter, *, first_token_only: bool) -> str:
        """See `base.Architecture`."""
        return _Body(layers, self).write(first_token_only=first_token_only)


def read_bert(config: fields.Config) -> Bert:
    """Take from BERT's `config.json` what the graph depends on; defaults are those of transformers.

    Raises:
        UnsupportedModel: a variant that would need another graph.
    """
    return _read(config, "bert")


def read_roberta(config: fields.Config) -> Bert:
    """As `read_bert`, for RoBERTa, XLM-RoBERTa and CamemBERT."""
    return _read(config, "roberta")


def _read(config: fields.Config, kind: Kind) -> Bert:
    if config.get("position_embedding_type", "absolute") not in {"absolute", None}:
        raise UnsupportedModel(
            f"position_embedding_type {config['position_embedding_type']!r} cannot be converted: only 'absolute' can"
        )
    fields.refuse(config, "is_decoder", "add_cross_attention", because="a decoder cannot be converted, only an encoder")
    bert = Bert(
        kind=kind,
        vocabulary=fields.integer(config, "vocab_size", 30522),
        layers=fields.integer(config, "num_hidden_layers", 12),
        width=fields.integer(config, "hidden_size", 768),
        heads=fields.integer(config, "num_attention_heads", 12),
        inner=fields.integer(config, "intermediate_size", 3072),
        activation=fields.choice(config, "hidden_act", "gelu", ACTIVATIONS),
        epsilon=fields.number(config, "layer_norm_eps", 1e-12),
        positions=fields.integer(config, "max_position_embeddings", 512),
        segments=fields.integer(config, "type_vocab_size", 2),
        pad_id=fields.integer(config, "pad_token_id", 0 if kind == "bert" else 1, least=0),
    )
    fields.per_head(bert.width, bert.heads)
    return bert


@dataclass(frozen=True, slots=True)
class _Body:
    """Writes one encoder into a graph."""

    layers: LayerWriter
    bert: Bert

    def write(self, *, first_token_only: bool) -> str:
        states = self._embed()
        last = self.bert.layers - 1
        for index in range(self.bert.layers):
            states = self._layer(states, index, first_token_only=first_token_only and index == last)
        return states

    def _embed(self) -> str:
        write, build, bert = self.layers, self.layers.builder, self.bert
        ids = build.input(INPUT_IDS, ElementType.INT64, ("batch", "tokens"))
        positions = write.read("embeddings.position_embeddings.weight")
        segments = write.read("embeddings.token_type_embeddings.weight")
        check_shape("position_embeddings", positions.shape, (bert.positions, bert.width))
        check_shape("token_type_embeddings", segments.shape, (bert.segments, bert.width))
        total = write.words(ids, _WORDS, (bert.vocabulary, bert.width))
        if bert.segments > 1:
            type_ids = build.input(TYPE_IDS, ElementType.INT64, ("batch", "tokens"))
            table = write.add("embeddings.token_type", segments)
            total = build.node("Add", [total, build.node("Gather", [table, type_ids], {"axis": 0})])
        else:
            positions = positions + segments[0]
        table = write.add("embeddings.position", positions)
        place = self._positions_bert(ids, table) if bert.kind == "bert" else self._positions_roberta(ids, table)
        return write.normalise(build.node("Add", [total, place]), "embeddings.LayerNorm", bert.epsilon)

    def _positions_bert(self, ids: str, table: str) -> str:
        """Rows 0 … tokens - 1 of the table."""
        build = self.layers.builder
        tokens = build.node("Shape", [ids], {"start": 1, "end": 2})
        zero = build.constant(np.array([0], np.int64))
        return build.node("Slice", [table, zero, tokens, zero])

    def _positions_roberta(self, ids: str, table: str) -> str:
        """As `create_position_ids_from_input_ids` in transformers: tokens that are the padding id do not count."""
        build = self.layers.builder
        pad = build.constant(np.array(self.bert.pad_id, np.int64))
        counts = build.node("Not", [build.node("Equal", [ids, pad])])
        counts = build.node("Cast", [counts], {"to": int(ElementType.INT64)})
        axis = build.constant(np.array(1, np.int64))
        ordinals = build.node("Mul", [build.node("CumSum", [counts, axis]), counts])
        return build.node("Gather", [table, build.node("Add", [ordinals, pad])], {"axis": 0})

    def _layer(self, states: str, index: int, *, first_token_only: bool) -> str:
        write, at = self.layers, f"encoder.layer.{index}"
        if first_token_only:
            asking, attended = self._attend_from_first(states, at)
        else:
            asking, attended = states, self._attend(states, at)
        attended = write.multiply(attended, (f"{at}.attention.output.dense",), f"{at}.attention.output")
        states = self._add_and_normalise(attended, asking, f"{at}.attention.output")
        inner = write.multiply(states, (f"{at}.intermediate.dense",), f"{at}.intermediate")
        inner = write.activate(inner, self.bert.activation, f"{at}.intermediate.dense.bias")
        outer = write.multiply(inner, (f"{at}.output.dense",), f"{at}.output")
        return self._add_and_normalise(outer, states, f"{at}.output")

    def _attend(self, states: str, at: str) -> str:
        names = tuple(f"{at}.attention.self.{part}" for part in ("query", "key", "value"))
        joined = self.layers.multiply(states, names, f"{at}.attention.self")
        query, key, value = self.layers.builder.nodes(
            "Split",
            [joined],
            {"axis": -1},
            outputs=[f"{at}.attention.{part}" for part in ("query", "key", "value")],
        )
        return self._attention(query, key, value, names)

    def _attend_from_first(self, states: str, at: str) -> tuple[str, str]:
        """Let only the first token ask. Returns its states and what it attended to, both `(batch, 1, width)`."""
        build = self.layers.builder
        zero, one = (build.constant(np.array([value], np.int64)) for value in (0, 1))
        first = build.node("Slice", [states, zero, one, one])
        names = tuple(f"{at}.attention.self.{part}" for part in ("query", "key", "value"))
        query = self.layers.multiply(first, names[:1], f"{at}.attention.query")
        joined = self.layers.multiply(states, names[1:], f"{at}.attention.memory")
        key, value = build.nodes(
            "Split", [joined], {"axis": -1}, outputs=[f"{at}.attention.{part}" for part in ("key", "value")]
        )
        return first, self._attention(query, key, value, names)

    def _attention(self, query: str, key: str, value: str, names: tuple[str, ...]) -> str:
        return self.layers.builder.node(
            "MultiHeadAttention",
            [query, key, value, self.layers.biases(names, f"{names[0]}.biases")],
            {"num_heads": self.bert.heads},
            domain=MICROSOFT,
        )

    def _add_and_normalise(self, states: str, skipped: str, at: str) -> str:
        return self.layers.add_and_normalise(states, skipped, f"{at}.LayerNorm", f"{at}.dense.bias", self.bert.epsilon)
