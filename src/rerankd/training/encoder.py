"""BERT's body in torch without padding: all texts' tokens lie in one row, only attention tells texts apart.

The names of the parameters are those of `BertModel` in transformers, so its files are read and written as they are.
Positions count from 0 in every text and the segment is 0 throughout, as `rerankd.convert.encoder` writes its graphs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, scaled_dot_product_attention


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of an encoder, by the names of `config.json`."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12


class Encoder(nn.Module):
    """Ids of many texts in, their last hidden states out."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embeddings = _Embeddings(shape)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(_Layer(shape) for _ in range(shape.num_hidden_layers))})

    def forward(self, ids: Sequence[Sequence[int]]) -> list[Tensor]:
        """Encode tokenised texts, each of at least one token: states of shape `(tokens, width)` for each, in order."""
        device = self.embeddings.word_embeddings.weight.device
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        sizes = [len(ids[place]) for place in order]
        packed = torch.tensor([one for place in order for one in ids[place]], device=device)
        positions = torch.cat([torch.arange(size, device=device) for size in sizes])
        states = self.embeddings(packed, positions)
        blocks = [(size, len(list(same))) for size, same in groupby(sizes)]
        for layer in self._layers():
            states = layer(states, blocks)
        parts = dict(zip(order, states.split(sizes), strict=True))
        return [parts[place] for place in range(len(ids))]

    def _layers(self) -> Iterator["_Layer"]:
        for layer in cast("nn.ModuleList", self.encoder["layer"]):
            yield cast("_Layer", layer)


class _Embeddings(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.position_embeddings = nn.Embedding(shape.max_position_embeddings, shape.hidden_size)
        self.token_type_embeddings = nn.Embedding(shape.type_vocab_size, shape.hidden_size)
        self.LayerNorm = nn.LayerNorm(shape.hidden_size, shape.layer_norm_eps)

    def forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        total = self.word_embeddings(ids) + self.position_embeddings(positions) + self.token_type_embeddings.weight[0]
        return self.LayerNorm(total)


class _Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = _Attention(shape)
        self.intermediate = _Dense(shape.hidden_size, shape.intermediate_size)
        self.output = _Output(shape.intermediate_size, shape)

    def forward(self, states: Tensor, blocks: Sequence[tuple[int, int]]) -> Tensor:
        states = self.attention(states, blocks)
        return self.output(gelu(self.intermediate.dense(states)), states)


class _Dense(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)


class _Output(nn.Module):
    def __init__(self, inputs: int, shape: Shape) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, shape.hidden_size)
        self.LayerNorm = nn.LayerNorm(shape.hidden_size, shape.layer_norm_eps)

    def forward(self, inner: Tensor, skipped: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(inner) + skipped)


class _SelfAttention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.num_attention_heads
        self.query = nn.Linear(shape.hidden_size, shape.hidden_size)
        self.key = nn.Linear(shape.hidden_size, shape.hidden_size)
        self.value = nn.Linear(shape.hidden_size, shape.hidden_size)

    def forward(self, states: Tensor, blocks: Sequence[tuple[int, int]]) -> Tensor:
        parts = (self.query, self.key, self.value)
        weight, bias = torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
        joined = linear(states, weight, bias)
        width, outputs = states.shape[1], list[Tensor]()
        rows = cast("tuple[Tensor, ...]", cast("Any", joined).split([size * count for size, count in blocks]))
        for (size, count), block in zip(blocks, rows, strict=True):
            shaped = block.view(count, size, 3, self.heads, width // self.heads)
            query, key, value = shaped.permute(2, 0, 3, 1, 4).unbind(0)
            found = scaled_dot_product_attention(query, key, value)
            outputs.append(found.transpose(1, 2).reshape(size * count, width))
        return torch.cat(outputs)


class _Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self = _SelfAttention(shape)
        self.output = _Output(shape.hidden_size, shape)

    def forward(self, states: Tensor, blocks: Sequence[tuple[int, int]]) -> Tensor:
        return self.output(self.self(states, blocks), states)
