"""Causal language models as rerankers: Qwen2, Qwen3, Gemma and Llama, up to a few logits of each sequence's last token.

As transformers computes them (models/qwen2, qwen3, gemma, llama: modeling_*.py), with three things left out because
nothing reads them: padding, the other rows of the output matrix, and the last layer's work on all tokens but the last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch.nn import functional

from rerankd.engines._torch_attention import Spans, attend
from rerankd.engines._torch_config import Activation, Config, activation, integer, number
from rerankd.engines._torch_kinds import DECODERS
from rerankd.engines._torch_network import Piece, States, together
from rerankd.engines._torch_weights import TensorFiles
from rerankd.errors import ModelLoadError, UnsupportedModel

_SIZES: Mapping[str, int] = {"gemma": 256, "qwen3": 128}  # of a head, where config.json does not say


@dataclass(frozen=True, slots=True)
class Shape:
    """What `config.json` says of a decoder."""

    kind: str
    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    size: int
    vocabulary: int
    epsilon: float
    theta: float
    activation: Activation
    tied: bool

    @property
    def parts(self) -> tuple[int, int, int]:
        """Widths of query, key and value, side by side in one matrix."""
        return self.heads * self.size, self.kv_heads * self.size, self.kv_heads * self.size


def read_shape(config: Config) -> Shape:
    """Check `config.json` and take from it what the network depends on; defaults are those of transformers.

    Raises:
        UnsupportedModel: a variant that is not built.
    """
    kind = str(config.get("model_type"))
    if kind not in DECODERS:
        raise UnsupportedModel(f"model_type {kind!r} is no language model that the torch engine runs")
    if config.get("use_sliding_window"):
        raise UnsupportedModel("use_sliding_window is set in config.json: sliding windows are not built")
    width, heads = integer(config, "hidden_size"), integer(config, "num_attention_heads")
    name = config.get("hidden_activation") or config.get("hidden_act")
    if kind == "gemma" and name in {None, "gelu"}:  # an old spelling; see transformers' GemmaConfig
        name = "gelu_pytorch_tanh"
    return Shape(
        kind=kind,
        layers=integer(config, "num_hidden_layers"),
        width=width,
        inner=integer(config, "intermediate_size"),
        heads=heads,
        kv_heads=integer(config, "num_key_value_heads", heads),
        size=integer(config, "head_dim", _SIZES.get(kind, width // heads)),
        vocabulary=integer(config, "vocab_size"),
        epsilon=number(config, "rms_norm_eps", 1e-6),
        theta=_theta(config),
        activation=activation(name or "silu"),
        tied=bool(config.get("tie_word_embeddings", kind == "gemma")),
    )


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer's weights; `norms` are those of query and key heads (Qwen3), `bias` that of the joined matrix."""

    before: torch.Tensor
    joined: torch.Tensor
    bias: torch.Tensor | None
    norms: tuple[torch.Tensor, torch.Tensor] | None
    output: torch.Tensor
    output_bias: torch.Tensor | None
    between: torch.Tensor
    gates: torch.Tensor
    down: torch.Tensor


@dataclass(frozen=True, slots=True)
class Decoder:
    """See the module and `_torch_network.Network`. `head` holds the wanted rows of the output matrix, in fp32."""

    shape: Shape
    words: torch.Tensor
    layers: Sequence[_Layer]
    last_norm: torch.Tensor
    head: torch.Tensor
    frequencies: torch.Tensor
    shares_prefixes: bool = field(default=True)

    def states(self, ids: torch.Tensor) -> States:
        """Keys and values of every layer; the last one's attention would change nothing that is kept."""
        found: list[tuple[torch.Tensor, torch.Tensor]] = []
        turns = self._turns(torch.arange(ids.shape[0], device=ids.device))
        spans = Spans((ids.shape[0],), (ids.shape[0],), causal=True, device=ids.device)
        states = self._embed(ids)
        for layer in self.layers:
            query, key, value = self._project(layer, states, turns)
            found.append((key, value))
            if len(found) < len(self.layers):
                states = self._finish(layer, states, attend(query, key, value, spans))
        return found

    def run(self, pieces: Sequence[Piece]) -> Sequence[torch.Tensor]:
        """Logits of the wanted rows at each piece's last token."""
        ids, places = together(pieces)
        turns = self._turns(places)
        counts = tuple(piece.tokens for piece in pieces)
        seen = tuple(piece.before + piece.tokens for piece in pieces)
        spans = Spans(counts, seen, causal=True, device=ids.device)
        last = torch.tensor([end - 1 for end in accumulate(counts)], device=ids.device)
        states = self._embed(ids)
        for index, layer in enumerate(self.layers):
            query, key, value = self._project(layer, states, turns)
            key, value = (_behind_prefixes(own, pieces, counts, index, side) for side, own in enumerate((key, value)))
            if index == len(self.layers) - 1:
                query, states = query[last], states[last]
                spans = Spans((1,) * len(pieces), seen, causal=True, device=ids.device)
            states = self._finish(layer, states, attend(query, key, value, spans))
        final = self._norm(states, self.last_norm)
        return (final.float() @ self.head.T).unbind()

    def _embed(self, ids: torch.Tensor) -> torch.Tensor:
        states = functional.embedding(ids, self.words)
        if self.shape.kind == "gemma":  # rounded to the network's precision first, as in transformers
            states = states * torch.tensor(self.shape.width**0.5, dtype=states.dtype, device=states.device)
        return states

    def _turns(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines of rotary positions, shape `(tokens, 1, head size)`."""
        angles = places[:, None].float() * self.frequencies
        angles = torch.cat((angles, angles), -1)[:, None, :]
        return angles.cos().to(self.words.dtype), angles.sin().to(self.words.dtype)

    def _project(
        self, layer: _Layer, states: torch.Tensor, turns: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Query, key and value of every token, shape `(tokens, heads, size)` each."""
        joined = functional.linear(self._norm(states, layer.before), layer.joined, layer.bias)
        parts = torch.split_with_sizes(joined, self.shape.parts, -1)
        query, key, value = (part.reshape(part.shape[0], -1, self.shape.size) for part in parts)
        if layer.norms:
            query, key = self._norm(query, layer.norms[0]), self._norm(key, layer.norms[1])
        return _turn(query, turns), _turn(key, turns), value

    def _finish(self, layer: _Layer, states: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        states = states + functional.linear(attended.flatten(1), layer.output, layer.output_bias)
        gate, up = functional.linear(self._norm(states, layer.between), layer.gates).chunk(2, -1)
        return states + functional.linear(self.shape.activation(gate) * up, layer.down)

    def _norm(self, states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        wide = states.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.shape.epsilon)
        if self.shape.kind == "gemma":  # (x * (1 + w)) rounded once; the others round x first
            return (wide * (1.0 + weight.float())).to(states.dtype)
        return weight * wide.to(states.dtype)


def open_decoder(config: Config, files: TensorFiles, answers: Sequence[int]) -> Decoder:
    """Read a decoder's weights. Without `answers` its head is the classifier's (`score.weight`).

    Raises:
        UnsupportedModel, ModelLoadError: the files are no such model.
    """
    shape = read_shape(config)
    words = "embed_tokens.weight"
    prefix = files.prefix(words, ("model.", ""))
    layers = [_open_layer(shape, files, f"{prefix}layers.{index}.") for index in range(shape.layers)]
    table = files.read(prefix + words, (shape.vocabulary, shape.width))
    steps = torch.arange(0, shape.size, 2, dtype=torch.float, device=table.device) / shape.size
    return Decoder(
        shape=shape,
        words=table,
        layers=layers,
        last_norm=files.read(f"{prefix}norm.weight", (shape.width,)),
        head=_open_head(shape, files, prefix + words, answers),
        frequencies=1.0 / (shape.theta**steps),
    )


def _open_head(shape: Shape, files: TensorFiles, words: str, answers: Sequence[int]) -> torch.Tensor:
    if not answers:
        if not files.has("score.weight"):
            raise UnsupportedModel("the weights have no 'score.weight': this is no sequence classifier")
        return files.read("score.weight", (1, shape.width)).float()
    if max(answers) >= shape.vocabulary:
        raise ModelLoadError(f"the tokenizer's token {max(answers)} is beyond the model's {shape.vocabulary}")
    return files.rows(words if shape.tied or not files.has("lm_head.weight") else "lm_head.weight", answers)


def _open_layer(shape: Shape, files: TensorFiles, at: str) -> _Layer:
    names = [f"{at}self_attn.{part}_proj" for part in "qkv"]
    width, inner = shape.width, shape.inner
    biased = files.has(f"{names[0]}.bias")
    normed = files.has(f"{at}self_attn.q_norm.weight")
    outer = f"{at}self_attn.o_proj"
    return _Layer(
        before=files.read(f"{at}input_layernorm.weight", (width,)),
        joined=files.stack([f"{name}.weight" for name in names], [(part, width) for part in shape.parts]),
        bias=files.stack([f"{name}.bias" for name in names], [(part,) for part in shape.parts]) if biased else None,
        norms=(
            files.read(f"{at}self_attn.q_norm.weight", (shape.size,)),
            files.read(f"{at}self_attn.k_norm.weight", (shape.size,)),
        )
        if normed
        else None,
        output=files.read(f"{outer}.weight", (width, shape.parts[0])),
        output_bias=files.read(f"{outer}.bias", (width,)) if files.has(f"{outer}.bias") else None,
        between=files.read(f"{at}post_attention_layernorm.weight", (width,)),
        gates=files.stack([f"{at}mlp.gate_proj.weight", f"{at}mlp.up_proj.weight"], [(inner, width)] * 2),
        down=files.read(f"{at}mlp.down_proj.weight", (width, inner)),
    )


def _theta(config: Config) -> float:
    """The base of rotary positions: transformers 5 nests it, earlier files have it on top."""
    nested = config.get("rope_parameters") or config.get("rope_scaling")
    if isinstance(nested, Mapping):
        kind = nested.get("rope_type", nested.get("type", "default"))
        if kind != "default":
            raise UnsupportedModel(f"rotary positions of type {kind!r} are not built: only 'default' are")
        if "rope_theta" in nested:
            return number(nested, "rope_theta", 10000.0)
    return number(config, "rope_theta", 10000.0)


def _turn(states: torch.Tensor, turns: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    cosines, sines = turns
    first, second = states.chunk(2, -1)
    return states * cosines + torch.cat((-second, first), -1) * sines


def _behind_prefixes(
    own: torch.Tensor, pieces: Sequence[Piece], counts: Sequence[int], layer: int, side: int
) -> torch.Tensor:
    """Put each piece's keys (side 0) or values (side 1) behind those of its prefix."""
    if not any(piece.prefix for piece in pieces):
        return own
    parts: list[torch.Tensor] = []
    for piece, part in zip(pieces, torch.split_with_sizes(own, counts), strict=True):
        parts += [piece.prefix[layer][side], part] if piece.prefix else [part]
    return torch.cat(parts)
