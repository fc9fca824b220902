"""BERT and RoBERTa without padding: a cross-encoder's logits, or an encoder's token states.

As transformers computes them (models/bert, models/roberta: modeling_*.py); with a head, the last layer works for the
first token only, since nothing reads the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch.nn import functional

from rerankd.engines._torch_attention import Spans, attend
from rerankd.engines._torch_config import Activation, Config, activation, integer, number
from rerankd.engines._torch_kinds import ENCODERS
from rerankd.engines._torch_network import Piece, States, together
from rerankd.engines._torch_weights import TensorFiles
from rerankd.errors import EngineFailure, UnsupportedModel

Linear = tuple[torch.Tensor, torch.Tensor]
"""A matrix and its bias, or a LayerNorm's weight and bias."""


@dataclass(frozen=True, slots=True)
class _Layer:
    joined: Linear
    output: Linear
    output_norm: Linear
    inner: Linear
    outer: Linear
    outer_norm: Linear


@dataclass(frozen=True, slots=True)
class Encoder:
    """See the module and `_torch_network.Network`. `head`: the two linear layers of a classifier; () for none."""

    roberta: bool
    pad_id: int
    heads: int
    activation: Activation
    epsilon: float
    words: torch.Tensor
    places: torch.Tensor
    segments: torch.Tensor
    norm: Linear
    layers: Sequence[_Layer]
    head: Sequence[Linear]
    shares_prefixes: bool = field(default=False)

    def states(self, ids: torch.Tensor) -> States:
        """Never asked for: every token sees every other."""
        raise EngineFailure(f"an encoder has no prefix of {ids.shape[0]} tokens to share")

    def run(self, pieces: Sequence[Piece]) -> Sequence[torch.Tensor]:
        """Logits of each piece with a head, its token states without."""
        counts = tuple(piece.tokens for piece in pieces)
        states = self._embed(pieces)
        spans = Spans(counts, counts, causal=False, device=states.device)
        first = torch.tensor([end - count for end, count in zip(accumulate(counts), counts, strict=True)],
                             device=states.device)  # fmt: skip
        for index, layer in enumerate(self.layers):
            joined = functional.linear(states, *layer.joined)
            query, key, value = (part.reshape(part.shape[0], self.heads, -1) for part in torch.chunk(joined, 3, -1))
            if self.head and index == len(self.layers) - 1:
                query, states = query[first], states[first]
                spans = Spans((1,) * len(pieces), counts, causal=False, device=states.device)
            states = self._finish(layer, states, attend(query, key, value, spans))
        if not self.head:
            return torch.split_with_sizes(states, counts)
        return functional.linear(functional.linear(states, *self.head[0]).tanh(), *self.head[1]).unbind()

    def _embed(self, pieces: Sequence[Piece]) -> torch.Tensor:
        ids, places = together(pieces)
        if self.roberta:  # as create_position_ids_from_input_ids: tokens that are the padding id do not count
            counted = [(piece.ids != self.pad_id).long() for piece in pieces]
            places = torch.cat([one.cumsum(0) * one for one in counted]) + self.pad_id
        states = functional.embedding(ids, self.words) + functional.embedding(places, self.places)
        if self.segments.shape[0] > 1:
            states = states + functional.embedding(torch.cat([piece.type_ids for piece in pieces]), self.segments)
        else:
            states = states + self.segments[0]
        return self._normalise(states, self.norm)

    def _finish(self, layer: _Layer, states: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        states = self._normalise(functional.linear(attended.flatten(1), *layer.output) + states, layer.output_norm)
        inner = self.activation(functional.linear(states, *layer.inner))
        return self._normalise(functional.linear(inner, *layer.outer) + states, layer.outer_norm)

    def _normalise(self, states: torch.Tensor, norm: Linear) -> torch.Tensor:
        return functional.layer_norm(states, states.shape[-1:], *norm, self.epsilon)


def check(config: Config) -> None:
    """Refuse what is not built.

    Raises:
        UnsupportedModel: relative positions, a decoder, an unknown activation, or another kind of model.
    """
    if config.get("model_type") not in ENCODERS:
        raise UnsupportedModel(f"model_type {config.get('model_type')!r} is no encoder that the torch engine runs")
    if config.get("position_embedding_type", "absolute") not in {"absolute", None}:
        raise UnsupportedModel("only absolute positions are built: position_embedding_type says otherwise")
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise UnsupportedModel("is_decoder or add_cross_attention is set in config.json: only encoders are built")
    activation(config.get("hidden_act", "gelu"))


def open_encoder(config: Config, files: TensorFiles) -> Encoder:
    """Read an encoder's weights, and a head where the architecture's name ends in ForSequenceClassification.

    Raises:
        UnsupportedModel, ModelLoadError: the files are no such model.
    """
    check(config)
    roberta = ENCODERS[str(config["model_type"])] == "roberta"
    width, heads = integer(config, "hidden_size", 768), integer(config, "num_attention_heads", 12)
    if width % heads:
        raise UnsupportedModel(f"hidden_size {width} is no multiple of num_attention_heads {heads}")
    at = files.prefix("embeddings.word_embeddings.weight", ("", "bert.", "roberta.", "camembert.", "model."))
    tables = {
        "word": integer(config, "vocab_size", 30522),
        "position": integer(config, "max_position_embeddings", 512),
        "token_type": integer(config, "type_vocab_size", 2),
    }
    words, places, segments = (
        files.read(f"{at}embeddings.{name}_embeddings.weight", (rows, width)) for name, rows in tables.items()
    )
    inner = integer(config, "intermediate_size", 3072)
    count = integer(config, "num_hidden_layers", 12)
    return Encoder(
        roberta=roberta,
        pad_id=integer(config, "pad_token_id", 1 if roberta else 0, least=0),
        heads=heads,
        activation=activation(config.get("hidden_act", "gelu")),
        epsilon=number(config, "layer_norm_eps", 1e-12),
        words=words,
        places=places,
        segments=segments,
        norm=_norm(files, f"{at}embeddings.LayerNorm", width),
        layers=[_open_layer(files, f"{at}encoder.layer.{index}.", width, inner) for index in range(count)],
        head=_open_head(config, files, at, roberta=roberta, width=width),
    )


def _open_layer(files: TensorFiles, at: str, width: int, inner: int) -> _Layer:
    names = [f"{at}attention.self.{part}" for part in ("query", "key", "value")]
    return _Layer(
        joined=(
            files.stack([f"{name}.weight" for name in names], [(width, width)] * 3),
            files.stack([f"{name}.bias" for name in names], [(width,)] * 3),
        ),
        output=_linear(files, f"{at}attention.output.dense", (width, width)),
        output_norm=_norm(files, f"{at}attention.output.LayerNorm", width),
        inner=_linear(files, f"{at}intermediate.dense", (inner, width)),
        outer=_linear(files, f"{at}output.dense", (width, inner)),
        outer_norm=_norm(files, f"{at}output.LayerNorm", width),
    )


def _open_head(config: Config, files: TensorFiles, at: str, *, roberta: bool, width: int) -> Sequence[Linear]:
    names = config.get("architectures")
    if not (isinstance(names, Sequence) and names and str(names[0]).endswith("ForSequenceClassification")):
        return ()
    hidden, out = ("classifier.dense", "classifier.out_proj") if roberta else (f"{at}pooler.dense", "classifier")
    if not files.has(f"{out}.weight"):
        raise UnsupportedModel(f"the weights have no {out!r}: this is no sequence classifier")
    labels = files.labels(f"{out}.weight")
    return _linear(files, hidden, (width, width)), _linear(files, out, (labels, width))


def _linear(files: TensorFiles, name: str, shape: tuple[int, int]) -> Linear:
    return files.read(f"{name}.weight", shape), files.read(f"{name}.bias", shape[:1])


def _norm(files: TensorFiles, name: str, width: int) -> Linear:
    return files.read(f"{name}.weight", (width,)), files.read(f"{name}.bias", (width,))
