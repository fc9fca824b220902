"""Two caches, one behind the other: this process's memory, and one that others share."""

from collections.abc import Mapping, Sequence

from rerankd.cache.base import PairScore, ScoreCache


class Tiers:
    """Asks the near one first, and the far one for the rest only; what that knew, the near one knows from then on."""

    def __init__(self, near: ScoreCache, far: ScoreCache) -> None:
        self._near = near
        self._far = far

    async def get(self, keys: Sequence[bytes]) -> Sequence[PairScore | None]:
        """See `ScoreCache`."""
        found = list(await self._near.get(keys))
        places = [i for i, score in enumerate(found) if score is None]
        if places:
            rest = await self._far.get([keys[i] for i in places])
            learnt = {keys[i]: score for i, score in zip(places, rest, strict=True) if score is not None}
            await self._near.put(learnt)
            found = [score or learnt.get(key) for key, score in zip(keys, found, strict=True)]
        return found

    async def put(self, scores: Mapping[bytes, PairScore]) -> None:
        """See `ScoreCache`."""
        await self._near.put(scores)
        await self._far.put(scores)

    async def close(self) -> None:
        """Close both."""
        await self._near.close()
        await self._far.close()
