"""DeBERTa v2 and v3: attention to content and, apart from it, to how far tokens stand from each other.

Built after transformers/models/deberta_v2. What depends on distances alone (the projected embeddings of distances, and
which of them a distance has) is computed here, once. In the graph the scores of a token against all distances are
lined up with tokens by a change of shape: row i of a table whose columns are distances begins i columns further left,
and in a table with one column more than there are tokens on both sides that is a slice of the flat numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rerankd.convert import attention, fields
from rerankd.convert.base import Head, Linear
from rerankd.convert.graph import ElementType
from rerankd.convert.layers import ACTIVATIONS, INPUT_IDS, TYPE_IDS, LayerWriter, apply, check_shape
from rerankd.convert.weights import Floats, Weights, find_prefix
from rerankd.errors import UnsupportedModel
from rerankd.types import JsonValue

_WORDS = "embeddings.word_embeddings.weight"
_QKV = ("query", "key", "value")


@dataclass(frozen=True, slots=True)
class Convolution:
    """The layer beside the first one: over `kernel` neighbours, in `groups`."""

    kernel: int
    groups: int
    activation: str


@dataclass(frozen=True, slots=True)
class Deberta:
    """One such encoder. `span` is how many distances to each side have an embedding, `buckets` 0 where all do.

    `kinds` holds "c2p" (content asks for distance) and "p2c" (distance asks for content), or neither.
    """

    vocabulary: int
    layers: int
    width: int
    heads: int
    activation: str
    epsilon: float
    max_tokens: int
    segment_rows: int
    embedding_width: int
    absolute: bool
    relative: bool
    span: int
    buckets: int
    farthest: int
    kinds: frozenset[str]
    shared: bool
    normalised: bool
    convolution: Convolution | None
    pooler_activation: str

    @property
    def segments(self) -> int:
        """How many segments are told apart."""
        return max(1, self.segment_rows)

    def prefix(self, weights: Weights) -> str:
        """See `base.Architecture`."""
        return find_prefix(weights, _WORDS, ("", "deberta."), "DeBERTa encoder")

    def head(self, weights: Weights, prefix: str) -> Head:
        """activation(pooler), then a linear layer; the pooler is no part of the encoder here."""
        del weights, prefix
        return Head((Linear("pooler.dense", self.pooler_activation), Linear("classifier")))

    def write(self, layers: LayerWriter, *, first_token_only: bool) -> str:
        """See `base.Architecture`."""
        return _Body(layers, self).write(first_token_only=first_token_only)


def read_deberta(config: fields.Config) -> Deberta:
    """Take from DeBERTa's `config.json` what the graph depends on.

    Raises:
        UnsupportedModel: a variant that would need another graph.
    """
    width = fields.integer(config, "hidden_size", 1536)
    heads = fields.integer(config, "num_attention_heads", 24)
    positions = fields.integer(config, "max_position_embeddings", 512)
    if config.get("attention_head_size", fields.per_head(width, heads)) != width // heads:
        raise UnsupportedModel(f"attention_head_size {config['attention_head_size']!r} is not hidden_size / heads")
    relative = bool(config.get("relative_attention", False))
    buckets, farthest = _whole(config, "position_buckets", -1), _whole(config, "max_relative_positions", -1)
    farthest = positions if farthest < 1 else farthest
    kinds = _kinds(config.get("pos_att_type"))
    return Deberta(
        vocabulary=fields.integer(config, "vocab_size", 128100),
        layers=fields.integer(config, "num_hidden_layers", 24),
        width=width,
        heads=heads,
        activation=fields.choice(config, "hidden_act", "gelu", ACTIVATIONS),
        epsilon=fields.number(config, "layer_norm_eps", 1e-7),
        max_tokens=positions,
        segment_rows=fields.integer(config, "type_vocab_size", 0, least=0),
        embedding_width=fields.integer(config, "embedding_size", width),
        absolute=bool(config.get("position_biased_input", True)),
        relative=relative,
        span=buckets if buckets > 0 else farthest,
        buckets=max(0, buckets),
        farthest=farthest,
        kinds=kinds,
        shared=bool(config.get("share_att_key", False)),
        normalised="layer_norm" in str(config.get("norm_rel_ebd", "none")).lower(),
        convolution=_convolution(config),
        pooler_activation=fields.choice(config, "pooler_hidden_act", "gelu", ACTIVATIONS),
    )


def _whole(config: fields.Config, name: str, default: int) -> int:
    value = config.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnsupportedModel(f"config.json says {name} = {value!r}, which is no whole number")
    return value


def _kinds(value: JsonValue) -> frozenset[str]:
    """A list, or names with "|" between them."""
    if isinstance(value, str):
        return frozenset(name.strip() for name in value.lower().split("|")) & {"c2p", "p2c"}
    return frozenset(map(str, value)) & {"c2p", "p2c"} if isinstance(value, Sequence) else frozenset()


def _convolution(config: fields.Config) -> Convolution | None:
    kernel = _whole(config, "conv_kernel_size", 0)
    if kernel <= 0:
        return None
    activation = fields.choice(config, "conv_act", "tanh", ACTIVATIONS)
    return Convolution(kernel, fields.integer(config, "conv_groups", 1), activation)


def embedding_rows(model: Deberta, distances: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which row of the distance embeddings a distance (asking minus asked place) has.

    Near distances have one each, far ones share, on a logarithmic scale: `make_log_bucket_position`. In float32 as
    there, since a distance on the border of two rows falls where the rounding says.
    """
    rows = distances
    if model.buckets > 0 and model.farthest > 0:
        middle = model.buckets // 2
        near = np.abs(distances) < middle
        size = np.where(near, middle - 1, np.abs(distances)).astype(np.float32)
        scale = np.float32(math.log((model.farthest - 1) / middle))
        steps = np.ceil(np.log(size / np.float32(middle)) / scale * np.float32(middle - 1)) + middle
        rows = np.where(size <= middle, distances, steps * np.sign(distances)).astype(np.int64)
    return np.clip(rows + model.span, 0, 2 * model.span - 1)


@dataclass(frozen=True, slots=True)
class _Distances:
    """What attention to distances needs: the embeddings, and rows of them by place, names of values in the graph.

    `asked`, shape `(2 * tokens,)`, goes by asked minus asking place, from 1 - tokens on; `asking` the other way round;
    `from_first`, shape `(tokens,)`, is for the first token asking each; `tokens`, shape `(1,)`, is how many there are.
    """

    tokens: str
    embeddings: Floats
    asked: str
    asking: str
    from_first: str


@dataclass(frozen=True, slots=True)
class _Body:
    layers: LayerWriter
    model: Deberta

    def write(self, *, first_token_only: bool) -> str:
        model = self.model
        ids = self.layers.builder.input(INPUT_IDS, ElementType.INT64, ("batch", "tokens"))
        embedded = states = self._embed(ids)
        distances = (
            self._distances(attention.count_tokens(self.layers.builder, ids))
            if model.relative and model.kinds
            else None
        )
        for index in range(model.layers):
            # The convolution stands beside the first layer and needs all of its output.
            last = first_token_only and index == model.layers - 1 and not (index == 0 and model.convolution)
            states = self._layer(states, index, distances, first_token_only=last)
            if index == 0 and model.convolution:
                states = self._convolve(embedded, states, model.convolution)
        if first_token_only and model.layers == 1 and model.convolution:
            return attention.first_token(self.layers.builder, states)
        return states

    def _embed(self, ids: str) -> str:
        write, build, model = self.layers, self.layers.builder, self.model
        total = write.words(ids, _WORDS, (model.vocabulary, model.embedding_width))
        if model.absolute:
            positions = write.read("embeddings.position_embeddings.weight")
            check_shape("position_embeddings", positions.shape, (model.max_tokens, model.embedding_width))
            zero = attention.integers(build, 0)
            table = write.add("embeddings.position", positions)
            place = build.node("Slice", [table, zero, attention.count_tokens(build, ids), zero])
            total = build.node("Add", [total, place])
        if model.segment_rows:
            segments = write.read("embeddings.token_type_embeddings.weight")
            check_shape("token_type_embeddings", segments.shape, (model.segment_rows, model.embedding_width))
            row = write.add("embeddings.token_type", segments)
            if model.segment_rows > 1:
                type_ids = build.input(TYPE_IDS, ElementType.INT64, ("batch", "tokens"))
                row = build.node("Gather", [row, type_ids], {"axis": 0})
            total = build.node("Add", [total, row])
        if model.embedding_width != model.width:
            total = write.multiply(total, ("embeddings.embed_proj",), "embeddings.embed_proj")
        return write.normalise(total, "embeddings.LayerNorm", model.epsilon)

    def _distances(self, tokens: str) -> _Distances:
        write, build, model = self.layers, self.layers.builder, self.model
        table = write.read("encoder.rel_embeddings.weight")[: 2 * model.span]
        check_shape("rel_embeddings", table.shape, (2 * model.span, model.width))
        if model.normalised:
            weight, bias = (write.read(f"encoder.LayerNorm.{part}") for part in ("weight", "bias"))
            table = _normalise(table, weight, bias, model.epsilon)
        longest = model.max_tokens
        # Columns for all places there can be; a run takes those around the middle.
        offsets = np.arange(-longest, longest + 1)
        axis = attention.integers(build, 0)
        middle = attention.integers(build, longest + 1)
        start, stop = build.node("Sub", [middle, tokens]), build.node("Add", [middle, tokens])

        def cut(rows: NDArray[np.int64]) -> str:
            return build.node("Slice", [build.constant(rows), start, stop, axis])

        from_first = build.constant(embedding_rows(model, -np.arange(longest)))
        return _Distances(
            tokens=tokens,
            embeddings=table,
            asked=cut(embedding_rows(model, -offsets)),
            asking=cut(embedding_rows(model, offsets)),
            from_first=build.node("Slice", [from_first, attention.integers(build, 0), tokens, axis]),
        )

    def _layer(self, states: str, index: int, distances: _Distances | None, *, first_token_only: bool) -> str:
        write, model, at = self.layers, self.model, f"encoder.layer.{index}"
        build = write.builder
        names = tuple(f"{at}.attention.self.{part}_proj" for part in _QKV)
        if first_token_only:
            asking = attention.first_token(build, states)
            query = write.linear(asking, names[:1], f"{at}.attention.query")
            joined = write.linear(states, names[1:], f"{at}.attention.memory")
            key, value = attention.split(build, joined, f"{at}.attention", _QKV[1:])
        else:
            asking = states
            joined = write.linear(states, names, f"{at}.attention.self")
            query, key, value = attention.split(build, joined, f"{at}.attention", _QKV)
        scale = 1 / math.sqrt(model.width // model.heads * (1 + len(model.kinds)))
        scores = ""
        if distances is not None:
            tables = self._project(distances.embeddings, at, scale)
            write_scores = self._scores_of_first if first_token_only else self._scores
            scores = write_scores(query, key, tables, distances)
        attended = attention.attend(build, (query, key, value), model.heads, score_bias=scores, scale=scale)
        attended = write.multiply(attended, (f"{at}.attention.output.dense",), f"{at}.attention.output")
        states = self._add_and_normalise(attended, asking, f"{at}.attention.output")
        inner = write.multiply(states, (f"{at}.intermediate.dense",), f"{at}.intermediate")
        inner = write.activate(inner, model.activation, f"{at}.intermediate.dense.bias")
        outer = write.multiply(inner, (f"{at}.output.dense",), f"{at}.output")
        return self._add_and_normalise(outer, states, f"{at}.output")

    def _project(self, embeddings: Floats, at: str, scale: float) -> dict[str, str]:
        """The embeddings of distances as keys ("c2p") and queries ("p2c"), scaled, shape `(2 * span, width)`."""
        own = {"c2p": "pos_key_proj", "p2c": "pos_query_proj"}
        shared = {"c2p": "key_proj", "p2c": "query_proj"}
        found: dict[str, str] = {}
        for kind in sorted(self.model.kinds):
            name = f"{at}.attention.self.{(shared if self.model.shared else own)[kind]}"
            product = embeddings @ self.layers.read(f"{name}.weight").T + self.layers.read(f"{name}.bias")
            found[kind] = self.layers.add(f"{at}.attention.{kind}", (product * np.float32(scale)).astype(np.float32))
        return found

    def _scores(self, query: str, key: str, tables: dict[str, str], distances: _Distances) -> str:
        """What distances add to each token's score for each, shape `(batch, heads, tokens, tokens)`."""
        build = self.layers.builder
        parts: list[str] = []
        if "c2p" in tables:
            table = tables["c2p"]
            parts.append(self._line_up(query, table, distances.asked, distances.tokens))
        if "p2c" in tables:
            table = tables["p2c"]
            by_asked = self._line_up(key, table, distances.asking, distances.tokens)
            parts.append(build.node("Transpose", [by_asked], {"perm": [0, 1, 3, 2]}))
        return parts[0] if len(parts) == 1 else build.node("Add", parts)

    def _line_up(self, states: str, table: str, rows: str, tokens: str) -> str:
        """Products of each token (i) with distances, as columns 0 … tokens - 1: the distance of column j is j - i."""
        build = self.layers.builder
        by_distance = build.node("Transpose", [self._heads(build.node("Gather", [table, rows], {"axis": 0}), 1)],
                                 {"perm": [0, 2, 1]})  # fmt: skip
        states = build.node("Transpose", [self._heads(states, 2)], {"perm": [0, 2, 1, 3]})
        product = build.node("MatMul", [states, by_distance])
        heads, every = attention.integers(build, 0, 0), attention.integers(build, -1)
        flat = build.node("Reshape", [product, build.node("Concat", [heads, every], {"axis": 0})])
        one, axis = attention.integers(build, 1), attention.integers(build, 2)
        double = build.node("Add", [tokens, tokens])
        columns = build.node("Sub", [double, one])
        first = build.node("Sub", [tokens, one])
        stop = build.node("Add", [first, build.node("Mul", [tokens, columns])])
        shifted = build.node("Slice", [flat, first, stop, axis])
        shape = build.node("Concat", [heads, tokens, columns], {"axis": 0})
        square = build.node("Reshape", [shifted, shape])
        return build.node("Slice", [square, attention.integers(build, 0), tokens, attention.integers(build, 3)])

    def _scores_of_first(self, query: str, key: str, tables: dict[str, str], distances: _Distances) -> str:
        """As `_scores` where only the first token asks, shape `(batch, heads, 1, tokens)`."""
        build = self.layers.builder
        parts: list[str] = []
        if "c2p" in tables:
            table = tables["c2p"]
            keys = self._heads(build.node("Gather", [table, distances.from_first], {"axis": 0}), 1)
            keys = build.node("Transpose", [keys], {"perm": [0, 2, 1]})
            asking = build.node("Transpose", [self._heads(query, 2)], {"perm": [0, 2, 1, 3]})
            parts.append(build.node("MatMul", [asking, keys]))
        if "p2c" in tables:
            table = tables["p2c"]
            queries = build.node("Gather", [table, distances.from_first], {"axis": 0})
            product = self._heads(build.node("Mul", [key, queries]), 2)
            total = build.node("ReduceSum", [product, attention.integers(build, 3)], {"keepdims": 0})
            total = build.node("Transpose", [total], {"perm": [0, 2, 1]})
            parts.append(build.node("Unsqueeze", [total, attention.integers(build, 2)]))
        return parts[0] if len(parts) == 1 else build.node("Add", parts)

    def _heads(self, states: str, before: int) -> str:
        """Divide the width into heads; `before` axes stand before it. Of two axes in all, heads come first."""
        build, heads = self.layers.builder, self.model.heads
        shape = attention.integers(build, *[0] * before, heads, self.model.width // heads)
        divided = build.node("Reshape", [states, shape])
        return divided if before > 1 else build.node("Transpose", [divided], {"perm": [1, 0, 2]})

    def _convolve(self, embedded: str, states: str, convolution: Convolution) -> str:
        write, build, model = self.layers, self.layers.builder, self.model
        side = (convolution.kernel - 1) // 2
        weight = write.read("encoder.conv.conv.weight")
        turned = build.node("Transpose", [embedded], {"perm": [0, 2, 1]})
        inputs = [turned, write.add("encoder.conv.weight", weight), write.vector("encoder.conv.conv.bias")]
        out = build.node("Conv", inputs, {"pads": [side, side], "group": convolution.groups})
        out = apply(build, build.node("Transpose", [out], {"perm": [0, 2, 1]}), convolution.activation)
        return write.normalise(build.node("Add", [states, out]), "encoder.conv.LayerNorm", model.epsilon)

    def _add_and_normalise(self, states: str, skipped: str, at: str) -> str:
        return self.layers.add_and_normalise(states, skipped, f"{at}.LayerNorm", f"{at}.dense.bias", self.model.epsilon)


def _normalise(rows: Floats, weight: Floats, bias: Floats, epsilon: float) -> Floats:
    centred = rows.astype(np.float64) - rows.mean(axis=1, keepdims=True, dtype=np.float64)
    scaled = centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + epsilon)
    return (scaled * weight + bias).astype(np.float32)
