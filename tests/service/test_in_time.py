"""Answers in time: partial rankings, cascades, lanes, and getting well again."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from letters import CountingEngine, FakeLoader, entry, pool
from rerankd.assembly import open_cache
from rerankd.engines.base import Array, Encoding
from rerankd.errors import DeadlineExceeded, EngineFailure, InvalidRequest, Overloaded
from rerankd.metrics import Metrics
from rerankd.models.loaded import LoadedModel
from rerankd.models.loader import Report
from rerankd.models.pool import ModelPool
from rerankd.registry.resolve import Entry
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service import service as module
from rerankd.service.cascade import Cascade
from rerankd.service.limits import Limits
from rerankd.service.service import RerankService
from rerankd.types import Caller, Document, Health, Lane, OnDeadline, RerankRequest, ScoreType, Stage

pytestmark = pytest.mark.anyio

ME = Caller("test")


class SlowAfter(CountingEngine):
    """Stops before its nth run, until the gate is opened."""

    def __init__(self, runs: int) -> None:
        super().__init__()
        self.left = runs

    def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
        self.left -= len(batch)
        if self.left < 0:
            self.gate.clear()
        return super().run(batch)


@asynccontextmanager
async def running(
    engine: CountingEngine,
    *names: str,
    queue_tokens: int = 1_000_000,
    cascade: Cascade | None = None,
    models: ModelPool | None = None,
) -> AsyncGenerator[RerankService]:
    service = RerankService(
        pool=models or pool(engine, *names), scheduler=Scheduler(workers=1, queue_tokens=queue_tokens),
        cache=open_cache("off://", 0), limits=Limits(), metrics=Metrics(), cascade=cascade or Cascade(),
    )  # fmt: skip
    await service.start()
    for name in names or ("",):
        await service.wait_ready(name)
    try:
        yield service
    finally:
        if isinstance(engine, SlowAfter):
            engine.left = 10**9
        engine.gate.set()
        await service.close()


def asked(*documents: str, model: str = "", deadline_s: float | None = None, lane: Lane = Lane.INTERACTIVE,
          on_deadline: OnDeadline = OnDeadline.ERROR, raw_scores: bool = False, top_n: int | None = None,
) -> RerankRequest:  # fmt: skip
    return RerankRequest("a", tuple(map(Document, documents)), model=model, deadline_s=deadline_s, lane=lane,
                         on_deadline=on_deadline, raw_scores=raw_scores, top_n=top_n)  # fmt: skip


DOCUMENTS = ["b", "ab", "aab", "aaab", "aaaab", "aaaaab", "aaaaaab"]


async def test_what_is_scored_in_time_comes_back_and_the_rest_is_named() -> None:
    async with running(SlowAfter(5)) as service:
        ranking = await service.rerank(asked(*DOCUMENTS, deadline_s=0.5, on_deadline=OnDeadline.PARTIAL), ME)
        assert [hit.index for hit in ranking] == [3, 2, 1, 0]  # the second window of two, 4 and 5, was not done
        assert ranking.unscored == (4, 5, 6)


async def test_with_time_enough_a_partial_answer_is_the_whole_one() -> None:
    async with running(CountingEngine()) as service:
        whole = await service.rerank(asked(*DOCUMENTS, "a" * 300), ME)
        partial = await service.rerank(asked(*DOCUMENTS, "a" * 300, on_deadline=OnDeadline.PARTIAL), ME)
    assert partial.items == whole.items
    assert partial.truncated == whole.truncated
    assert partial.unscored == ()
    assert partial.usage.tokens == whole.usage.tokens


async def test_with_nothing_scored_there_is_no_answer_to_give() -> None:
    async with running(SlowAfter(0)) as service:
        with pytest.raises(DeadlineExceeded, match=r"0\.1 s"):
            await service.rerank(asked("ab", deadline_s=0.1, on_deadline=OnDeadline.PARTIAL), ME)


async def test_a_full_queue_keeps_a_partial_answer_waiting_for_its_turn() -> None:
    engine = CountingEngine()
    engine.gate.clear()
    async with running(engine, queue_tokens=8) as service:
        first = asyncio.create_task(service.rerank(asked("a" * 5), ME))
        await asyncio.sleep(0.1)
        with pytest.raises(Overloaded):
            await service.rerank(asked("ab" * 2, deadline_s=0.3, on_deadline=OnDeadline.PARTIAL), ME)
        second = asyncio.create_task(service.rerank(asked("ab" * 2, on_deadline=OnDeadline.PARTIAL), ME))
        await asyncio.sleep(0.1)
        engine.gate.set()
        assert len((await second).items) == len((await first).items) == 1


async def test_a_failure_is_not_taken_for_a_lack_of_time() -> None:
    engine = CountingEngine()
    async with running(engine) as service:
        engine.fail = True
        with pytest.raises(EngineFailure):
            await service.rerank(asked(*DOCUMENTS, on_deadline=OnDeadline.PARTIAL), ME)


async def test_a_request_may_wait_less_than_the_server_allows_and_not_longer() -> None:
    async with running(SlowAfter(0)) as service:
        with pytest.raises(DeadlineExceeded, match=r"within 0\.05 s"):
            await service.rerank(asked("a", deadline_s=0.05), ME)


async def test_a_cascade_scores_the_best_with_the_large_model_and_says_so() -> None:
    cascade = Cascade(documents=2)
    async with running(CountingEngine(), "large", "small", cascade=cascade) as service:
        ranking = await service.rerank(asked(*DOCUMENTS, model="small>large"), ME)
        alone = await service.rerank(asked(*DOCUMENTS, model="large"), ME)
    assert ranking.model == "large"
    assert ranking.stages == (Stage("large", (5, 6)), Stage("small", (0, 1, 2, 3, 4)))
    assert [hit.index for hit in ranking] == [hit.index for hit in alone]
    assert ranking.items[:2] == alone.items[:2]
    scores = [hit.score for hit in ranking]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < ranking[1].score for score in scores[2:])
    assert ranking.usage.pairs == len(DOCUMENTS) + 2
    assert ranking.unscored == ()


async def test_a_cascades_raw_scores_are_in_order_too() -> None:
    async with running(CountingEngine(), "large", "small", cascade=Cascade(documents=1)) as service:
        ranking = await service.rerank(asked(*DOCUMENTS, model="small>large", raw_scores=True, top_n=3), ME)
    assert ranking.score_type is ScoreType.LOGIT
    assert ranking[0].score == 6.0
    assert [hit.index for hit in ranking] == [6, 5, 4]
    assert ranking[0].score > ranking[1].score > ranking[2].score


async def test_a_fast_model_that_outputs_logits_orders_what_the_large_one_has_not_seen() -> None:
    loader = FakeLoader(CountingEngine())

    def load(model: Entry, report: Report) -> LoadedModel:
        loaded = loader.load(model, report)
        if model.id == "large":
            return loaded
        return replace(loaded, activation="none", info=replace(loaded.info, score_type=ScoreType.LOGIT))

    models = ModelPool([entry("large"), entry("small")], load, Metrics())
    async with running(CountingEngine(), "large", "small", cascade=Cascade(documents=2), models=models) as service:
        ranking = await service.rerank(asked(*DOCUMENTS, model="small>large"), ME)
    scores = [hit.score for hit in ranking]
    assert [hit.index for hit in ranking] == [6, 5, 4, 3, 2, 1, 0]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)


async def test_a_cascade_answers_in_time_with_what_the_large_model_has_done() -> None:
    engine = SlowAfter(len(DOCUMENTS) + 3)  # the first stage, one window of two, and half of another
    async with running(engine, "large", "small", cascade=Cascade(default="small>large", deadline_s=0.5)) as service:
        ranking = await service.rerank(asked(*DOCUMENTS), ME)
        assert ranking.stages == (Stage("large", (5, 6)), Stage("small", (0, 1, 2, 3, 4)))


async def test_a_cascade_keeps_to_its_own_time_where_only_the_call_as_a_whole_has_more() -> None:
    engine = SlowAfter(len(DOCUMENTS) + 3)
    async with running(engine, "large", "small", cascade=Cascade(default="small>large", deadline_s=0.5)) as service:
        ranking = await service.rerank(replace(asked(*DOCUMENTS), left_s=60.0), ME)
        assert ranking.stages == (Stage("large", (5, 6)), Stage("small", (0, 1, 2, 3, 4)))


async def test_what_is_left_of_the_call_bounds_a_request_that_says_nothing() -> None:
    async with running(SlowAfter(0)) as service:
        with pytest.raises(DeadlineExceeded, match=r"within 0\.05 s"):
            await service.rerank(replace(asked("a"), left_s=0.05), ME)


async def test_a_cascade_without_time_for_its_large_model_is_the_small_ones_ranking() -> None:
    engine = SlowAfter(len(DOCUMENTS))
    async with running(engine, "large", "small", cascade=Cascade(deadline_s=0.3)) as service:
        ranking = await service.rerank(asked(*DOCUMENTS, model="small>large"), ME)
        assert ranking.model == "small"
        assert ranking.stages == (Stage("small", tuple(range(len(DOCUMENTS)))),)
        assert ranking[0].score == pytest.approx(1 / (1 + 2.718281828**-6), abs=1e-6)


@pytest.mark.parametrize("name", ["a>b>c", ">b", "a>", ">"])
async def test_what_is_no_cascade_is_refused(name: str) -> None:
    async with running(CountingEngine()) as service:
        with pytest.raises(InvalidRequest, match="FAST>LARGE"):
            await service.rerank(asked("a", model=name), ME)


async def test_the_background_lane_is_admitted_to_half_of_the_queue() -> None:
    engine = CountingEngine()
    engine.gate.clear()
    async with running(engine, queue_tokens=20) as service:
        first = asyncio.create_task(service.rerank(asked("a" * 5), ME))
        await asyncio.sleep(0.1)
        with pytest.raises(Overloaded, match="of 10 tokens"):
            await service.rerank(asked("a" * 8, lane=Lane.BACKGROUND), ME)
        second = asyncio.create_task(service.rerank(asked("b" * 8), ME))
        await asyncio.sleep(0.1)
        engine.gate.set()
        await asyncio.gather(first, second)


async def test_a_server_whose_model_fails_turns_red_and_green_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROBE_EVERY_S", 0.05)
    engine = CountingEngine()
    async with running(engine) as service:
        assert service.health is Health.READY
        engine.fail = True
        for _ in range(3):
            with pytest.raises(EngineFailure):
                await service.rerank(asked("ab"), ME)
        assert service.health is Health.UNWELL
        await asyncio.sleep(0.2)
        assert service.health is Health.UNWELL
        engine.fail = False
        for _ in range(250):
            if service.health is Health.READY:
                break
            await asyncio.sleep(0.02)
        assert service.health is Health.READY
        service.drain()
        assert service.health is Health.DRAINING
        assert len(await service.rerank(asked("ab"), ME)) == 1
