"""The one path from a request to a ranking."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from letters import CountingEngine, pool
from rerankd.assembly import open_cache
from rerankd.errors import (
    DeadlineExceeded,
    EmptyDocuments,
    EngineFailure,
    InvalidRequest,
    ModelLoadError,
    ModelNotFound,
    ModelNotReady,
    RequestTooLarge,
)
from rerankd.metrics import Metrics
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service.limits import Limits
from rerankd.service.service import RerankService
from rerankd.types import Caller, Document, Health, Ranking, RerankRequest, ScoreType

pytestmark = pytest.mark.anyio

ME = Caller("test")
NO_LIMITS = Limits()


@asynccontextmanager
async def running(
    engine: CountingEngine, *, limits: Limits = NO_LIMITS, cache: str = "memory://"
) -> AsyncGenerator[RerankService]:
    service = RerankService(
        pool=pool(engine), scheduler=Scheduler(workers=2), cache=open_cache(cache, 1 << 20), limits=limits,
        metrics=Metrics(),
    )  # fmt: skip
    await service.start()
    await service.wait_ready()
    try:
        yield service
    finally:
        engine.gate.set()
        await service.close()


def request(query: str, *documents: str, top_n: int | None = None, **_: object) -> RerankRequest:
    return RerankRequest(query, tuple(map(Document, documents)), top_n=top_n)


def order(ranking: Ranking) -> list[int]:
    return [ranked.index for ranked in ranking]


async def test_documents_come_best_first_with_ties_by_index() -> None:
    async with running(CountingEngine()) as service:
        ranking = await service.rerank(request("a", "b", "aab", "b", "aaa", "aab"), ME)
    assert order(ranking) == [3, 1, 4, 0, 2]
    assert ranking[0].score == pytest.approx(1 / (1 + 2.718281828**-3), abs=1e-6)
    assert ranking.score_type is ScoreType.PROBABILITY


@pytest.mark.parametrize(("top_n", "expected"), [(None, 3), (0, 3), (2, 2), (100, 3)])
async def test_top_n_is_how_many_come_back(top_n: int | None, expected: int) -> None:
    async with running(CountingEngine()) as service:
        assert len(await service.rerank(request("a", "a", "b", "c", top_n=top_n), ME)) == expected


async def test_raw_scores_are_the_models_own_numbers() -> None:
    async with running(CountingEngine()) as service:
        asked = RerankRequest("a", (Document("aaaa"),), raw_scores=True)
        ranking = await service.rerank(asked, ME)
    assert ranking[0].score == 4.0
    assert ranking.score_type is ScoreType.LOGIT


async def test_a_text_that_stands_twice_is_run_once_and_answered_twice() -> None:
    engine = CountingEngine()
    async with running(engine) as service:
        ranking = await service.rerank(request("a", "aa", "b", "aa"), ME)
    assert order(ranking) == [0, 2, 1]
    assert len(engine.runs) == 2


async def test_a_pair_that_was_scored_before_is_not_run_again_and_costs_the_same() -> None:
    engine = CountingEngine()
    async with running(engine) as service:
        first = await service.rerank(request("a", "aa", "x" * 30), ME)
        again = await service.rerank(request("a", "aa", "x" * 30), ME)
    assert len(engine.runs) == 2
    assert again.items == first.items
    assert again.usage.tokens == first.usage.tokens
    assert again.truncated == first.truncated == (1,)
    assert (first.usage.cached_pairs, again.usage.cached_pairs) == (0, 2)


async def test_without_a_cache_the_scores_are_the_same() -> None:
    engine = CountingEngine()
    async with running(engine, cache="off://") as service:
        first = await service.rerank(request("a", "aa", "b"), ME)
        again = await service.rerank(request("a", "aa", "b"), ME)
    assert again.items == first.items
    assert len(engine.runs) == 4


async def test_forbidden_truncation_is_an_error_that_says_the_limit() -> None:
    async with running(CountingEngine()) as service:
        asked = RerankRequest("a", (Document("x" * 30),), truncate=False)
        for _ in range(2):  # computed, then remembered
            with pytest.raises(InvalidRequest, match="20 tokens"):
                await service.rerank(asked, ME)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (request("a"), EmptyDocuments),
        (request("a", *["d"] * 6), RequestTooLarge),
        (request("a" * 11, "d"), RequestTooLarge),
        (request("a", "d", top_n=-1), InvalidRequest),
        (RerankRequest("a", (Document("d"),), model="other"), ModelNotFound),
    ],
)
async def test_what_is_out_of_bounds_is_refused_with_the_value(asked: RerankRequest, error: type[Exception]) -> None:
    async with running(CountingEngine(), limits=Limits(max_documents=5, max_query_chars=10)) as service:
        with pytest.raises(error):
            await service.rerank(asked, ME)


async def test_a_deadline_is_kept_and_frees_the_queue() -> None:
    engine = CountingEngine()
    async with running(engine, limits=Limits(deadline_s=0.1)) as service:
        engine.gate.clear()
        with pytest.raises(DeadlineExceeded, match=r"0\.1 s"):
            await service.rerank(request("a", *map(str, range(50))), ME)
        engine.gate.set()
        assert len(await service.rerank(request("a", "b"), ME)) == 1


async def test_an_engine_failure_is_an_error_without_its_detail_and_the_next_request_works() -> None:
    engine = CountingEngine(fail=True)
    async with running(engine) as service:
        with pytest.raises(EngineFailure) as failure:
            await service.rerank(request("a", "b"), ME)
        assert "secret" not in str(failure.value)
        engine.fail = False
        assert len(await service.rerank(request("a", "b"), ME)) == 1


async def test_many_callers_at_once_get_their_own_answers() -> None:
    async with running(CountingEngine()) as service:
        asked = [request("ab"[i % 2], "a" * (i % 7), "b" * (i % 5), "ab") for i in range(100)]
        rankings = await asyncio.gather(*(service.rerank(one, ME) for one in asked))
        for one, ranking in zip(asked, rankings, strict=True):
            expected = [document.text.count(one.query[0]) for document in one.documents]
            assert order(ranking) == sorted(range(3), key=lambda i: (-expected[i], i))


async def test_a_cancelled_caller_leaves_the_others_alone() -> None:
    engine = CountingEngine()
    async with running(engine) as service:
        engine.gate.clear()
        leaver = asyncio.create_task(service.rerank(request("a", *(f"l{i}" for i in range(100))), ME))
        stayer = asyncio.create_task(service.rerank(request("a", "aa"), ME))
        await asyncio.sleep(0.05)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        engine.gate.set()
        assert len(await stayer) == 1


async def test_a_model_that_is_loading_says_so_and_one_that_failed_says_why() -> None:
    def refuse(_: str) -> None:
        raise ModelLoadError("the weights are gone")

    engine = CountingEngine()
    service = RerankService(
        pool=pool(engine, load_hook=refuse), scheduler=Scheduler(workers=1), cache=open_cache("off://", 0),
        limits=Limits(), metrics=Metrics(),
    )  # fmt: skip
    with pytest.raises(ModelNotReady):
        await service.rerank(request("a", "b"), ME)
    assert service.health is Health.LOADING
    await service.start()
    with pytest.raises(ModelLoadError, match="weights are gone"):
        await service.wait_ready()
    with pytest.raises(ModelLoadError, match="weights are gone"):
        await service.rerank(request("a", "b"), ME)
    assert service.model("").failure == "the weights are gone"
    await service.close()


async def test_shutdown_answers_whoever_waits() -> None:
    engine = CountingEngine()
    async with running(engine) as service:
        engine.gate.clear()
        waiting = asyncio.create_task(service.rerank(request("a", *map(str, range(20))), ME))
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(service.close(timeout_s=0.2))
        with pytest.raises(ModelNotReady, match="shutting down"):
            await waiting
        engine.gate.set()
        await closing
