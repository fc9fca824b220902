"""A fake engine, shipped for tests of everything above engines: its answers can be worked out from the ids by hand.

It needs no file. With a graph of precision "states" it answers as an encoder, with any other as a classifier.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rerankd.engines.base import Array, Encoding, Engine, Graph, Plan
from rerankd.errors import EngineFailure
from rerankd.types import JsonValue

WIDTH = 4
"""Of the token states."""
STATES = "states"
"""The precision that makes it an encoder."""


def logit(encoding: Encoding) -> float:
    """The fake's logit: the mean over tokens of (id + segment id) modulo 97, less 48; 0 for no tokens."""
    return float(_values(encoding).mean()) if encoding.tokens else 0.0


def states(encoding: Encoding) -> Array:
    """The fake's token states, shape `(tokens, WIDTH)`: column k of a token is its value times k + 1, over 48."""
    return (_values(encoding)[:, np.newaxis] * np.arange(1, WIDTH + 1) / 48).astype(np.float32)


@dataclass(slots=True)
class FakeEngine:
    """Answers at once. `closed` tells a test whether it was closed."""

    encoder: bool
    closed: bool = False

    @property
    def max_batch_tokens(self) -> int:
        """Single sequences."""
        return 0

    def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
        """See `engines.base.Engine`.

        Raises:
            EngineFailure: the engine is closed.
        """
        if self.closed:
            raise EngineFailure("the engine is closed: nothing can run on it any more")
        if self.encoder:
            return [states(encoding) for encoding in batch]
        return [np.array([logit(encoding)], np.float32) for encoding in batch]

    def close(self) -> None:
        """Note it."""
        self.closed = True


@dataclass(frozen=True, slots=True)
class FakeEngineFactory:
    """Opens anything."""

    def missing(self) -> str:
        """Nothing is."""
        return ""

    def plan(self, config: Mapping[str, JsonValue]) -> Plan | None:
        """None: a graph is needed."""
        del config
        return None

    def open(self, graph: Graph) -> Engine:
        """Make an engine; the graph's file is not looked at."""
        return FakeEngine(encoder=graph.precision == STATES)


ENGINE = FakeEngineFactory()


def _values(encoding: Encoding) -> Array:
    return ((encoding.ids + encoding.type_ids) % 97 - 48).astype(np.float32)
