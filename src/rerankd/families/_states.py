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
_PAGE_ROWS = 16  # half a page is lost per text, on average
_ENTRY_BYTES = 512  # the key, its pages, the dataclass and the dictionary's slots, rounded up; every text has a page
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


@dataclass(frozen=True, slots=True)
class _Held:
    """Where a text's states lie: pages in order, how many rows of them, and what else is known of the text."""

    pages: NDArray[np.intp]
    rows: int
    tokens: int
    cut: bool


class StateCache:
    """The states last used, in pages of one block of memory. Thread-safe; what does not fit is simply not kept.

    The block is taken whole when the first states are put in (a model's warm-up does that), so that memory neither
    grows nor fragments with requests served.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._codes: NDArray[np.int8] = np.empty((0, 0), np.int8)
        self._inverse_norms: Array = np.empty(0, np.float32)
        self._free: list[int] = []
        self._pages: int | None = None
        self._held: OrderedDict[bytes, _Held] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes taken now, never more than the bound."""
        return self._codes.nbytes + self._inverse_norms.nbytes + (self._pages or 0) * _ENTRY_BYTES

    def get(self, keys: Sequence[bytes]) -> dict[bytes, States]:
        """Return copies of the states that are known."""
        found: dict[bytes, States] = {}
        with self._lock:
            for key in keys:
                held = self._held.get(key)
                if held is not None:
                    self._held.move_to_end(key)
                    rows = _rows_of(held.pages, held.rows)
                    found[key] = States(self._codes[rows], self._inverse_norms[rows], held.tokens, held.cut)
        return found

    def put(self, key: bytes, states: States) -> None:
        """Remember states, and forget the least recently used ones to make room."""
        rows, width = states.codes.shape
        wanted = -(-rows // _PAGE_ROWS)
        with self._lock:
            if self._pages is None:
                self._take(width)
            if wanted > (self._pages or 0):
                return
            if key in self._held:
                self._free.extend(self._held.pop(key).pages)
            while len(self._free) < wanted:
                self._free.extend(self._held.popitem(last=False)[1].pages)
            pages = np.array([self._free.pop() for _ in range(wanted)], np.intp)
            places = _rows_of(pages, rows)
            self._codes[places] = states.codes
            self._inverse_norms[places] = states.inverse_norms
            self._held[key] = _Held(pages, rows, states.tokens, states.cut)

    def _take(self, width: int) -> None:
        self._pages = self._max_bytes // (_PAGE_ROWS * (width + 4) + _ENTRY_BYTES)
        self._free = list(range(self._pages))
        # full, not zeros: the pages are the process's from now on, not from whenever they are first written
        self._codes = np.full((self._pages * _PAGE_ROWS, width), 0, np.int8)
        self._inverse_norms = np.full(self._pages * _PAGE_ROWS, 0, np.float32)


def _rows_of(pages: NDArray[np.intp], rows: int) -> NDArray[np.intp]:
    return (pages[:, None] * _PAGE_ROWS + np.arange(_PAGE_ROWS)).reshape(-1)[:rows]
