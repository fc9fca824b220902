"""JinaBERT classifiers in plain torch, to compare with: what the model's repository computes, written from its text.

Sources: jinaai/jina-bert-implementation, modeling_bert.py (also huggingface/text-embeddings-inference,
backends/candle/src/models/jina.rs) and jinaai/jina-bert-v2-qk-post-norm, modeling_bert.py (jina_code.rs there, and
huggingface/transformers pull request 27035).
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

import made_models
import tiny

WIDTH, INNER, LAYERS, EPSILON = 32, 64, 2, 1e-12
Tensors = Mapping[str, torch.Tensor]


def write(folder: Path, *, normalised: bool, heads: int = 4, seed: int = 0) -> Path:
    """Write a classifier as published; `normalised` is the variant that normalises query and key."""
    tokenizer = tiny.wordpiece()
    shapes: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (tokenizer.get_vocab_size(), WIDTH),
        "bert.embeddings.token_type_embeddings.weight": (2, WIDTH),
        "bert.pooler.dense.weight": (WIDTH, WIDTH),
        "bert.pooler.dense.bias": (WIDTH,),
        "classifier.weight": (1, WIDTH),
        "classifier.bias": (1,),
        **_norm("bert.embeddings.LayerNorm"),
    }
    for index in range(LAYERS):
        shapes |= _layer_shapes(f"bert.encoder.layer.{index}", normalised=normalised)
    random = torch.Generator().manual_seed(seed)
    tensors = {name: 0.3 * torch.randn(shape, generator=random) for name, shape in shapes.items()}
    tensors |= {name: 1 + value for name, value in tensors.items() if "norm" in name.lower() and "weight" in name}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text("{}", "utf-8")
    made_models.change_config(
        folder,
        architectures=["JinaBertForSequenceClassification"],
        model_type="bert",
        position_embedding_type="alibi",
        feed_forward_type="geglu",
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=heads,
        intermediate_size=INNER,
        max_position_embeddings=64,
        layer_norm_eps=EPSILON,
        id2label={"0": "LABEL_0"},
    )
    made_models.write_tokenizer(folder, tokenizer, made_models.BERT_TOKENS)
    return folder


def _layer_shapes(at: str, *, normalised: bool) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = _norm(f"{at}.attention.output.LayerNorm")
    for part in ("self.query", "self.key", "self.value", "output.dense"):
        shapes |= {f"{at}.attention.{part}.weight": (WIDTH, WIDTH), f"{at}.attention.{part}.bias": (WIDTH,)}
    if not normalised:
        shapes |= {f"{at}.mlp.gated_layers.weight": (2 * INNER, WIDTH), f"{at}.mlp.wo.weight": (WIDTH, INNER)}
        return {**shapes, f"{at}.mlp.wo.bias": (WIDTH,), **_norm(f"{at}.mlp.layernorm")}
    shapes |= {f"{at}.mlp.up_gated_layer.weight": (2 * INNER, WIDTH), f"{at}.mlp.down_layer.weight": (WIDTH, INNER)}
    for norm in ("attention.self.layer_norm_q", "attention.self.layer_norm_k", "layer_norm_1", "layer_norm_2"):
        shapes |= _norm(f"{at}.{norm}")
    return {**shapes, f"{at}.mlp.down_layer.bias": (WIDTH,)}


def _norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}


class Reference:
    """Computes the logit of one sequence."""

    def __init__(self, folder: Path, *, normalised: bool, heads: int = 4) -> None:
        self.tensors: Tensors = load_file(folder / "model.safetensors")
        self.normalised = normalised
        self.heads = heads

    def logit(self, ids: list[int], segments: list[int]) -> float:
        words = self.tensors["bert.embeddings.word_embeddings.weight"][ids]
        states = words + self.tensors["bert.embeddings.token_type_embeddings.weight"][segments]
        states = self._normalise(states, "bert.embeddings.LayerNorm")
        for index in range(LAYERS):
            states = self._layer(states, f"bert.encoder.layer.{index}")
        pooled = torch.tanh(self._linear(states[0], "bert.pooler.dense"))
        return float(self._linear(pooled, "classifier"))

    def _layer(self, states: torch.Tensor, at: str) -> torch.Tensor:
        attended = self._linear(self._attend(states, f"{at}.attention.self"), f"{at}.attention.output.dense")
        after = self._normalise(attended + states, f"{at}.attention.output.LayerNorm")
        if not self.normalised:
            gated, rest = (after @ self.tensors[f"{at}.mlp.gated_layers.weight"].T).split(INNER, dim=-1)
            inner = self._linear(functional.gelu(gated) * rest, f"{at}.mlp.wo")
            return self._normalise(inner + after, f"{at}.mlp.layernorm")
        after = self._normalise(states + after, f"{at}.layer_norm_1")
        up, gated = (after @ self.tensors[f"{at}.mlp.up_gated_layer.weight"].T).split(INNER, dim=-1)
        inner = self._linear(up * functional.gelu(gated), f"{at}.mlp.down_layer")
        return self._normalise(after + inner, f"{at}.layer_norm_2")

    def _attend(self, states: torch.Tensor, at: str) -> torch.Tensor:
        query, key, value = (self._linear(states, f"{at}.{part}") for part in ("query", "key", "value"))
        if self.normalised:
            query = self._normalise(query, f"{at}.layer_norm_q")
            key = self._normalise(key, f"{at}.layer_norm_k")
        tokens = len(states)
        query, key, value = (part.view(tokens, self.heads, -1).transpose(0, 1) for part in (query, key, value))
        scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1]) + self._alibi(tokens)
        return (scores.softmax(dim=-1) @ value).transpose(0, 1).reshape(tokens, WIDTH)

    def _alibi(self, tokens: int) -> torch.Tensor:
        places = torch.arange(tokens)
        distance = (places[None, :] - places[:, None]).abs()
        return -torch.tensor(_slopes(self.heads))[:, None, None] * distance

    def _linear(self, states: torch.Tensor, name: str) -> torch.Tensor:
        return functional.linear(states, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def _normalise(self, states: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return functional.layer_norm(states, (WIDTH,), weight, bias, EPSILON)


def _slopes(heads: int) -> list[float]:
    """`_get_alibi_head_slopes` there."""
    if math.log2(heads).is_integer():
        start = 2 ** (-(2 ** -(math.log2(heads) - 3)))
        return [start * start**i for i in range(heads)]
    closest = 2 ** math.floor(math.log2(heads))
    return _slopes(closest) + _slopes(2 * closest)[0::2][: heads - closest]
