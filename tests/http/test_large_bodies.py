"""A large body is read beside the event loop: the other callers do not wait for it."""

import asyncio
import time

import pytest

from fake_service import FakeService
from http_app import DOCUMENTS, QUERY, opened
from rerankd.errors import RequestTooLarge
from rerankd.types import Caller, Ranking, RerankRequest

pytestmark = pytest.mark.anyio


class Refusing(FakeService):
    """Refuses every request, as the real one does for so many documents."""

    async def rerank(self, request: RerankRequest, caller: Caller) -> Ranking:
        raise RequestTooLarge(f"{len(request.documents)} documents", field="documents")


async def test_three_million_documents_do_not_stop_the_event_loop() -> None:
    body = b'{"query":"q","documents":[' + b'"a",' * 3_000_000 + b'"a"]}'
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.01)
            longest = max(longest, time.perf_counter() - began - 0.01)

    async with opened(Refusing()) as client:
        watching = asyncio.create_task(watch())
        began = time.perf_counter()
        answer = await client.post("/v1/rerank", content=body)
        took = time.perf_counter() - began
        watching.cancel()
    assert answer.status_code == 413
    assert longest < took / 2, f"the loop stood still for {longest:.2f} s of {took:.2f} s"


async def test_a_large_request_is_answered_like_a_small_one() -> None:
    documents = [text + " " * 100_000 for text in DOCUMENTS]
    async with opened(FakeService()) as client:
        answer = (await client.post("/v1/rerank", json={"query": QUERY, "documents": documents})).json()
        refused = await client.post("/v1/rerank", json={"query": QUERY, "documents": documents, "top_n": -1})
    assert next(item["document"]["text"] for item in answer["results"]) == documents[1]
    assert refused.status_code == 400
