"""Token states in eight bits, the similarities computed from them, and the bounded memory that keeps them.

States are quantised before they are scored, fresh or remembered, so a score never depends on what the cache held. A
dot product of int8 codes is a whole number below 2**24 (up to a width of 1040), which float32 holds exactly: the
result is the same whatever order the BLAS adds in, however documents are grouped, on every machine.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rerankd.engines.base import Array

_LEVELS = 127
_OVERHEAD_BYTES = 640  # two array objects, the key, the dataclass and the dictionary's slot, measured and rounded up
_GROUP_ROWS = 4096  # rows scored in one product: 6 MB of float32 at width 384, however long the request


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """What the network made of one text. Row 0 is the mean over all its tokens, the others its content tokens.

    `codes` has shape `(1 + content tokens, width)`. Only directions matter, so the scale of a row is not kept;
    `inverse_norms`, shape `(1 + content tokens,)`, makes a row of codes a unit vector (0 for a row of zeros).
    `tokens` counts what was read, special tokens included; `cut` says that the text was longer.
    """

    codes: NDArray[np.int8]
    inverse_norms: Array
    tokens: int
    cut: bool

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes, with what Python needs around it."""
        return self.codes.nbytes + self.inverse_norms.nbytes + _OVERHEAD_BYTES


def quantise(states: Array, content: NDArray[np.bool_], *, cut: bool) -> States:
    """Turn token states of shape `(tokens, width)` into codes; `content` marks the tokens that MaxSim looks at."""
    rows = np.concatenate([states.mean(axis=0, dtype=np.float64, keepdims=True), states[content]]).astype(np.float32)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    steps = np.where(largest > 0, largest, 1) / np.float32(_LEVELS)
    codes = np.rint(rows / steps).astype(np.int8)
    norms = np.sqrt(np.square(codes, dtype=np.float32).sum(axis=1, dtype=np.float64))
    inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return States(codes, inverse.astype(np.float32), int(states.shape[0]), cut)


@dataclass(frozen=True, slots=True, eq=False)
class Similarities:
    """How one query meets each document: cosine of the means, and MaxSim; both of shape `(documents,)`, float64."""

    cosine: NDArray[np.float64]
    maxsim: NDArray[np.float64]


def similarities(query: States, documents: Sequence[States]) -> Similarities:
    """Compare a query with documents.

    MaxSim is the mean, over the query's content tokens, of the largest cosine with a content token of the document
    (Khattab and Zaharia 2020, with a mean in place of the sum). A document without content has MaxSim -1, a query
    without content 0.
    """
    left = query.codes.astype(np.float32)
    cosine = np.empty(len(documents), np.float64)
    maxsim = np.empty(len(documents), np.float64)
    for start, end in _groups(documents):
        group = documents[start:end]
        sizes = np.array([states.codes.shape[0] for states in group])
        firsts = np.cumsum(sizes) - sizes
        right = np.concatenate([states.codes for states in group]).astype(np.float32)
        found = left @ right.T
        found *= np.concatenate([states.inverse_norms for states in group])
        found *= query.inverse_norms[:, None]
        cosine[start:end] = found[0, firsts]
        found[:, firsts] = -1.0  # the means take no part in MaxSim; the least cosine there is stands for no content
        # One contiguous row per document: numpy then adds each row in an order that its neighbours cannot change.
        rows = np.ascontiguousarray(np.maximum.reduceat(found[1:], firsts, axis=1).T, dtype=np.float64)
        maxsim[start:end] = rows.sum(axis=1) / max(1, rows.shape[1])
    return Similarities(cosine, maxsim)


def _groups(documents: Sequence[States]) -> Sequence[tuple[int, int]]:
    groups: list[tuple[int, int]] = []
    start = rows = 0
    for index, states in enumerate(documents):
        if index > start and rows + states.codes.shape[0] > _GROUP_ROWS:
            groups.append((start, index))
            start, rows = index, 0
        rows += states.codes.shape[0]
    return [*groups, (start, len(documents))] if documents else groups


class StateCache:
    """The states last used, up to a number of bytes. Thread-safe; what does not fit is simply not kept."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._held: OrderedDict[bytes, States] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes held now, never more than the bound."""
        return self._bytes

    def get(self, keys: Sequence[bytes]) -> dict[bytes, States]:
        """Return the states that are known. They stay valid for whoever holds them, even when dropped from here."""
        found: dict[bytes, States] = {}
        with self._lock:
            for key in keys:
                states = self._held.get(key)
                if states is not None:
                    self._held.move_to_end(key)
                    found[key] = states
        return found

    def put(self, key: bytes, states: States) -> None:
        """Remember states, and forget the least recently used ones until the bound holds."""
        if states.nbytes > self._max_bytes:
            return
        with self._lock:
            old = self._held.pop(key, None)
            self._bytes += states.nbytes - (old.nbytes if old is not None else 0)
            self._held[key] = states
            while self._bytes > self._max_bytes:
                self._bytes -= self._held.popitem(last=False)[1].nbytes
