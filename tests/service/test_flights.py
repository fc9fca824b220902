"""A pair that stands in two requests at once is run once, and nobody waits for somebody else's failure."""

import asyncio
from typing import Self

import pytest

from letters import CountingEngine, pool
from rerankd.assembly import open_cache
from rerankd.cache.base import PairScore
from rerankd.errors import EngineFailure
from rerankd.metrics import Metrics
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service.flights import Flights
from rerankd.service.limits import Limits
from rerankd.service.service import RerankService
from rerankd.types import Caller, Document, Ranking, RerankRequest

pytestmark = pytest.mark.anyio

SCORE = PairScore(1.0, 3, truncated=False)


def asked(*documents: str) -> RerankRequest:
    return RerankRequest("a", tuple(map(Document, documents)), raw_scores=True)


def scores(ranking: Ranking) -> dict[int, float]:
    return {ranked.index: ranked.score for ranked in ranking}


class Held:
    """A service without a score cache whose engine waits at a gate until `release`."""

    def __init__(self) -> None:
        self.engine = CountingEngine()
        self.service = RerankService(
            pool=pool(self.engine), scheduler=Scheduler(workers=2), cache=open_cache("off://", 0),
            limits=Limits(), metrics=Metrics(),
        )  # fmt: skip

    async def ask(self, *documents: str) -> asyncio.Task[Ranking]:
        task = asyncio.create_task(self.service.rerank(asked(*documents), Caller("test")))
        await asyncio.sleep(0.05)
        return task

    async def __aenter__(self) -> Self:
        await self.service.start()
        await self.service.wait_ready()
        self.engine.runs.clear()  # the warm-up
        self.engine.gate.clear()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.engine.gate.set()
        await self.service.close()


async def test_concurrent_requests_run_a_shared_pair_once() -> None:
    async with Held() as held:
        tasks = [await held.ask("aa", "aaa"), await held.ask("aaa", "a"), await held.ask("aa", "a", "aaa")]
        held.engine.gate.set()
        rankings = await asyncio.gather(*tasks)
        assert [scores(ranking) for ranking in rankings] == [{0: 2, 1: 3}, {0: 3, 1: 1}, {0: 2, 1: 1, 2: 3}]
        assert sorted(held.engine.runs) == [2, 3, 4]
        assert [ranking.usage.cached_pairs for ranking in rankings] == [0, 1, 3]


async def test_who_waits_for_a_caller_that_hangs_up_runs_the_pair_itself() -> None:
    async with Held() as held:
        leaver, stayer = await held.ask("aa", "b"), await held.ask("aa", "a")
        leaver.cancel()
        await asyncio.sleep(0.05)
        held.engine.gate.set()
        assert scores(await stayer) == {0: 2, 1: 1}


async def test_who_waits_for_a_request_that_fails_runs_the_pair_itself() -> None:
    async with Held() as held:
        held.engine.fail = True
        first = await held.ask("aa")
        second = await held.ask("aa")
        held.engine.gate.set()
        with pytest.raises(EngineFailure):
            await first
        # The second had its own run, which fails for its own reason.
        with pytest.raises(EngineFailure):
            await second
        held.engine.fail = False
        assert scores(await held.service.rerank(asked("aa"), Caller("test"))) == {0: 2}


async def test_a_small_request_does_not_wait_for_a_much_larger_one() -> None:
    flights = Flights()
    large = flights.board([b"%d" % i for i in range(100)])
    small = flights.board([b"1", b"2"])
    assert (list(small.own), dict(small.shared), dict(small.announced)) == ([b"1", b"2"], {}, {})
    flights.land(small, {b"1": SCORE, b"2": SCORE})
    assert len(flights) == 100
    flights.land(large, {})
    assert len(flights) == 0


async def test_two_requests_that_share_both_ways_do_not_wait_for_each_other_for_ever() -> None:
    async with Held() as held:
        tasks = [await held.ask("a", "aa"), await held.ask("aa", "aaa", "a"), await held.ask("aaa", "aa", "b")]
        held.engine.gate.set()
        async with asyncio.timeout(5):
            assert [scores(ranking)[0] for ranking in await asyncio.gather(*tasks)] == [1, 2, 3]
        assert sorted(held.engine.runs) == [2, 2, 3, 4]
