"""The engine contract: what runs a network on one device. An engine knows nothing of texts, scores or requests."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """One sequence ready for the network: token ids and segment ids, both of shape `(tokens,)`."""

    ids: Ids
    type_ids: Ids

    @property
    def tokens(self) -> int:
        """How many tokens the network reads."""
        return int(self.ids.shape[0])


@dataclass(frozen=True, slots=True)
class Graph:
    """A network on disk: an ONNX file, and the precision it computes in ("fp32", "int8", …)."""

    path: Path
    precision: str


class Engine(Protocol):
    """Runs one model on one device. Called from several worker threads at once; may block."""

    @property
    def max_batch_tokens(self) -> int:
        """How many tokens one call should carry; 0 when single sequences are fastest (CPU: padding only costs)."""
        ...

    def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
        """Return one array per encoding, in the order given: the graph's first output without its batch axis.

        For a classifier that is the logits, shape `(labels,)`; for an encoder the token states, `(tokens, width)`.
        """
        ...

    def close(self) -> None:
        """Free the device's memory. No `run` is under way, and none comes after."""
        ...


class EngineFactory(Protocol):
    """What an engine module exports as `ENGINE`."""

    def missing(self) -> str:
        """Say what must be installed before this engine can run; "" when it can."""
        ...

    def open(self, graph: Graph) -> Engine:
        """Load a network.

        Raises:
            ModelLoadError: the file is no network this engine can run.
        """
        ...
