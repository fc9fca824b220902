"""BERT, RoBERTa, DistilBERT and ELECTRA: absolute positions, heads of different shapes.

Also jina-reranker-v2, which is XLM-RoBERTa whose tensors bear the names of flash-attention's BERT
(jinaai/jina-reranker-v2-base-multilingual, modeling_xlm_roberta.py), and jina-reranker-v1 (see `jina`), whose
configuration says "bert" too.
"""

from dataclasses import replace

from rerankd.convert import fields, jina
from rerankd.convert.base import Linear
from rerankd.convert.layers import ACTIVATIONS
from rerankd.convert.postnorm import Absolute, Names, PostNorm
from rerankd.errors import UnsupportedModel

_FLASH = Names(
    layer="encoder.layers",
    qkv=("mixer.Wqkv",),
    attended="mixer.out_proj",
    attention_norm="norm1",
    inner="mlp.fc1",
    outer="mlp.fc2",
    norm="norm2",
    embedding_norm="emb_ln",
)
_DISTILBERT = Names(
    layer="transformer.layer",
    qkv=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    attended="attention.out_lin",
    attention_norm="sa_layer_norm",
    inner="ffn.lin1",
    outer="ffn.lin2",
    norm="output_layer_norm",
)


def read_bert(config: fields.Config) -> PostNorm:
    """Take from BERT's `config.json` what the graph depends on; defaults are those of transformers.

    Raises:
        UnsupportedModel: a variant that would need another graph.
    """
    if config.get("position_embedding_type") == "alibi":
        return jina.read_jina(config)
    return _read(config)


def read_roberta(config: fields.Config) -> PostNorm:
    """As `read_bert`, for RoBERTa, XLM-RoBERTa and CamemBERT."""
    read = _read(config)
    pad_id = fields.integer(config, "pad_token_id", 1, least=0)
    return replace(
        read,
        positions=Absolute(fields.integer(config, "max_position_embeddings", 512), padding=pad_id),
        namings=(Names(), _FLASH),
        steps=(Linear("classifier.dense", "tanh"), Linear("classifier.out_proj")),
    )


def read_electra(config: fields.Config) -> PostNorm:
    """As `read_bert`, for ELECTRA, whose embeddings may be narrower than its layers."""
    read = _read(config, width=256, heads=4)
    return replace(
        read,
        embedding_width=fields.integer(config, "embedding_size", 128),
        steps=(Linear("classifier.dense", "gelu"), Linear("classifier.out_proj")),
    )


def read_distilbert(config: fields.Config) -> PostNorm:
    """As `read_bert`, for DistilBERT, which has no segments and names of its own in `config.json`."""
    width = fields.integer(config, "dim", 768)
    model = PostNorm(
        what="DistilBERT encoder",
        prefixes=("", "distilbert."),
        namings=(_DISTILBERT,),
        steps=(Linear("pre_classifier", "relu"), Linear("classifier")),
        vocabulary=fields.integer(config, "vocab_size", 30522),
        layers=fields.integer(config, "n_layers", 6),
        width=width,
        heads=fields.integer(config, "n_heads", 12),
        activation=fields.choice(config, "activation", "gelu", ACTIVATIONS),
        epsilon=1e-12,
        positions=Absolute(fields.integer(config, "max_position_embeddings", 512)),
        segment_rows=0,
        embedding_width=width,
    )
    fields.per_head(model.width, model.heads)
    return model


def _read(config: fields.Config, *, width: int = 768, heads: int = 12) -> PostNorm:
    if config.get("position_embedding_type", "absolute") not in {"absolute", None}:
        raise UnsupportedModel(
            f"position_embedding_type {config['position_embedding_type']!r} cannot be converted: only 'absolute' can"
        )
    fields.refuse(config, "is_decoder", "add_cross_attention", because="a decoder cannot be converted, only an encoder")
    width = fields.integer(config, "hidden_size", width)
    model = PostNorm(
        what="BERT or RoBERTa encoder",
        prefixes=("", "bert.", "roberta.", "camembert.", "electra.", "model."),
        namings=(Names(),),
        steps=(Linear("{prefix}pooler.dense", "tanh"), Linear("classifier")),
        vocabulary=fields.integer(config, "vocab_size", 30522),
        layers=fields.integer(config, "num_hidden_layers", 12),
        width=width,
        heads=fields.integer(config, "num_attention_heads", heads),
        activation=fields.choice(config, "hidden_act", "gelu", ACTIVATIONS),
        epsilon=fields.number(config, "layer_norm_eps", 1e-12),
        positions=Absolute(fields.integer(config, "max_position_embeddings", 512)),
        segment_rows=fields.integer(config, "type_vocab_size", 2),
        embedding_width=width,
    )
    fields.per_head(model.width, model.heads)
    return model
