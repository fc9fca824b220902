"""Five times more requests than the machine can serve: what is admitted is answered, the rest is told when to come.

SCENARIOS=full runs longer and judges the figures: goodput, speed of refusals, honesty of Retry-After.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from live import Server, serving
from long_runs import FULL, percentile, told
from tiny import tiny_bert

SECONDS = 30.0 if FULL else 5.0
HONESTY_ROUNDS = 5 if FULL else 1
TIMES = 5
DOCUMENTS = [f"document {i} " + "a reranker reads the query and the document together and returns one score " * 3
             for i in range(20)]  # fmt: skip
SIZE = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 4}
QUEUE_TOKENS = 40_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    model = tiny_bert(tmp_path / "model", **SIZE)
    arguments = ("--scheduling.queue_tokens", str(QUEUE_TOKENS), "--cache.url", "off://", "--logging.access", "false")
    with serving(str(model), *arguments, cwd=tmp_path) as running:
        yield running


@dataclass
class Tally:
    """What came back, and when."""

    answered: list[float] = field(default_factory=list[float])
    refused: list[float] = field(default_factory=list[float])
    retry_after: list[float] = field(default_factory=list[float])
    wrong: list[str] = field(default_factory=list[str])


def body(number: int) -> dict[str, object]:
    """Every request has texts of its own: pairs shared by requests would be run once."""
    return {"query": f"what is a reranker {number}", "documents": DOCUMENTS}


async def ask(http: httpx2.AsyncClient, number: int, tally: Tally) -> None:
    started = time.perf_counter()
    response = await http.post("/v1/rerank", json=body(number))
    took = time.perf_counter() - started
    if response.status_code == 200 and len(response.json()["results"]) == len(DOCUMENTS):
        tally.answered.append(took)
    elif response.status_code == 429 and response.headers.get("retry-after", "").isdigit():
        tally.refused.append(took)
        tally.retry_after.append(float(response.headers["retry-after"]))
    else:
        tally.wrong.append(f"{response.status_code} {response.text[:200]}")


async def capacity(http: httpx2.AsyncClient) -> float:
    """Requests a second with eight clients that each wait for their answer."""
    tally, until = Tally(), time.perf_counter() + SECONDS / 2

    async def client(first: int) -> None:
        number = first
        while time.perf_counter() < until:
            await ask(http, number, tally)
            number += 8

    started = time.perf_counter()
    await asyncio.gather(*(client(-1_000_000 + i) for i in range(8)))
    assert not tally.wrong
    return len(tally.answered) / (time.perf_counter() - started)


async def flood(http: httpx2.AsyncClient, rate: float) -> tuple[Tally, float]:
    """Send `rate` requests a second whatever comes back; return what came back and the answers a second."""
    tally = Tally()
    async with asyncio.TaskGroup() as group:
        started = time.perf_counter()
        for number in range(int(rate * SECONDS)):
            await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            group.create_task(ask(http, number, tally))
    return tally, len(tally.answered) / (time.perf_counter() - started)


async def honesty(http: httpx2.AsyncClient, number: int) -> tuple[float, float]:
    """Fill the queue, be refused, and see when the same request is taken: what was said, and what was true."""
    first = 2_000_000 + 1000 * number
    filling = [asyncio.create_task(ask(http, first + i, Tally())) for i in range(200)]
    await asyncio.sleep(0.3)
    started, said, took = time.perf_counter(), 0.0, 0.0
    while (response := await http.post("/v1/rerank", json=body(first + 500))).status_code != 200:
        took = time.perf_counter() - started
        said = said or float(response.headers["retry-after"])
        await asyncio.sleep(0.05)
    await asyncio.gather(*filling)
    return said, took


@pytest.mark.slow
@pytest.mark.anyio
async def test_at_five_times_its_capacity_the_server_does_its_work_and_refuses_the_rest(server: Server) -> None:
    limits = httpx2.Limits(max_connections=1000, max_keepalive_connections=1000)
    async with httpx2.AsyncClient(base_url=server.url, timeout=120, limits=limits) as http:
        able = await capacity(http)
        tally, goodput = await flood(http, TIMES * able)
        promises = [await honesty(http, number) for number in range(HONESTY_ROUNDS)]
    told(
        f"overload: capacity {able:.1f} requests/s; at {TIMES} times that {goodput:.1f}/s answered "
        f"({goodput / able:.0%}), {len(tally.refused)} refused in p50 {percentile(tally.refused, 0.5) * 1000:.0f} ms, "
        f"p99 {percentile(tally.refused, 0.99) * 1000:.0f} ms; {len(tally.wrong)} answered otherwise; Retry-After "
        f"said, and a place was free after: {', '.join(f'{said:g} s, {took:.1f} s' for said, took in promises)}"
    )
    assert tally.wrong == []
    assert tally.answered
    assert tally.refused
    assert all(seconds >= 1 for seconds in tally.retry_after)
    if FULL:
        assert goodput >= 0.9 * able
        assert percentile(tally.refused, 0.99) < 0.05
        for said, took in promises:
            assert said <= max(1.0, 2 * took), "whole seconds, at least one"
            assert said >= took / 2
