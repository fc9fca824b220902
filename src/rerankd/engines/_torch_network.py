"""What the torch engine asks of a network: run sequences that lie one behind another, shared prefixes already known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

States = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of a prefix, layer by layer, each of shape `(prefix tokens, kv heads, head size)`."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One sequence's tokens after its prefix: ids and segment ids of shape `(tokens,)`, the prefix's states if any."""

    ids: torch.Tensor
    type_ids: torch.Tensor
    prefix: States = ()

    @property
    def tokens(self) -> int:
        """How many are to be computed."""
        return int(self.ids.shape[0])

    @property
    def before(self) -> int:
        """How many stand before them."""
        return int(self.prefix[0][0].shape[0]) if self.prefix else 0


class Network(Protocol):
    """A model's weights on one device, and the way through them."""

    @property
    def shares_prefixes(self) -> bool:
        """Whether a token's states depend on nothing behind it."""
        ...

    def states(self, ids: torch.Tensor) -> States:
        """Compute a prefix; only where `shares_prefixes`."""
        ...

    def run(self, pieces: Sequence[Piece]) -> Sequence[torch.Tensor]:
        """Return one output per piece: logits `(outputs,)`, or token states `(tokens, width)`."""
        ...


def together(pieces: Sequence[Piece]) -> tuple[torch.Tensor, torch.Tensor]:
    """All pieces' ids, and all positions, one behind another; positions go on where the prefix ends."""
    ids = torch.cat([piece.ids for piece in pieces])
    places = [torch.arange(piece.before, piece.before + piece.tokens, device=ids.device) for piece in pieces]
    return ids, torch.cat(places)
