"""The canary ranks the golden set as a caller does, and tells when quality falls."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import httpx2
import pytest

from fake_service import FakeService
from letters import CountingEngine, pool
from rerankd.assembly import open_cache
from rerankd.errors import ConfigError, Overloaded
from rerankd.evaluation.canary import Canary, open_canaries
from rerankd.http.app import create_app
from rerankd.metrics import Metrics
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service.limits import Limits
from rerankd.service.service import RerankService
from rerankd.settings import CanarySettings, LoggingSettings, Settings
from rerankd.types import Caller, Document, Lane, ModelState, RerankRequest

pytestmark = pytest.mark.anyio

GOOD = {"query": "capital of France", "positives": ["Paris is the capital of France"], "negatives": ["bananas", "x"]}
BAD = {"query": "bananas", "positives": ["a yellow fruit"], "negatives": ["bananas are bananas"]}


def settings(tmp_path: Path, *rows: Mapping[str, object], **canary: float) -> Settings:
    file = tmp_path / "golden.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return Settings(canary=CanarySettings.model_validate({"every_s": 0.02, "golden_set": file, **canary}))


def opened(of: Settings) -> Canary:
    (canary,) = open_canaries(of)
    assert isinstance(canary, Canary)
    return canary


async def until(service: FakeService, line: str) -> None:
    async with asyncio.timeout(10):
        while line not in service.metrics.text().decode():  # noqa: ASYNC110 - as a scraper does
            await asyncio.sleep(0.01)


async def test_the_golden_set_is_ranked_again_and_again_in_the_background_and_past_the_cache(tmp_path: Path) -> None:
    service = FakeService()
    async with opened(settings(tmp_path, GOOD, BAD)).beside(service):
        await until(service, 'rerankd_canary_runs_total{model="tiny-reranker",outcome="ok"} 3.0')
    text = service.metrics.text().decode()
    assert 'rerankd_canary_mrr{model="tiny-reranker"} 0.75' in text, "first at one query, second at the other"
    assert 'rerankd_canary_interval_seconds{model="tiny-reranker"} 0.02' in text
    assert {(request.lane, request.fresh, caller.name) for request, caller in service.asked} == {
        (Lane.BACKGROUND, True, "canary")
    }
    asked = len(service.asked)
    await asyncio.sleep(0.1)
    assert len(service.asked) == asked, "it ends with the server"


async def test_a_model_that_is_not_loaded_is_not_loaded_for_this(tmp_path: Path) -> None:
    service = FakeService(state=ModelState.UNLOADED)
    async with opened(settings(tmp_path, GOOD)).beside(service):
        await asyncio.sleep(0.1)
        assert not service.asked
        service.state = ModelState.READY
        await until(service, 'rerankd_canary_mrr{model="tiny-reranker"} 1.0')


async def test_a_busy_server_is_tried_again_later(tmp_path: Path) -> None:
    service = FakeService()
    service.failure = Overloaded("the queue is full", retry_after_s=1)
    async with opened(settings(tmp_path, GOOD)).beside(service):
        await until(service, 'outcome="overloaded"} 2.0')
        service.failure = None
        await until(service, 'rerankd_canary_mrr{model="tiny-reranker"} 1.0')


@pytest.mark.parametrize(("least", "status"), [(0.0, 200), (0.7, 503)])
async def test_poor_quality_makes_the_server_unready_only_where_it_is_told_to(
    tmp_path: Path, least: float, status: int
) -> None:
    service, of = FakeService(), settings(tmp_path, BAD, min_mrr=least)
    of = of.model_copy(update={"logging": LoggingSettings(access=False)})
    canary = opened(of)
    app = create_app(service, of, companions=[canary])
    async with app.router.lifespan_context(app):
        await until(service, 'rerankd_canary_mrr{model="tiny-reranker"} 0.5')
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as http:
            ready = await http.get("/readyz")
            health = await http.get("/health")
            ranked = await http.post("/v1/rerank", json={"query": "q", "documents": ["a"]})
    assert ready.status_code == health.status_code == status
    assert ready.json()["status"] == ("poor" if status == 503 else "ready")
    assert ranked.status_code == 200, "whoever asks is still answered"


async def test_scores_are_computed_anew_and_callers_keep_their_cache(tmp_path: Path) -> None:
    engine, metrics = CountingEngine(), Metrics()
    service = RerankService(
        pool=pool(engine), scheduler=Scheduler(workers=1, metrics=metrics), limits=Limits(),
        cache=open_cache("memory://", 1 << 20), metrics=metrics,
    )  # fmt: skip
    await service.start()
    await service.wait_ready()
    try:
        canary = opened(settings(tmp_path, {"query": "a", "positives": ["aaa"], "negatives": ["b", "ab"]}))
        request = RerankRequest("a", tuple(map(Document, ("aaa", "b", "ab"))))
        await service.rerank(request, Caller())
        assert len(engine.runs) == 3
        assert await canary.look(service, "letters") == 1.0
        assert await canary.look(service, "letters") == 1.0
        assert len(engine.runs) == 9
        await service.rerank(request, Caller())
        assert len(engine.runs) == 9
    finally:
        await service.close()


def test_off_by_default_and_the_built_in_sample_where_no_set_is_named() -> None:
    assert open_canaries(Settings()) == ()
    canary = opened(Settings(canary=CanarySettings(every_s=3600)))
    assert len(canary.queries) > 20


@pytest.mark.parametrize("text", ["", "not json\n", '{"query": "q"}\n'])
def test_a_golden_set_that_is_none_stops_the_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "golden.jsonl"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"canary\.golden_set cannot be used"):
        open_canaries(Settings(canary=CanarySettings(every_s=60, golden_set=file)))
    with pytest.raises(ConfigError, match=r"canary\.golden_set cannot be used"):
        open_canaries(Settings(canary=CanarySettings(every_s=60, golden_set=tmp_path / "gone.jsonl")))
