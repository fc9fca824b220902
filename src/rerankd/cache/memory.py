"""Scores in this process's memory, in a table whose size never changes: `memory://`.

A set-associative cache, as in a processor: a key belongs to one set of eight places, and the least recently used place
of its set makes room for it. At 32 bytes an entry it holds ten times what a dictionary would, and since the table is
taken whole at the start, memory does not grow with requests served.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rerankd.cache.base import KEY_BYTES, PairScore, ScoreCache

_WAYS = 8
_PLACE = np.dtype([("key", "<u8", 2), ("raw", "<f8"), ("tokens", "<u4"), ("used", "<u4")])
_CUT = np.uint32(1 << 31)  # the top bit of `tokens`
_LAST_TICK = np.iinfo(np.uint32).max

Keys = NDArray[np.uint64]
Indexes = NDArray[np.intp]


class _Memory:
    """Used on the event loop only, so it needs no lock. A thousand keys take well under a millisecond."""

    def __init__(self, max_bytes: int) -> None:
        self._sets = max_bytes // (_WAYS * _PLACE.itemsize)
        self._places = np.full((self._sets, _WAYS), np.zeros((), _PLACE), _PLACE)  # full, not zeros: resident now
        self._tick = 0  # `used` 0 is an empty place

    async def get(self, keys: Sequence[bytes]) -> Sequence[PairScore | None]:
        found: list[PairScore | None] = [None] * len(keys)
        if not keys or not self._sets:
            return found
        wanted = _numbers(keys)
        sets = self._sets_of(wanted)
        match = self._match(wanted, sets)
        (hits,) = np.nonzero(match.any(axis=1))
        ways = match[hits].argmax(axis=1)
        self._places["used"][sets[hits], ways] = self._next_tick()
        for i, place in zip(hits, self._places[sets[hits], ways], strict=True):
            found[i] = PairScore(float(place["raw"]), int(place["tokens"] & ~_CUT), bool(place["tokens"] & _CUT))
        return found

    async def put(self, scores: Mapping[bytes, PairScore]) -> None:
        if not scores or not self._sets:
            return
        keys = _numbers(list(scores))
        sets = self._sets_of(keys)
        raw = np.array([score.raw for score in scores.values()])
        tokens = np.array([score.tokens | (int(_CUT) * score.truncated) for score in scores.values()], np.uint32)
        waiting = np.arange(len(keys))
        while waiting.size:  # one key of each set a round, so that two of the same set do not take the same place
            now = waiting[np.unique(sets[waiting], return_index=True)[1]]
            self._write(keys[now], sets[now], raw[now], tokens[now])
            waiting = np.setdiff1d(waiting, now)

    async def close(self) -> None:
        self._places = np.zeros((0, _WAYS), _PLACE)
        self._sets = 0

    def _write(self, keys: Keys, sets: Indexes, raw: NDArray[np.float64], tokens: NDArray[np.uint32]) -> None:
        match = self._match(keys, sets)
        oldest = self._places["used"][sets].argmin(axis=1)
        ways = np.asarray(np.where(match.any(axis=1), match.argmax(axis=1), oldest), np.intp)
        self._places["key"][sets, ways] = keys
        self._places["raw"][sets, ways] = raw
        self._places["tokens"][sets, ways] = tokens
        self._places["used"][sets, ways] = self._next_tick()

    def _sets_of(self, keys: Keys) -> Indexes:
        return (keys[:, 0] % np.uint64(self._sets)).astype(np.intp)

    def _match(self, keys: Keys, sets: Indexes) -> NDArray[np.bool_]:
        """Which places hold these keys, shape `(keys, ways)`."""
        same = (self._places["key"][sets] == keys[:, None, :]).all(axis=2)
        return same & (self._places["used"][sets] > 0)

    def _next_tick(self) -> int:
        if self._tick == _LAST_TICK:  # after four billion requests, begin again with an empty table
            self._places["used"][:] = 0
            self._tick = 0
        self._tick += 1
        return self._tick


def _numbers(keys: Sequence[bytes]) -> Keys:
    return np.frombuffer(b"".join(keys), "<u8").reshape(len(keys), KEY_BYTES // 8)


class _Factory:
    def open(self, url: str, *, max_bytes: int) -> ScoreCache:
        del url
        return _Memory(max_bytes)


CACHE = _Factory()
