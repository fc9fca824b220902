"""Pairs that are being scored right now: a pair that stands in two requests at once is run once."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rerankd.cache.base import PairScore

_MUCH_LARGER = 2
"""A request never waits for one of more than this many times its own pairs: its own turn would come long before."""

Landing = asyncio.Future[PairScore | None]
"""Becomes a pair's score, or None when the request that ran it ended without one."""


@dataclass(frozen=True, slots=True)
class Boarding:
    """A request's missing pairs: those it must run itself, those another is already running, and what it announced."""

    own: Sequence[bytes]
    shared: Mapping[bytes, Landing]
    announced: Mapping[bytes, Landing]


class Flights:
    """Which pairs are under way. Lives on one event loop; holds at most one entry per pair that is being run."""

    def __init__(self) -> None:
        self._flying: dict[bytes, tuple[Landing, int]] = {}

    def board(self, keys: Collection[bytes]) -> Boarding:
        """Divide a request's missing pairs and announce those it will run. `land` must follow, whatever happens."""
        shared: dict[bytes, Landing] = {}
        announced: dict[bytes, Landing] = {}
        for key in keys:
            landing, pairs = self._flying.get(key, (None, 0))
            if landing is None:
                announced[key] = asyncio.get_running_loop().create_future()
                self._flying[key] = announced[key], len(keys)
            elif pairs <= _MUCH_LARGER * len(keys):
                shared[key] = landing
        return Boarding([key for key in keys if key not in shared], shared, announced)

    def land(self, boarding: Boarding, scores: Mapping[bytes, PairScore]) -> None:
        """End what a request announced. Whoever waits gets the score, or learns that there is none."""
        for key, landing in boarding.announced.items():
            del self._flying[key]
            if not landing.done():  # all who waited may have been cancelled, and it with them
                landing.set_result(scores.get(key))

    def __len__(self) -> int:
        return len(self._flying)
