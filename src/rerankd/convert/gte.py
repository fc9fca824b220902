"""Alibaba's GTE, `model_type` "new" (gte-multilingual-reranker-base), and its form in transformers, "gte".

Rotary positions and a gated inner layer. Built after Alibaba-NLP/new-impl (modeling.py; its flags `unpad_inputs` and
`use_memory_efficient_attention` change how, not what is computed) and transformers/models/gte. No code of the model's
repository is run.
"""

from collections.abc import Mapping

from rerankd.convert import fields
from rerankd.convert.base import Linear
from rerankd.convert.layers import ACTIVATIONS
from rerankd.convert.postnorm import Names, PostNorm, Rotary
from rerankd.errors import UnsupportedModel

_NAMES = Names(
    qkv=("attention.qkv_proj",),
    attended="attention.o_proj",
    attention_norm="attn_ln",
    inner="mlp.up_gate_proj",
    outer="mlp.down_proj",
    norm="mlp_ln",
    gate="last",
)


def read_new(config: fields.Config) -> PostNorm:
    """Take from the `config.json` of `model_type` "new" what the graph depends on.

    Raises:
        UnsupportedModel: a variant that would need another graph.
    """
    fields.choice(config, "position_embedding_type", "rope", ("rope",))
    fields.choice(config, "layer_norm_type", "layer_norm", ("layer_norm",))
    fields.refuse(config, "logn_attention_scale", because="attention scaled by length cannot be converted")
    if not config.get("pack_qkv", True):
        raise UnsupportedModel("pack_qkv is false in config.json: only query, key and value in one matrix are known")
    base, head_width = fields.number(config, "rope_theta", 10000.0), _head_width(config)
    scaling = config.get("rope_scaling")
    if scaling is None:
        return _read(config, base, 1.0)
    if not isinstance(scaling, Mapping) or scaling.get("type") != "ntk" or scaling.get("mixed_b") is not None:
        raise UnsupportedModel(f"rope_scaling {scaling!r} cannot be converted: only the type 'ntk' without mixed_b can")
    # https://kexue.fm/archives/9706, formula 6: the base grows, and the lowest frequency is divided by the factor.
    factor = fields.number(scaling, "factor", 1.0)
    if factor <= 1:
        return _read(config, base, 1.0)
    return _read(config, base * factor, factor ** (2 / head_width))


def read_gte(config: fields.Config) -> PostNorm:
    """As `read_new`, for `model_type` "gte", which keeps the rotation's base in `rope_parameters`."""
    rope = fields.section(config, "rope_parameters")
    kind = rope.get("rope_type", "default")
    if kind != "default" or config.get("rope_scaling"):
        raise UnsupportedModel(f"rope_type {kind!r} or rope_scaling cannot be converted: only 'default' can")
    base = fields.number(rope, "rope_theta", fields.number(config, "rope_theta", 160_000.0))
    return _read(config, base, 1.0)


def _head_width(config: fields.Config) -> int:
    return fields.per_head(
        fields.integer(config, "hidden_size", 768), fields.integer(config, "num_attention_heads", 12)
    )


def _read(config: fields.Config, base: float, divide: float) -> PostNorm:
    width = fields.integer(config, "hidden_size", 768)
    _head_width(config)
    return PostNorm(
        what="GTE encoder",
        prefixes=("", "new.", "gte."),
        namings=(_NAMES,),
        steps=(Linear("{prefix}pooler.dense", "tanh"), Linear("classifier")),
        vocabulary=fields.integer(config, "vocab_size", 30528),
        layers=fields.integer(config, "num_hidden_layers", 12),
        width=width,
        heads=fields.integer(config, "num_attention_heads", 12),
        activation=fields.choice(config, "hidden_act", "gelu", ACTIVATIONS),
        epsilon=fields.number(config, "layer_norm_eps", 1e-12),
        positions=Rotary(base, divide, fields.integer(config, "max_position_embeddings", 2048)),
        segment_rows=fields.integer(config, "type_vocab_size", 1, least=0),
        embedding_width=width,
    )
