"""Attention over sequences that lie one behind another without padding: each sees itself, and its prefix if it has one.

On CUDA in half precision one variable-length kernel does the whole batch (torch.nn.attention.varlen, torch >= 2.10);
elsewhere scaled_dot_product_attention runs once per sequence, which costs no padding either.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from itertools import accumulate

import torch
from torch.nn import functional

_HALF = frozenset({torch.float16, torch.bfloat16})


@dataclass(frozen=True)
class Spans:
    """Where each sequence lies: how many tokens ask, and how many they look at (their prefix included).

    With `causal`, a token sees those before it: the last one that asks sees all.
    """

    asking: tuple[int, ...]
    seen: tuple[int, ...]
    causal: bool
    device: torch.device

    @cached_property
    def masks(self) -> Sequence[torch.Tensor | None]:
        """What each sequence's tokens may see where it is not all and not a plain triangle; made once a batch."""
        return [
            torch.ones(ask, see, dtype=torch.bool, device=self.device).tril(see - ask)
            if self.causal and 1 < ask < see
            else None
            for ask, see in zip(self.asking, self.seen, strict=True)
        ]

    @cached_property
    def bounds(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Cumulative ends for the variable-length kernel, both of shape `(sequences + 1,)`."""
        ends = ([0, *accumulate(counts)] for counts in (self.asking, self.seen))
        asking, seen = (torch.tensor(list(each), dtype=torch.int32, device=self.device) for each in ends)
        return asking, seen


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, spans: Spans) -> torch.Tensor:
    """Attend within each span; query `(asking tokens, heads, size)`, key and value `(seen tokens, kv heads, size)`.

    Returns the shape of `query`.
    """
    grouped = query.shape[1] != key.shape[1]
    if query.is_cuda and query.dtype in _HALF and _has_varlen():
        return _attend_at_once(query, key, value, spans, grouped=grouped)
    parts: list[torch.Tensor] = []
    asking = torch.split_with_sizes(query, spans.asking)
    keys, values = (torch.split_with_sizes(part, spans.seen) for part in (key, value))
    pieces = zip(asking, keys, values, spans.masks, strict=True)
    for q, k, v, mask in pieces:
        triangle = spans.causal and mask is None and q.shape[0] > 1
        parts.append(
            functional.scaled_dot_product_attention(
                *(part.transpose(0, 1).unsqueeze(0) for part in (q, k, v)),
                attn_mask=mask,
                is_causal=triangle,
                enable_gqa=grouped,
            )
            .squeeze(0)
            .transpose(0, 1)
        )
    return torch.cat(parts)


@cache
def _has_varlen() -> bool:
    return find_spec("torch.nn.attention.varlen") is not None


def _attend_at_once(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, spans: Spans, *, grouped: bool
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    asking, seen = spans.bounds
    found = varlen_attn(
        query, key, value, asking, seen, max(spans.asking), max(spans.seen),
        window_size=(-1, 0) if spans.causal else (-1, -1), enable_gqa=grouped,
    )  # fmt: skip
    return found if isinstance(found, torch.Tensor) else found[0]
