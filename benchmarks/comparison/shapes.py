"""Models of the published rerankers' shapes with random weights: as fast as the published ones, of no use otherwise.

Weights are drawn so that every linear layer keeps the spread of its input, as trained ones do: attention is neither
uniform nor one-hot, and scores differ between documents, which makes the comparison of scores mean something.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file  # pyright: ignore[reportUnknownVariableType]

from comparison import places, vocabulary

Weights = dict[str, NDArray[np.float32]]

_READY = "made.json"
_FORMAT = 1
"""Raised when models made before must be made anew."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A network's sizes. `pieces` is the tokenizer's size, `rows` the embedding table's, as in the published model

    where that is affordable.
    """

    kind: str
    layers: int
    width: int
    heads: int
    positions: int
    rows: int
    pieces: int
    like: str

    @property
    def inner(self) -> int:
        """Width of the feed-forward layers."""
        return 4 * self.width


SHAPES: dict[str, Shape] = {
    "minilm-l6": Shape("bert", 6, 384, 12, 512, 30_522, 30_522, "cross-encoder/ms-marco-MiniLM-L6-v2"),
    "bge-base": Shape("xlm-roberta", 12, 768, 12, 514, 24_000, 24_000, "BAAI/bge-reranker-base"),
    "bge-base-250k": Shape("xlm-roberta", 12, 768, 12, 514, 250_002, 24_000, "BAAI/bge-reranker-base"),
    "bge-m3": Shape("xlm-roberta", 24, 1024, 16, 8194, 24_000, 24_000, "BAAI/bge-reranker-v2-m3"),
}
"""By name. bge-base and bge-m3 have a tenth of the published vocabulary: it costs disk and no arithmetic; where its

size counts (start, conversion, memory), bge-base-250k has all of it.
"""

BUNDLED = "rerankd-zh-en"


def prepare(name: str) -> Path:
    """Return a model's folder, made now if it is not there.

    Raises:
        KeyError: there is no such shape.
    """
    shape, folder = SHAPES[name], places.model_folder(name)
    if _is_made(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=folder.parent))
    try:
        write(shape, half)
        shutil.rmtree(folder, ignore_errors=True)
        half.replace(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return folder


def reference(name: str) -> str:
    """What a user would type for a model: a folder, or the bundled model's name."""
    return BUNDLED if name == BUNDLED else str(prepare(name))


def weight_bytes(name: str) -> int:
    """Size of the weights on disk: safetensors, or the graph's data for the bundled model."""
    if name == BUNDLED:
        folder = vocabulary.bundled_folder()
        return sum(file.stat().st_size for file in folder.glob("model.onnx*"))
    return sum(file.stat().st_size for file in prepare(name).glob("*.safetensors"))


def write(shape: Shape, folder: Path, *, seed: int = 0) -> None:
    """Write `config.json`, tokenizer and weights of a classifier with one label into a folder."""
    bert = shape.kind == "bert"
    tokenizer = vocabulary.wordpiece(shape.pieces) if bert else vocabulary.unigram(shape.pieces)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(folder / "config.json", _config(shape))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(shape))
    save_file(_weights(shape, np.random.default_rng(seed)), folder / "model.safetensors", metadata={"format": "pt"})
    _write_json(folder / _READY, {"format": _FORMAT, "shape_of": shape.like})


def _is_made(folder: Path) -> bool:
    try:
        return json.loads((folder / _READY).read_text("utf-8"))["format"] == _FORMAT
    except FileNotFoundError:
        return False


def _config(shape: Shape) -> Mapping[str, object]:
    bert = shape.kind == "bert"
    return {
        "architectures": ["BertForSequenceClassification" if bert else "XLMRobertaForSequenceClassification"],
        "model_type": shape.kind,
        "vocab_size": shape.rows,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.inner,
        "max_position_embeddings": shape.positions,
        "type_vocab_size": 2 if bert else 1,
        "layer_norm_eps": 1e-12 if bert else 1e-5,
        "pad_token_id": 0 if bert else 1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        **({} if bert else {"bos_token_id": 0, "eos_token_id": 2}),
    }


def _tokenizer_config(shape: Shape) -> Mapping[str, object]:
    if shape.kind == "bert":
        tokens = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
        return {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512,
                "mask_token": "[MASK]", **tokens}  # fmt: skip
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
    limit = shape.positions - 2
    return {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": limit, "unk_token": "<unk>",
            "mask_token": "<mask>", **tokens}  # fmt: skip


def _weights(shape: Shape, random: np.random.Generator) -> Weights:
    bert = shape.kind == "bert"
    prefix = "bert" if bert else "roberta"
    weights: Weights = {}

    def table(name: str, rows: int, columns: int, spread: float) -> None:
        weights[f"{name}.weight"] = random.standard_normal((rows, columns), dtype=np.float32) * np.float32(spread)

    def linear(name: str, outputs: int, inputs: int, gain: float = 1.0) -> None:
        table(name, outputs, inputs, gain / inputs**0.5)
        weights[f"{name}.bias"] = random.standard_normal(outputs, dtype=np.float32) * np.float32(0.02)

    def norm(name: str) -> None:
        weights[f"{name}.weight"] = 1 + random.standard_normal(shape.width, dtype=np.float32) * np.float32(0.1)
        weights[f"{name}.bias"] = random.standard_normal(shape.width, dtype=np.float32) * np.float32(0.1)

    embeddings = {"word": shape.rows, "position": shape.positions, "token_type": 2 if bert else 1}
    for name, rows in embeddings.items():
        table(f"{prefix}.embeddings.{name}_embeddings", rows, shape.width, 0.05)
    norm(f"{prefix}.embeddings.LayerNorm")
    for index in range(shape.layers):
        layer = f"{prefix}.encoder.layer.{index}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", shape.width, shape.width)
        linear(f"{layer}.attention.output.dense", shape.width, shape.width)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", shape.inner, shape.width)
        linear(f"{layer}.output.dense", shape.width, shape.inner)
        norm(f"{layer}.output.LayerNorm")
    linear("bert.pooler.dense" if bert else "classifier.dense", shape.width, shape.width)
    linear("classifier" if bert else "classifier.out_proj", 1, shape.width, gain=2.0)
    return weights


def _write_json(file: Path, value: Mapping[str, object]) -> None:
    file.write_text(json.dumps(value, indent=2), "utf-8")
