"""Several requests of one call: order, failure, cancellation, and fairness to everybody else."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_service import FakeService, rank
from http_app import opened
from letters import CountingEngine, pool
from rerankd.assembly import open_cache
from rerankd.engines.base import Array, Encoding
from rerankd.errors import EngineFailure, InvalidRequest, Overloaded
from rerankd.http.app import create_app
from rerankd.http.parts import rank_each
from rerankd.metrics import Metrics
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service.limits import Limits
from rerankd.service.service import RerankService
from rerankd.settings import LimitsSettings, SchedulingSettings, Settings
from rerankd.types import Document, Ranking, RerankRequest

BATCH = "/v1/rerank/batch"


def asked(query: str, documents: int = 1) -> RerankRequest:
    return RerankRequest(query, tuple(Document(f"{query} {i}") for i in range(documents)))


@dataclass
class Counter:
    """Ranks after a moment; remembers the most that was under way. A query "bad" fails."""

    requests: int = 0
    documents: int = 0
    most_requests: int = 0
    most_documents: int = 0
    done: list[str] = field(default_factory=list[str])
    cancelled: int = 0

    async def rank(self, request: RerankRequest) -> Ranking:
        self.requests += 1
        self.documents += len(request.documents)
        self.most_requests = max(self.most_requests, self.requests)
        self.most_documents = max(self.most_documents, self.documents)
        try:
            await asyncio.sleep(0)
            if request.query == "bad":
                raise InvalidRequest("it is bad")
            if request.query == "endless":
                await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.requests -= 1
            self.documents -= len(request.documents)
        self.done.append(request.query)
        return rank(request)


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12), documents_at_once=st.integers(1, 12))
def test_outcomes_keep_the_order_and_the_window_is_kept(sizes: Sequence[int], documents_at_once: int) -> None:
    counter = Counter()
    requests = [asked(f"query {i}", size) for i, size in enumerate(sizes)]

    async def run() -> Sequence[object]:
        return await rank_each(requests, counter.rank, documents_at_once=documents_at_once, partial=False)

    assert anyio.run(run) == [rank(request) for request in requests]
    largest = max(sizes)
    assert counter.most_documents <= max(documents_at_once - 1 + largest, 2 * largest)
    assert counter.most_requests <= max(2, documents_at_once)


@pytest.mark.anyio
async def test_a_partial_call_keeps_what_succeeds_and_names_what_fails() -> None:
    counter = Counter()
    outcomes = await rank_each(
        [asked("a"), asked("bad"), asked("b")], counter.rank, documents_at_once=4, partial=True
    )  # fmt: skip
    assert [type(outcome) for outcome in outcomes] == [Ranking, InvalidRequest, Ranking]


@pytest.mark.anyio
async def test_without_partial_the_first_error_stops_the_rest() -> None:
    counter = Counter()
    requests = [asked("endless"), asked("bad"), *[asked(f"later {i}") for i in range(20)]]
    with pytest.raises(InvalidRequest, match="it is bad"):
        await rank_each(requests, counter.rank, documents_at_once=2, partial=False)
    assert (counter.cancelled, counter.done) == (1, [])


@pytest.mark.anyio
async def test_what_nobody_foresaw_is_no_outcome() -> None:
    async def broken(request: RerankRequest) -> Ranking:
        raise ZeroDivisionError(request.query)

    with pytest.raises(ZeroDivisionError):
        await rank_each([asked("a"), asked("b")], broken, documents_at_once=4, partial=True)


def _items(count: int, documents: int = 1) -> list[dict[str, Any]]:
    return [{"query": f"q{i}", "documents": [f"{i} {j}" for j in range(documents)]} for i in range(count)]


async def _until(true: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if true():
            return
        await asyncio.sleep(0.001)
    pytest.fail("not within 10 s")


@pytest.mark.anyio
async def test_cancelling_the_caller_cancels_every_item_and_starts_no_other() -> None:
    service = FakeService()
    service.hold = asyncio.Event()
    async with opened(service, Settings(scheduling=SchedulingSettings(workers=2))) as http:
        call = asyncio.create_task(http.post(BATCH, json={"requests": _items(50)}))
        await _until(lambda: service.waiting == 4)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await _until(lambda: service.waiting == 0)
    assert (service.cancelled, len(service.asked)) == (4, 4)


@pytest.mark.anyio
async def test_more_requests_than_allowed_are_refused_with_the_setting() -> None:
    service = FakeService()
    async with opened(service, Settings(limits=LimitsSettings(max_requests=3))) as http:
        assert (await http.post(BATCH, json={"requests": _items(3)})).status_code == 200
        refused = await http.post(BATCH, json={"requests": [*_items(3), {"query": "no documents"}]})
        pairs = {"queries": ["a", "b", "c", "d"], "documents": ["a", "b", "c", "d"]}
        scores = await http.post("/score", json=pairs)
    assert (refused.status_code, scores.status_code) == (413, 413)
    message = "4 requests in one call, and 3 are allowed: send fewer, or raise limits.max_requests"
    assert refused.json()["detail"] == message
    assert scores.json()["error"]["message"] == message


@pytest.mark.anyio
async def test_where_nothing_could_be_ranked_the_first_error_is_the_calls() -> None:
    service = FakeService()
    async with opened(service) as http:
        service.failure = Overloaded("the queue is full", retry_after_s=7)
        full = await http.post(BATCH, json={"requests": _items(3)})
        service.failure = EngineFailure("the model failed")
        broken = await http.post(BATCH, json={"requests": _items(3), "fail_fast": True})
    assert (full.status_code, full.headers["retry-after"]) == (429, "7")
    assert broken.status_code == 500


@pytest.mark.anyio
async def test_a_batch_that_takes_too_long_is_504() -> None:
    service = FakeService()
    service.hold = asyncio.Event()
    async with opened(service, Settings(limits=LimitsSettings(deadline_s=0.05))) as http:
        response = await http.post(BATCH, json={"requests": _items(9)})
    assert response.status_code == 504
    assert service.waiting == 0


@dataclass
class SlowEngine(CountingEngine):
    """A sequence takes two milliseconds."""

    def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
        time.sleep(0.002)
        return super().run(batch)


@asynccontextmanager
async def _serving(engine: CountingEngine) -> AsyncGenerator[httpx2.AsyncClient]:
    service = RerankService(
        pool=pool(engine), scheduler=Scheduler(workers=1), cache=open_cache("off://", 0), limits=Limits(),
        metrics=Metrics(),
    )  # fmt: skip
    app = create_app(service, Settings(scheduling=SchedulingSettings(workers=1)))
    await service.start()
    await service.wait_ready()
    try:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as http:
            yield http
    finally:
        await service.close()


@pytest.mark.anyio
async def test_a_small_request_is_answered_after_a_few_items_of_a_large_batch() -> None:
    engine = SlowEngine()
    async with _serving(engine) as http, asyncio.timeout(60):
        batch = asyncio.create_task(http.post(BATCH, json={"requests": _items(200, 3)}))
        await _until(lambda: len(engine.runs) >= 30)
        before = len(engine.runs)
        small = await http.post("/v1/rerank", json={"query": "a", "documents": ["aa"]})
        waited = len(engine.runs) - before
        assert small.json()["results"][0]["index"] == 0
        assert not batch.done()
        answers = (await batch).json()
    assert answers["failed"] == 0
    assert len(engine.runs) == 601
    # Two items of three documents are under way at once, and may be anywhere before the small request.
    assert waited <= 30, f"{waited} sequences of the batch ran before the small request's one"
