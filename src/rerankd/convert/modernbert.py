"""ModernBERT: normalised before each part, rotary positions, gated inner layers, most layers seeing a window only.

Built after transformers/models/modernbert. A layer with a window is computed in blocks as long as the window reaches
to one side: each block's tokens ask the block itself, the one before and the one after, so that time and memory grow
with the length and not with its square.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rerankd.convert import attention, fields
from rerankd.convert.base import Head, Linear, Norm, Pooling
from rerankd.convert.graph import ElementType, GraphBuilder
from rerankd.convert.layers import ACTIVATIONS, INPUT_IDS, LayerWriter, Rows, apply
from rerankd.convert.weights import Weights, find_prefix
from rerankd.errors import UnsupportedModel
from rerankd.types import JsonValue

_WORDS = "embeddings.tok_embeddings.weight"
_FULL, _SLIDING = "full_attention", "sliding_attention"
_QKV = ("query", "key", "value")
_NEVER = -1e9
"""Added to the score of what lies outside the window; its weight is then exactly 0."""


@dataclass(frozen=True, slots=True)
class ModernBert:
    """One such encoder. `bases` are the rotation's, by kind of layer; a window reaches `reach` tokens to each side."""

    vocabulary: int
    kinds: Sequence[str]
    bases: Mapping[str, float]
    reach: int
    width: int
    heads: int
    activation: str
    epsilon: float
    max_tokens: int
    pooling: Pooling
    head_activation: str

    @property
    def segments(self) -> int:
        """Segments are not told apart."""
        return 1

    def prefix(self, weights: Weights) -> str:
        """See `base.Architecture`."""
        return find_prefix(weights, _WORDS, ("", "model."), "ModernBERT encoder")

    def head(self, weights: Weights, prefix: str) -> Head:
        """norm(activation(dense)), then a linear layer."""
        del weights, prefix
        steps = (Linear("head.dense", self.head_activation), Norm("head.norm", self.epsilon), Linear("classifier"))
        return Head(steps, self.pooling)

    def write(self, layers: LayerWriter, *, first_token_only: bool) -> str:
        """See `base.Architecture`."""
        return _Body(layers, self).write(first_token_only=first_token_only)


def read_modernbert(config: fields.Config) -> ModernBert:
    """Take from ModernBERT's `config.json`, of old or new form, what the graph depends on.

    Raises:
        UnsupportedModel: a variant that would need another graph.
    """
    layers = fields.integer(config, "num_hidden_layers", 22)
    width = fields.integer(config, "hidden_size", 768)
    heads = fields.integer(config, "num_attention_heads", 12)
    fields.per_head(width, heads)
    pooling = fields.choice(config, "classifier_pooling", "cls", ("cls", "mean"))
    return ModernBert(
        vocabulary=fields.integer(config, "vocab_size", 50368),
        kinds=_kinds(config, layers),
        bases={
            _FULL: _base(config, _FULL, "global_rope_theta", 160_000.0),
            _SLIDING: _base(config, _SLIDING, "local_rope_theta", 10_000.0),
        },
        reach=fields.integer(config, "local_attention", 128) // 2,
        width=width,
        heads=heads,
        activation=fields.choice(config, "hidden_activation", "gelu", ACTIVATIONS),
        epsilon=fields.number(config, "norm_eps", 1e-5),
        max_tokens=fields.integer(config, "max_position_embeddings", 8192),
        pooling="mean" if pooling == "mean" else "cls",
        head_activation=fields.choice(config, "classifier_activation", "gelu", ACTIVATIONS),
    )


def _kinds(config: fields.Config, layers: int) -> Sequence[str]:
    said = config.get("layer_types")
    if said is None:
        every = fields.integer(config, "global_attn_every_n_layers", 3)
        return tuple(_SLIDING if index % every else _FULL for index in range(layers))
    kinds = _strings(said)
    if len(kinds) != layers or not set(kinds) <= {_FULL, _SLIDING}:
        raise UnsupportedModel(
            f"layer_types {said!r} cannot be converted: one of {_FULL!r}, {_SLIDING!r} per layer can"
        )
    return kinds


def _strings(value: JsonValue) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _base(config: fields.Config, kind: str, old_name: str, default: float) -> float:
    rope = fields.section(fields.section(config, "rope_parameters"), kind)
    said = rope.get("rope_type", "default")
    if said != "default" or config.get("rope_scaling"):
        raise UnsupportedModel(f"rope_type {said!r} or rope_scaling cannot be converted: only 'default' can")
    return fields.number(rope, "rope_theta", fields.number(config, old_name, default))


@dataclass(frozen=True, slots=True)
class _Blocks:
    """What blocks of a window's reach need to know: names of values in the graph.

    `padding` is how many tokens fill up the last block, `count` how many blocks there are, each of shape `(1,)`;
    `outside`, shape `(blocks, 1, reach, 3 * reach)`, is 0 where a token may look and `_NEVER` elsewhere.
    """

    tokens: str
    padding: str
    count: str
    outside: str


@dataclass(frozen=True, slots=True)
class _Body:
    layers: LayerWriter
    model: ModernBert

    def write(self, *, first_token_only: bool) -> str:
        write, build, model = self.layers, self.layers.builder, self.model
        ids = build.input(INPUT_IDS, ElementType.INT64, ("batch", "tokens"))
        words = write.words(ids, _WORDS, (model.vocabulary, model.width))
        states = write.normalise(words, "embeddings.norm", model.epsilon)
        tables = {kind: self._tables(kind) for kind in sorted(set(model.kinds))}
        whole = model.kinds[:-1] if first_token_only else model.kinds
        blocks = _write_blocks(build, ids, model.reach) if _SLIDING in whole else None
        for index, kind in enumerate(whole):
            states = self._layer(states, index, tables[kind], blocks if kind == _SLIDING else None)
        if first_token_only:
            states = self._last_layer(states, len(model.kinds) - 1, tables[model.kinds[-1]])
        return write.normalise(states, "final_norm", model.epsilon)

    def _tables(self, kind: str) -> tuple[str, str]:
        model = self.model
        cos, sin = attention.rotation(model.bases[kind], model.width // model.heads, model.max_tokens)
        return self.layers.add(f"rotary.{kind}.cos", cos), self.layers.add(f"rotary.{kind}.sin", sin)

    def _layer(self, states: str, index: int, tables: tuple[str, str], blocks: _Blocks | None) -> str:
        write, build, at = self.layers, self.layers.builder, f"layers.{index}"
        joined = write.linear(self._normalise_for_attention(states, index), self._parts(at), f"{at}.attn.Wqkv")
        query, key, value = attention.split(build, joined, f"{at}.attn", _QKV)
        query, key = (attention.rotate(build, part, tables) for part in (query, key))
        if blocks is None:
            attended = attention.attend(build, (query, key, value), self.model.heads)
        else:
            attended = self._attend_in_blocks((query, key, value), blocks)
        return self._finish(states, attended, at)

    def _last_layer(self, states: str, index: int, tables: tuple[str, str]) -> str:
        """Let only the first token ask, of a window only what lies in it; position 0 turns nothing."""
        write, build, at = self.layers, self.layers.builder, f"layers.{index}"
        zero, one = (attention.integers(build, value) for value in (0, 1))
        if self.model.kinds[index] == _SLIDING:
            states = build.node("Slice", [states, zero, attention.integers(build, self.model.reach + 1), one])
        normed = self._normalise_for_attention(states, index)
        parts = self._parts(at)
        query = write.linear(attention.first_token(build, normed), parts[:1], f"{at}.attn.query")
        joined = write.linear(normed, parts[1:], f"{at}.attn.memory")
        key, value = attention.split(build, joined, f"{at}.attn", _QKV[1:])
        key = attention.rotate(build, key, tables)
        attended = attention.attend(build, (query, key, value), self.model.heads)
        return self._finish(attention.first_token(build, states), attended, at)

    def _parts(self, at: str) -> tuple[Rows, ...]:
        width = self.model.width
        return tuple(Rows(f"{at}.attn.Wqkv", part * width, (part + 1) * width) for part in range(3))

    def _normalise_for_attention(self, states: str, index: int) -> str:
        # The first layer follows the embeddings' norm.
        return self.layers.normalise(states, f"layers.{index}.attn_norm", self.model.epsilon) if index else states

    def _finish(self, states: str, attended: str, at: str) -> str:
        write, build = self.layers, self.layers.builder
        states = build.node("Add", [states, write.linear(attended, (f"{at}.attn.Wo",), f"{at}.attn.Wo")])
        normed = write.normalise(states, f"{at}.mlp_norm", self.model.epsilon)
        inner = write.linear(normed, (f"{at}.mlp.Wi",), f"{at}.mlp.Wi")
        gated, rest = attention.split(build, inner, f"{at}.mlp", ("gated", "rest"))
        inner = build.node("Mul", [apply(build, gated, self.model.activation), rest])
        return build.node("Add", [states, write.linear(inner, (f"{at}.mlp.Wo",), f"{at}.mlp.Wo")])

    def _attend_in_blocks(self, states: tuple[str, str, str], blocks: _Blocks) -> str:
        build, reach, width = self.layers.builder, self.model.reach, self.model.width
        query, key, value = states
        shape = build.constant(np.array([-1, reach, width], np.int64))
        asking = build.node("Reshape", [_fill(build, query, 0, blocks.padding), shape])
        key, value = (self._neighbours(part, blocks) for part in (key, value))
        attended = attention.attend(build, (asking, key, value), self.model.heads, score_bias=blocks.outside)
        flat = build.node("Reshape", [attended, build.constant(np.array([1, -1, width], np.int64))])
        zero, one = (attention.integers(build, value) for value in (0, 1))
        return build.node("Slice", [flat, zero, blocks.tokens, one])

    def _neighbours(self, states: str, blocks: _Blocks) -> str:
        """Each block with the one before and the one after, shape `(blocks, 3 * reach, width)`; zeros at the ends."""
        build, reach = self.layers.builder, self.model.reach
        after = build.node("Add", [blocks.padding, attention.integers(build, reach)])
        shape = build.constant(np.array([-1, reach, self.model.width], np.int64))
        filled = build.node("Reshape", [_fill(build, states, reach, after), shape])
        axis = attention.integers(build, 0)
        shifted = [
            build.node("Slice", [filled, start, build.node("Add", [blocks.count, start]), axis])
            for start in (attention.integers(build, shift) for shift in range(3))
        ]
        return build.node("Concat", shifted, {"axis": 1})


def _fill(build: GraphBuilder, states: str, before: int, after: str) -> str:
    """Put zeros before and after the tokens of `(1, tokens, width)`."""
    zero = attention.integers(build, 0)
    pads = build.node("Concat", [attention.integers(build, 0, before, 0), zero, after, zero], {"axis": 0})
    return build.node("Pad", [states, pads])


def _write_blocks(build: GraphBuilder, ids: str, reach: int) -> _Blocks:
    tokens = attention.count_tokens(build, ids)
    size = attention.integers(build, reach)
    filled = build.node("Add", [tokens, attention.integers(build, reach - 1)])
    count = build.node("Div", [filled, size])
    padding = build.node("Sub", [build.node("Mul", [count, size]), tokens])
    # Within a block, token i sees token j of the three blocks where |i - (j - reach)| <= reach.
    near = np.abs(np.arange(reach)[:, np.newaxis] + reach - np.arange(3 * reach)[np.newaxis, :]) <= reach
    starts = build.node("Mul", [attention.places(build, count), size])
    places = build.node(
        "Add",
        [
            build.node("Unsqueeze", [starts, attention.integers(build, 1, 2, 3)]),
            build.constant((np.arange(3 * reach) - reach).reshape(1, 1, 1, -1)),
        ],
    )
    real = build.node(
        "And",
        [
            build.node("GreaterOrEqual", [places, attention.integers(build, 0)]),
            build.node("Less", [places, tokens]),
        ],
    )
    near_term = build.constant(np.where(near, 0, _NEVER).astype(np.float32)[np.newaxis, np.newaxis])
    real_term = build.node(
        "Where", [real, build.constant(np.array(0, np.float32)), build.constant(np.array(_NEVER, np.float32))]
    )
    return _Blocks(tokens, padding, count, build.node("Add", [near_term, real_term]))
