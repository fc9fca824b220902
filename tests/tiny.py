"""Makes tiny cross-encoders with random weights and real tokenizers: folders like those of a published model.

Weights have a large spread, so that every part of the network shows in the score.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from rerankd.families.base import Snapshot

CORPUS = (
    "The quick brown fox jumps over the lazy dog.",
    "How many people live in Berlin? Berlin has 3,520,031 inhabitants.",
    "A reranker reads the query and the document together and returns one score.",
    "Reset your password in the settings, under security; it takes a minute.",
    "北京是中国的首都,人口两千多万。",
    "如何重置密码?请在设置里点击安全。",
    "检索增强生成需要一个重排序模型。",
    "今天天气很好,我们去公园散步吧。",
    "機器學習模型可以讀懂繁體中文。",
    "Über die Brücke geht der Weg naïve café résumé.",
)
"""What the tokenizers are trained on."""

_BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_ROBERTA_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]


def tiny_bert(folder: Path, **options: Any) -> Path:
    """Write a BERT classifier.

    Options are entries of `config.json` to change, and `tokenizer_config` (a mapping to merge into
    tokenizer_config.json), `std` (spread of the weights), `seed`, `dtype` ("float32", "float16"), `shards`.
    """
    tokenizer = wordpiece()
    config = {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "type_vocab_size": 2,
        "max_position_embeddings": 64,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }
    tokens = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    tokenizer_config = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "mask_token": "[MASK]",
        "model_max_length": 64,
        **tokens,
    }
    head = {"bert.pooler.dense": True, "classifier": False}
    return _write(folder, tokenizer, config, tokenizer_config, prefix="bert.", head=head, options=options)


def tiny_xlmr(folder: Path, **options: Any) -> Path:
    """Write an XLM-RoBERTa classifier with a unigram tokenizer; options as `tiny_bert`."""
    config = {"architectures": ["XLMRobertaForSequenceClassification"], "model_type": "xlm-roberta"}
    tokenizer_config = {"tokenizer_class": "XLMRobertaTokenizer"}
    return _write_roberta(folder, unigram(), config, tokenizer_config, options)


def tiny_roberta(folder: Path, **options: Any) -> Path:
    """Write a RoBERTa classifier with a byte-level BPE tokenizer; options as `tiny_bert`."""
    config = {"architectures": ["RobertaForSequenceClassification"], "model_type": "roberta"}
    tokenizer_config = {"tokenizer_class": "RobertaTokenizer"}
    return _write_roberta(folder, byte_level(), config, tokenizer_config, options)


def snapshot(folder: Path) -> Snapshot:
    """What the rest of the code gets to see of a folder."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    files = frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return Snapshot(folder, config, files)


def _write_roberta(
    folder: Path,
    tokenizer: Tokenizer,
    config: Mapping[str, object],
    tokenizer_config: Mapping[str, object],
    options: Mapping[str, Any],
) -> Path:
    shared = {"type_vocab_size": 1, "max_position_embeddings": 66, "layer_norm_eps": 1e-5, "pad_token_id": 1}
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
    tokens |= {"unk_token": "<unk>", "mask_token": "<mask>"}
    head = {"classifier.dense": True, "classifier.out_proj": False}
    tokenizer_config = {"model_max_length": 64, **tokens, **tokenizer_config}
    return _write(
        folder, tokenizer, {**shared, **config}, tokenizer_config, prefix="roberta.", head=head, options=options
    )


def _write(
    folder: Path,
    tokenizer: Tokenizer,
    config: Mapping[str, object],
    tokenizer_config: Mapping[str, object],
    *,
    prefix: str,
    head: Mapping[str, bool],
    options: Mapping[str, Any],
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    own = {"tokenizer_config", "std", "seed", "dtype", "shards"}
    config = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "hidden_act": "gelu",
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        **config,
        **{name: value for name, value in options.items() if name not in own},
    }
    config = {name: value for name, value in config.items() if value is not None}
    merged = {**tokenizer_config, **options.get("tokenizer_config", {})}
    merged = {name: value for name, value in merged.items() if value is not None}
    weights = _weights(config, prefix, head, std=options.get("std", 0.3), seed=options.get("seed", 0))
    weights = {name: value.astype(options.get("dtype", "float32")) for name, value in weights.items()}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(merged), "utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    _save(folder, weights, shards=options.get("shards", 1))
    return folder


def _save(folder: Path, weights: Mapping[str, np.ndarray[Any, Any]], *, shards: int) -> None:
    if shards == 1:
        save_file(dict(weights), folder / "model.safetensors", metadata={"format": "pt"})
        return
    places: dict[str, str] = {}
    names = sorted(weights)
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {name: weights[name] for name in names[number::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")


def _weights(
    config: Mapping[str, object], prefix: str, head: Mapping[str, bool], *, std: float, seed: int
) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)

    def size(name: str) -> int:
        return cast("int", config[name])

    width, inner = size("hidden_size"), size("intermediate_size")
    weights: dict[str, np.ndarray[Any, Any]] = {}

    def table(name: str, rows: int, columns: int) -> None:
        weights[name] = random.normal(0, std, (rows, columns)).astype(np.float32)

    def linear(name: str, outputs: int, inputs: int) -> None:
        table(f"{name}.weight", outputs, inputs)
        weights[f"{name}.bias"] = random.normal(0, std, outputs).astype(np.float32)

    def norm(name: str) -> None:
        weights[f"{name}.weight"] = (1 + random.normal(0, 0.2, width)).astype(np.float32)
        weights[f"{name}.bias"] = random.normal(0, 0.2, width).astype(np.float32)

    table(f"{prefix}embeddings.word_embeddings.weight", size("vocab_size"), width)
    table(f"{prefix}embeddings.position_embeddings.weight", size("max_position_embeddings"), width)
    table(f"{prefix}embeddings.token_type_embeddings.weight", size("type_vocab_size"), width)
    norm(f"{prefix}embeddings.LayerNorm")
    for index in range(size("num_hidden_layers")):
        layer = f"{prefix}encoder.layer.{index}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", width, width)
        linear(f"{layer}.attention.output.dense", width, width)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", inner, width)
        linear(f"{layer}.output.dense", width, inner)
        norm(f"{layer}.output.LayerNorm")
    labels = len(cast("Mapping[str, str]", config["id2label"]))
    for name, square in head.items():
        linear(name, width if square else labels, width)
    return weights


def wordpiece() -> Tokenizer:
    """BERT's kind of tokenizer."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=_BERT_SPECIALS, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=ids
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def deberta_unigram() -> Tokenizer:
    """DeBERTa's kind of tokenizer."""
    return _unigram(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"], "[UNK]")


def unigram() -> Tokenizer:
    """XLM-RoBERTa's kind of tokenizer."""
    return _finish_roberta(_unigram(_ROBERTA_SPECIALS, "<unk>"))


def _unigram(specials: list[str], unknown: str) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=specials, unk_token=unknown, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def byte_level() -> Tokenizer:
    """RoBERTa's kind of tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=_ROBERTA_SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _finish_roberta(tokenizer)


def _finish_roberta(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.add_special_tokens(["<mask>"])
    ids = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ids
    )
    return tokenizer
