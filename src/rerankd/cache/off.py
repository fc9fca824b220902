"""No score cache: `off://`."""

from collections.abc import Mapping, Sequence

from rerankd.cache.base import PairScore, ScoreCache


class Off:
    """Remembers nothing."""

    async def get(self, keys: Sequence[bytes]) -> Sequence[PairScore | None]:
        return [None] * len(keys)

    async def put(self, scores: Mapping[bytes, PairScore]) -> None:
        del scores

    async def close(self) -> None:
        return


class _Factory:
    def open(self, url: str, *, max_bytes: int) -> ScoreCache:
        del url, max_bytes
        return Off()


CACHE = _Factory()
