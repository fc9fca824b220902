"""JinaBERT, as jina-reranker-v1: ALiBi for positions, a gated inner layer.

Built after jinaai/jina-bert-implementation (modeling_bert.py; also huggingface/text-embeddings-inference,
backends/candle/src/models/jina.rs) and its relative that normalises query and key
(jinaai/jina-bert-v2-qk-post-norm; jina_code.rs there). No code of the model's repository is run.
"""

from rerankd.convert import fields
from rerankd.convert.base import Linear
from rerankd.convert.postnorm import Alibi, Names, PostNorm

_PLAIN = Names(inner="mlp.gated_layers", outer="mlp.wo", norm="mlp.layernorm", gate="first")
_NORMALISED = Names(
    qk_norms=("attention.self.layer_norm_q", "attention.self.layer_norm_k"),
    second_norm="layer_norm_1",
    inner="mlp.up_gated_layer",
    outer="mlp.down_layer",
    norm="layer_norm_2",
    gate="last",
)
_ACTIVATIONS = {"geglu": "gelu", "reglu": "relu"}


def read_jina(config: fields.Config) -> PostNorm:
    """Take from JinaBERT's `config.json` what the graph depends on.

    Raises:
        UnsupportedModel: a variant that would need another graph.
    """
    fields.refuse(config, "is_decoder", "add_cross_attention", because="a decoder cannot be converted, only an encoder")
    kind = fields.choice(config, "feed_forward_type", "original", _ACTIVATIONS)
    width = fields.integer(config, "hidden_size", 768)
    model = PostNorm(
        what="JinaBERT encoder",
        prefixes=("", "bert."),
        namings=(_PLAIN, _NORMALISED),
        steps=(Linear("{prefix}pooler.dense", "tanh"), Linear("classifier")),
        vocabulary=fields.integer(config, "vocab_size", 30522),
        layers=fields.integer(config, "num_hidden_layers", 12),
        width=width,
        heads=fields.integer(config, "num_attention_heads", 12),
        activation=_ACTIVATIONS[kind],
        epsilon=fields.number(config, "layer_norm_eps", 1e-12),
        positions=Alibi(fields.integer(config, "max_position_embeddings", 512)),
        segment_rows=fields.integer(config, "type_vocab_size", 2),
        embedding_width=width,
    )
    fields.per_head(model.width, model.heads)
    return model
