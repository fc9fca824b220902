"""The engine contract: what runs a network on one device. An engine knows nothing of texts, scores or requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rerankd.types import JsonValue

Ids = NDArray[np.int64]
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class SharedPrefix:
    """The first `tokens` ids of every encoding that holds this very object; they are the same in all of them.

    A causal network's states of these tokens do not depend on what follows, so an engine may compute them once and
    keep them for as long as the object lives (it dies with its request). An engine that does not know prefixes is
    still right: the encodings are whole.
    """

    tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """One sequence ready for the network: token ids and segment ids, both of shape `(tokens,)`."""

    ids: Ids
    type_ids: Ids
    prefix: SharedPrefix | None = None

    @property
    def tokens(self) -> int:
        """How many tokens the network reads."""
        return int(self.ids.shape[0])

    @property
    def cost(self) -> int:
        """How many tokens have to be computed for this sequence alone: those after the shared prefix, if any."""
        return self.tokens - (self.prefix.tokens if self.prefix else 0)


@dataclass(frozen=True, slots=True)
class Graph:
    """A network on disk and the precision it computes in ("fp32", "int8", …).

    `kind` tells what `path` is: an ONNX file, or ("weights") a folder with `config.json` and safetensors files that
    an engine with a plan of its own runs. `answers` are the vocabulary's rows whose logits at the last token are a
    language model's output, in this order; other networks have none.
    """

    path: Path
    precision: str
    kind: Literal["onnx", "weights"] = "onnx"
    answers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """How an engine would run a model straight from its weights. `accelerated`: on a device faster than the CPU."""

    precision: str
    accelerated: bool


class Engine(Protocol):
    """Runs one model on one device. Called from several worker threads at once; may block."""

    @property
    def max_batch_tokens(self) -> int:
        """How much `Encoding.cost` one call should carry; 0 when single sequences are fastest."""
        ...

    def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
        """Return one array per encoding, in the order given: the graph's first output without its batch axis.

        For a classifier that is the logits, shape `(labels,)`; for an encoder the token states, `(tokens, width)`.
        """
        ...

    def close(self) -> None:
        """Free the device's memory. No `run` is under way, and none comes after."""
        ...


@runtime_checkable
class Spreading(Protocol):
    """What an engine adds whose one run keeps several of the CPU's cores busy."""

    def spread(self, threads: int) -> bool:
        """Let a run take so many threads from now on; False where it runs on another device, and none are bound."""
        ...


@runtime_checkable
class Resting(Protocol):
    """What an engine adds that keeps memory from run to run."""

    def rest(self) -> None:
        """Give back what only runs need. Called when nothing has run for a while; a run may begin meanwhile."""
        ...


class EngineFactory(Protocol):
    """What an engine module exports as `ENGINE`."""

    def missing(self) -> str:
        """Say what must be installed before this engine can run; "" when it can."""
        ...

    def plan(self, config: Mapping[str, JsonValue]) -> Plan | None:
        """Say how a model of this `config.json` would run from its weights; None: only from a graph, or not at all."""
        ...

    def open(self, graph: Graph) -> Engine:
        """Load a network.

        Raises:
            ModelLoadError: the file is no network this engine can run.
        """
        ...
