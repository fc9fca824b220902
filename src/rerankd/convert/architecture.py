"""What `config.json` says of a BERT-like encoder, checked to be something the graph writer builds exactly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rerankd.errors import UnsupportedModel
from rerankd.types import JsonValue

Kind = Literal["bert", "roberta"]

KINDS: Mapping[str, Kind] = {"bert": "bert", "roberta": "roberta", "xlm-roberta": "roberta", "camembert": "roberta"}
"""config.json's `model_type` to how positions are counted and which head a classifier has."""

ACTIVATIONS = frozenset({"gelu", "gelu_python", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu", "silu", "swish"})
"""The values of `hidden_act` that are built; transformers/activations.py defines them."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A post-LayerNorm encoder with absolute positions."""

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


def read_architecture(config: Mapping[str, JsonValue]) -> Architecture:
    """Check `config.json` and take from it what the graph depends on; defaults are those of transformers.

    Raises:
        UnsupportedModel: another kind of model, or a variant that would need another graph.
    """
    model_type = config.get("model_type")
    kind = KINDS.get(model_type) if isinstance(model_type, str) else None
    if kind is None:
        raise UnsupportedModel(f"model_type {model_type!r} cannot be converted: only {', '.join(KINDS)} can")
    if config.get("position_embedding_type", "absolute") not in {"absolute", None}:
        raise UnsupportedModel(
            f"position_embedding_type {config['position_embedding_type']!r} cannot be converted: only 'absolute' can"
        )
    for flag in ("is_decoder", "add_cross_attention"):
        if config.get(flag):
            raise UnsupportedModel(f"{flag} is set in config.json: a decoder cannot be converted, only an encoder")
    activation = config.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise UnsupportedModel(f"hidden_act {activation!r} cannot be converted: only {', '.join(sorted(ACTIVATIONS))}")
    architecture = Architecture(
        kind=kind,
        vocabulary=_integer(config, "vocab_size", 30522),
        layers=_integer(config, "num_hidden_layers", 12),
        width=_integer(config, "hidden_size", 768),
        heads=_integer(config, "num_attention_heads", 12),
        inner=_integer(config, "intermediate_size", 3072),
        activation=str(activation),
        epsilon=_number(config, "layer_norm_eps", 1e-12),
        positions=_integer(config, "max_position_embeddings", 512),
        segments=_integer(config, "type_vocab_size", 2),
        pad_id=_integer(config, "pad_token_id", 0 if kind == "bert" else 1, least=0),
    )
    if architecture.width % architecture.heads:
        raise UnsupportedModel(
            f"hidden_size {architecture.width} is no multiple of num_attention_heads {architecture.heads}"
        )
    return architecture


def _integer(config: Mapping[str, JsonValue], name: str, default: int, *, least: int = 1) -> int:
    value = config.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UnsupportedModel(f"config.json says {name} = {value!r}, which is no number of at least {least}")
    return value


def _number(config: Mapping[str, JsonValue], name: str, default: float) -> float:
    value = config.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        raise UnsupportedModel(f"config.json says {name} = {value!r}, which is no positive number")
    return float(value)
