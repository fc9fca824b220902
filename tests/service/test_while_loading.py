"""What a request gets while its model is made ready: a refusal, or an answer that says whose it is."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from letters import CountingEngine, FakeLoader, entry
from rerankd.assembly import open_cache
from rerankd.errors import ModelLoadError, ModelNotReady, UnsupportedModel
from rerankd.metrics import Metrics
from rerankd.models.pool import ModelPool
from rerankd.models.residence import Policy
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service.limits import Limits
from rerankd.service.service import RerankService
from rerankd.types import GIVEN_ORDER, Caller, Document, Health, ModelState, RerankRequest, ScoreType

pytestmark = pytest.mark.anyio

ME = Caller("test")
REQUEST = RerankRequest("a", (Document("b"), Document("aa"), Document("a")), model="slow")


class Doors:
    """Holds up or fails the load of a model."""

    def __init__(self) -> None:
        self.open = {"slow": threading.Event(), "quick": threading.Event()}
        self.open["quick"].set()
        self.bad = False

    def pass_(self, name: str) -> None:
        assert self.open[name].wait(10)
        if self.bad and name == "slow":
            raise UnsupportedModel("it is a picture")


@asynccontextmanager
async def running(doors: Doors, while_loading: str) -> AsyncGenerator[RerankService]:
    always = frozenset({"quick"} if while_loading == "quick" else ())
    engine = CountingEngine()
    pool = ModelPool(
        [entry("slow"), entry("quick")], FakeLoader(engine, doors.pass_).load, Metrics(),
        Policy(preload="none", always=always),
    )  # fmt: skip
    service = RerankService(
        pool=pool, scheduler=Scheduler(workers=1), cache=open_cache("off://", 0), limits=Limits(), metrics=Metrics(),
        while_loading=while_loading,
    )  # fmt: skip
    await service.start()
    try:
        yield service
    finally:
        engine.gate.set()
        doors.open["slow"].set()
        await service.close()


async def test_a_request_is_refused_with_the_time_to_come_back_unless_something_else_is_set() -> None:
    async with running(Doors(), "") as service:
        with pytest.raises(ModelNotReady, match=r"try again in \d+ s") as refused:
            await service.rerank(REQUEST, ME)
        assert refused.value.retry_after_s > 0


async def test_the_stand_in_answers_by_its_name_until_the_model_does() -> None:
    doors = Doors()
    async with running(doors, "quick") as service:
        await service.wait_ready("quick")
        ranking = await service.rerank(REQUEST, ME)
        assert (ranking.model, ranking.fallback) == ("quick", "quick")
        assert [hit.index for hit in ranking] == [1, 2, 0]
        assert service.health is Health.READY, "requests are answered"
        doors.open["slow"].set()
        await service.wait_ready("slow")
        ranking = await service.rerank(REQUEST, ME)
        assert (ranking.model, ranking.fallback) == ("slow", "")
        assert b'rerankd_fallbacks_total{by="quick",model="slow"} 1.0' in service.metrics.text()


async def test_the_given_order_is_no_ranking_and_says_so() -> None:
    async with running(Doors(), GIVEN_ORDER) as service:
        ranking = await service.rerank(REQUEST, ME)
        assert (ranking.model, ranking.fallback, ranking.score_type) == (GIVEN_ORDER, GIVEN_ORDER, ScoreType.POSITION)
        assert [hit.index for hit in ranking] == [0, 1, 2]
        assert [hit.score for hit in ranking] == pytest.approx([1, 2 / 3, 1 / 3]), "sorting by score changes nothing"
        assert ranking.usage.tokens == 0
        assert service.health is Health.READY


async def test_a_stand_in_that_is_not_ready_itself_is_no_reason_to_blame_it() -> None:
    doors = Doors()
    doors.open["quick"].clear()
    async with running(doors, "quick") as service:
        with pytest.raises(ModelNotReady, match="'slow'"):
            await service.rerank(REQUEST, ME)
        assert service.health is Health.LOADING, "nobody is answered yet"
        doors.open["quick"].set()


async def test_a_model_that_has_failed_is_not_covered_up() -> None:
    doors = Doors()
    doors.bad = True
    doors.open["slow"].set()
    async with running(doors, GIVEN_ORDER) as service:
        with pytest.raises(UnsupportedModel):
            await service.wait_ready("slow")
        with pytest.raises(ModelLoadError, match="it is a picture"):
            await service.rerank(REQUEST, ME)
        assert service.health is Health.FAILED


async def test_shutting_down_is_not_answered_in_the_given_order() -> None:
    doors = Doors()
    doors.open["slow"].set()
    async with running(doors, GIVEN_ORDER) as service:
        await service.wait_ready("slow")
        engine = service._pool._slots["slow"].current
        assert engine
        gate = engine.model.engine._engine.gate  # type: ignore[attr-defined]
        gate.clear()
        asked = asyncio.create_task(service.rerank(REQUEST, ME))
        await asyncio.sleep(0.1)
        assert service.model("slow").state is ModelState.READY
        service._scheduler.close(0)
        with pytest.raises(ModelNotReady, match="shutting down"):
            await asked
        gate.set()
