"""The late-interaction model in torch, for training: the same definition as `families/late_interaction.py`.

What that module computes from 8-bit states in numpy, this one computes from full-precision states with gradients.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from rerankd.families.late_interaction import LateInteractionConfig
from rerankd.training.encoder import Encoder


@dataclass(frozen=True, slots=True)
class TextStates:
    """What the encoder made of one text.

    `tokens` are all token states, shape `(tokens, width)`, fp32; `content` marks the tokens MaxSim looks at.
    """

    tokens: Tensor
    content: Tensor


class LateInteraction(nn.Module):
    """An encoder that reads each text by itself, and the score of two texts' states."""

    def __init__(self, encoder: Encoder, tokenizer: Tokenizer, config: LateInteractionConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.config = config

    def encode(
        self, queries: Sequence[str], documents: Sequence[str], max_tokens: int
    ) -> tuple[list[TextStates], list[TextStates]]:
        """Encode both sides in one pass; texts are cut after `max_tokens`, special tokens and prefix included."""
        sides = (self.config.query, self.config.document)
        dressed = [
            side.prefix + text for side, texts in zip(sides, (queries, documents), strict=True) for text in texts
        ]
        self.tokenizer.enable_truncation(min(max_tokens, self.config.max_tokens))
        ids = [read.ids for read in self.tokenizer.encode_batch(dressed)]
        starts = [side.content_from for side, texts in zip(sides, (queries, documents), strict=True) for _ in texts]
        found = [
            TextStates(states.float(), self._content(one, start, states.device))
            for states, one, start in zip(self.encoder(ids), ids, starts, strict=True)
        ]
        return found[: len(queries)], found[len(queries) :]

    def scores(self, queries: Sequence[TextStates], documents: Sequence[TextStates]) -> Tensor:
        """Score every query with every document: shape `(queries, documents)`, before calibration."""
        mix = self.config.mix
        cosine = means(queries) @ means(documents).T
        return mix.scale * (mix.cosine * cosine + mix.maxsim * maxsim(queries, documents) + mix.bias)

    def _content(self, ids: Sequence[int], start: int, device: torch.device) -> Tensor:
        special = self.config.special_ids
        marks = [place >= start and one not in special for place, one in enumerate(ids)]
        return torch.tensor(marks, device=device)


def means(texts: Sequence[TextStates]) -> Tensor:
    """Return unit vectors along the means over all tokens, shape `(texts, width)`."""
    return normalize(torch.stack([text.tokens.mean(dim=0) for text in texts]), dim=1)


def maxsim(queries: Sequence[TextStates], documents: Sequence[TextStates]) -> Tensor:
    """Return the mean over a query's content tokens of the largest cosine with a document's content token.

    Shape `(queries, documents)`. As in the server, a document without content has -1 and a query without content 0.
    """
    left = [normalize(text.tokens[text.content], dim=1) for text in queries]
    right = pad_sequence([normalize(text.tokens[text.content], dim=1) for text in documents], batch_first=True)
    sizes = torch.tensor([int(text.content.sum()) for text in documents], device=right.device)
    absent = torch.arange(right.shape[1], device=right.device) >= sizes[:, None]
    flat = torch.cat(left) @ right.flatten(0, 1).T
    found = flat.view(flat.shape[0], right.shape[0], right.shape[1]).masked_fill(absent, -1.0)
    best = found.amax(dim=2) if right.shape[1] else found.new_full(found.shape[:2], -1.0)
    counts = torch.tensor([len(one) for one in left], device=best.device)
    owners = torch.repeat_interleave(torch.arange(len(left), device=best.device), counts)
    total = best.new_zeros(len(left), len(documents)).index_add(0, owners, best)
    return total / counts.clamp(min=1)[:, None]
