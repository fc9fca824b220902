"""Makes tiny language models with random weights by transformers' own classes, and real tokenizers of their kinds.

Weights have a large spread, so that every part of the network shows in the score.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3ForSequenceClassification,
)

from tiny import CORPUS

_PROMPTS = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that",
    'the answer can only be "yes" or "no". yes no yes no <Instruct>: <Query>: <Document>: system user assistant',
    "You are a search relevance expert who evaluates how well documents match search queries. query: document: 1 0",
    "Given a query A and a passage B, determine whether the passage contains an answer. Yes No Yes No Yes A: B:",
)
_QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}


def tiny_qwen3(folder: Path, *, classifier: bool = False, **options: Any) -> Path:
    """Write a Qwen3 language model, or a classifier of one label; options are entries of its configuration."""
    tokenizer = _qwen_tokenizer()
    labels = {"num_labels": 1, "pad_token_id": 0} if classifier else {}
    own = {
        "vocab_size": tokenizer.get_vocab_size(),
        "head_dim": 16,
        "tie_word_embeddings": True,
        **labels,
    }
    config = cast("Any", Qwen3Config)(**{**_SMALL, **own, **options})
    made: Any = Qwen3ForSequenceClassification if classifier else Qwen3ForCausalLM
    return _save(folder, made(config), tokenizer, _qwen_settings())


def tiny_qwen2(folder: Path, **options: Any) -> Path:
    """Write a Qwen2 language model; options are entries of its configuration."""
    tokenizer = _qwen_tokenizer()
    own = {
        "vocab_size": tokenizer.get_vocab_size(),
        "tie_word_embeddings": False,
        "rope_theta": 1e6,
    }
    config = cast("Any", Qwen2Config)(**{**_SMALL, **own, **options})
    return _save(folder, Qwen2ForCausalLM(config), tokenizer, _qwen_settings())


def tiny_gemma(folder: Path, **options: Any) -> Path:
    """Write a Gemma language model; options are entries of its configuration."""
    tokenizer = _gemma_tokenizer()
    own = {
        "vocab_size": tokenizer.get_vocab_size(),
        "head_dim": 16,
        "num_key_value_heads": 1,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
    }
    config = cast("Any", GemmaConfig)(**{**_SMALL, **own, **options})
    settings = {"tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>",
                "unk_token": "<unk>"}  # fmt: skip
    return _save(folder, GemmaForCausalLM(config), tokenizer, settings)


def _save(folder: Path, model: PreTrainedModel, tokenizer: Tokenizer, settings: dict[str, str]) -> Path:
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in sorted(cast("Any", model).named_parameters()):
            centre = 1.0 if "norm" in name and not isinstance(model, GemmaForCausalLM) else 0.0
            weight.copy_(torch.randn(weight.shape, generator=random) * 0.25 + centre)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    return folder


def _qwen_settings() -> dict[str, str]:
    return {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}


def _qwen_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_QWEN_PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((*CORPUS, *_repeated(_PROMPTS)), trainer)
    tokenizer.add_tokens(["<think>", "</think>"])
    for word in ("yes", "no"):
        if tokenizer.token_to_id(word) is None:
            tokenizer.add_tokens([word])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _gemma_tokenizer() -> Tokenizer:
    named = ["<pad>", "<eos>", "<bos>", "<unk>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    trainer = trainers.BpeTrainer(
        vocab_size=800,
        special_tokens=[*named, *(f"<0x{number:02X}>" for number in range(256))],
        show_progress=False,
    )
    tokenizer.train_from_iterator((*CORPUS, *_repeated(_PROMPTS)), trainer)
    # Bytes are ordinary entries of the vocabulary there: a text that spells one is no byte.
    said = json.loads(tokenizer.to_str())
    said["added_tokens"] = [token for token in said["added_tokens"] if token["content"] in named]
    return Tokenizer.from_str(json.dumps(said))


def _repeated(texts: Sequence[str]) -> Sequence[str]:
    return [text for text in texts for _ in range(3)]
