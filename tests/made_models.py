"""Tiny classifiers of transformers' own classes with random weights, saved as a published model is.

Weights have a large spread, so that every part of the network shows in the score.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from tokenizers import Tokenizer

import tiny

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def make(
    folder: Path,
    kind: str,
    tokenizer: Tokenizer,
    tokenizer_config: Mapping[str, object],
    *,
    seed: int = 0,
    std: float = 0.3,
    **config: Any,
) -> Path:
    """Write a classifier of one label: `kind` is the beginning of its classes' names in transformers."""
    settings = getattr(transformers, f"{kind}Config")(vocab_size=tokenizer.get_vocab_size(), num_labels=1, **config)
    model: Any = getattr(transformers, f"{kind}ForSequenceClassification")(settings)
    spread(model, seed, std)
    model.save_pretrained(folder)
    write_tokenizer(folder, tokenizer, tokenizer_config)
    return folder


def spread(model: torch.nn.Module, seed: int, std: float) -> None:
    """Give every parameter a random value; those of norms stay near one."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=random)
            is_norm = "norm" in name.lower() and name.endswith("weight") and parameter.ndim == 1
            parameter.copy_(1 + 0.2 * values if is_norm else std * values)


def write_tokenizer(folder: Path, tokenizer: Tokenizer, config: Mapping[str, object]) -> None:
    """Put a tokenizer beside a model."""
    tokenizer.save(str(folder / "tokenizer.json"))
    merged = {name: value for name, value in {"model_max_length": 64, **config}.items() if value is not None}
    (folder / "tokenizer_config.json").write_text(json.dumps(merged), "utf-8")


def change_config(folder: Path, **entries: object) -> None:
    """Change entries of config.json; None takes one out."""
    path = folder / "config.json"
    config = {**json.loads(path.read_text("utf-8")), **entries}
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}), "utf-8")


def rename_tensors(folder: Path, rename: Callable[[str], str]) -> None:
    """Give a saved model's tensors other names."""
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {rename(name): tensor for name, tensor in tensors.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


BERT_TOKENS: Mapping[str, object] = {
    "tokenizer_class": "BertTokenizer",
    "do_lower_case": True,
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "mask_token": "[MASK]",
}
XLMR_TOKENS: Mapping[str, object] = {
    "tokenizer_class": "XLMRobertaTokenizer",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


def distilbert(folder: Path, **config: Any) -> Path:
    """DistilBERT, whose tokenizer gives no segment ids."""
    small = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 64}
    tokens = {**BERT_TOKENS, "tokenizer_class": "DistilBertTokenizer"}
    return make(folder, "DistilBert", tiny.wordpiece(), tokens, **{**small, **config})


def electra(folder: Path, **config: Any) -> Path:
    """ELECTRA with embeddings narrower than its layers."""
    small = {**SMALL, "embedding_size": 16, "max_position_embeddings": 64}
    tokens = {**BERT_TOKENS, "tokenizer_class": "ElectraTokenizer"}
    return make(folder, "Electra", tiny.wordpiece(), tokens, **{**small, **config})


def gte(folder: Path, **config: Any) -> Path:
    """GTE as transformers saves it: the tensors are those of the original."""
    return make(folder, "Gte", tiny.unigram(), XLMR_TOKENS, **{**SMALL, "max_position_embeddings": 64, **config})


def xlm_roberta(folder: Path, **config: Any) -> Path:
    """XLM-RoBERTa of 64 positions."""
    small: dict[str, Any] = {
        **SMALL,
        "max_position_embeddings": 66,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 1,
    }
    return make(folder, "XLMRoberta", tiny.unigram(), XLMR_TOKENS, **{**small, **config})


FLASH_NAMES = (
    ("embeddings.LayerNorm", "emb_ln"),
    ("encoder.layer.", "encoder.layers."),
    ("attention.output.dense", "mixer.out_proj"),
    ("attention.output.LayerNorm", "norm1"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    ("output.LayerNorm", "norm2"),
)
"""XLM-RoBERTa's tensors to those of jinaai/xlm-roberta-flash-implementation (convert_roberta_weights_to_flash.py)."""


def as_jina_v2(folder: Path, original: Path) -> Path:
    """Write XLM-RoBERTa as jina-reranker-v2 is published: other names, query, key and value in one matrix."""
    shutil.copytree(original, folder)
    tensors = load_file(original / "model.safetensors")
    for layer in {name.split(".attention.self.")[0] for name in tensors if ".attention.self." in name}:
        for kind in ("weight", "bias"):
            parts = [tensors.pop(f"{layer}.attention.self.{part}.{kind}") for part in ("query", "key", "value")]
            tensors[f"{layer}.mixer.Wqkv.{kind}"] = torch.cat(parts)
    for old, new in FLASH_NAMES:
        tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    change_config(
        folder,
        use_flash_attn=True,
        auto_map={"AutoModelForSequenceClassification": "modeling_xlm_roberta.XLMRobertaForSequenceClassification"},
    )
    return folder


def modernbert(folder: Path, tokenizer_class: str = "PreTrainedTokenizerFast", **config: Any) -> Path:
    """ModernBERT with windows that reach four tokens to each side."""
    tokenizer = tiny.wordpiece()
    ids = {f"{role}_token_id": tokenizer.token_to_id(f"[{role.upper()}]") for role in ("pad", "cls", "sep")}
    small = {
        **SMALL,
        **ids,
        "bos_token_id": ids["cls_token_id"],
        "eos_token_id": ids["sep_token_id"],
        "num_hidden_layers": 4,
        "local_attention": 8,
        "max_position_embeddings": 64,
    }
    tokens = {
        **BERT_TOKENS,
        "tokenizer_class": tokenizer_class,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    merged: dict[str, Any] = {**small, **config}
    return make(folder, "ModernBert", tokenizer, tokens, **merged)


def deberta(folder: Path, tokens: Mapping[str, object] | None = None, **config: Any) -> Path:
    """DeBERTa v3: distances in both directions, in buckets so few that far ones share."""
    small: dict[str, Any] = {
        **SMALL,
        "max_position_embeddings": 64,
        "relative_attention": True,
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": "p2c|c2p",
        "position_biased_input": False,
        "max_relative_positions": -1,
    }
    merged: dict[str, Any] = {**small, **config}
    tokenizer_config: dict[str, object] = {
        **BERT_TOKENS,
        "tokenizer_class": "DebertaV2Tokenizer",
        "do_lower_case": False,
        "bos_token": "[CLS]",
        "eos_token": "[SEP]",
        **(tokens or {}),
    }
    return make(folder, "DebertaV2", tiny.deberta_unigram(), tokenizer_config, **merged)


def chain(folder: Path, encoder: Path, modules: Sequence[torch.nn.Module], **options: Any) -> Path:
    """Save modules behind an encoder as the reference does, with random weights in all of them."""
    body = encoder.with_name("body")
    transformers.AutoModel.from_pretrained(encoder).save_pretrained(body)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (body / name).write_bytes((encoder / name).read_bytes())
    for number, module in enumerate(modules):
        spread(module, seed=number, std=0.3)
    model = CrossEncoder(modules=[Transformer(str(body)), *modules], **options)
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


def as_published_gte(folder: Path, original: Path, **config: object) -> Path:
    """Write GTE as Alibaba publishes it: the same tensors below "new.", another configuration."""
    shutil.copytree(original, folder)
    rename_tensors(folder, lambda name: name.replace("gte.", "new."))
    entries: dict[str, object] = {
        "architectures": ["NewForSequenceClassification"],
        "model_type": "new",
        "rope_parameters": None,
        "rope_theta": 160_000.0,
        "rope_scaling": None,
        "position_embedding_type": "rope",
        "layer_norm_type": "layer_norm",
        "pack_qkv": True,
        "unpad_inputs": False,
        "use_memory_efficient_attention": False,
        "logn_attention_scale": False,
    }
    change_config(folder, **{**entries, **config})
    return folder
