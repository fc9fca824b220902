"""Five times more requests than the machine can serve: what is admitted is answered, the rest is told when to come.

SCENARIOS=full runs longer and judges the figures: goodput, speed of refusals, honesty of Retry-After.
"""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from live import Server, serving
from long_runs import FULL, percentile, told
from tiny import tiny_bert

SECONDS = 30.0 if FULL else 5.0
HONESTY_ROUNDS = 5 if FULL else 1
TIMES = 5
DOCUMENTS = [f"document {i} " + "a reranker reads the query and the document together and returns one score " * 3
             for i in range(20)]  # fmt: skip
# The full form has the shape of ms-marco-MiniLM-L6-v2, the smallest model that people serve.
SIZE = (
    {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 12}
    if FULL
    else {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 4}
)
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


@dataclass
class Callers:
    """Clients that keep their connections; HTTP by hand, for a client library takes 4 % of the two cores measured."""

    port: int
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(
        default_factory=list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    )

    async def post(self, number: int) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request; return status, headers and body of the answer."""
        data = json.dumps(body(number)).encode()
        reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection("127.0.0.1", self.port)
        head = f"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        headers = {name: value for name, _, value in (line.partition(": ") for line in lines)}
        found = await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            writer.close()
        else:
            self.idle.append((reader, writer))
        return int(first.split()[1]), headers, found

    def close(self) -> None:
        """Hang up."""
        for _, writer in self.idle:
            writer.close()


async def ask(callers: Callers, number: int, tally: Tally) -> None:
    started = time.perf_counter()
    status, headers, found = await callers.post(number)
    took = time.perf_counter() - started
    if status == 200 and len(json.loads(found)["results"]) == len(DOCUMENTS):
        tally.answered.append(took)
    elif status == 429 and headers.get("retry-after", "").isdigit():
        tally.refused.append(took)
        tally.retry_after.append(float(headers["retry-after"]))
    else:
        tally.wrong.append(f"{status} {found[:200]!r}")


async def capacity(callers: Callers) -> float:
    """Requests a second with eight clients that each wait for their answer."""
    tally, until = Tally(), time.perf_counter() + SECONDS / 2

    async def client(first: int) -> None:
        number = first
        while time.perf_counter() < until:
            await ask(callers, number, tally)
            number += 8

    started = time.perf_counter()
    await asyncio.gather(*(client(-1_000_000 + i) for i in range(8)))
    assert not tally.wrong
    return len(tally.answered) / (time.perf_counter() - started)


async def flood(callers: Callers, rate: float) -> tuple[Tally, float]:
    """Send `rate` requests a second whatever comes back; return what came back and the answers a second."""
    tally = Tally()
    async with asyncio.TaskGroup() as group:
        started = time.perf_counter()
        for number in range(int(rate * SECONDS)):
            await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            group.create_task(ask(callers, number, tally))
    return tally, len(tally.answered) / (time.perf_counter() - started)


async def honesty(callers: Callers, number: int) -> tuple[float, float]:
    """Fill the queue, be refused, and see when the same request is taken: what was said, and what was true."""
    first = 2_000_000 + 1000 * number
    filling = [asyncio.create_task(ask(callers, first + i, Tally())) for i in range(200)]
    await asyncio.sleep(0.3)
    started, said, took = time.perf_counter(), 0.0, 0.0
    while (answer := await callers.post(first + 500))[0] != 200:
        took = time.perf_counter() - started
        said = said or float(answer[1]["retry-after"])
        await asyncio.sleep(0.05)
    await asyncio.gather(*filling)
    return said, took


@pytest.mark.slow
@pytest.mark.anyio
async def test_at_five_times_its_capacity_the_server_does_its_work_and_refuses_the_rest(server: Server) -> None:
    callers = Callers(int(server.url.rpartition(":")[2]))
    async with asyncio.timeout(SECONDS * 10):
        able = await capacity(callers)
        tally, goodput = await flood(callers, TIMES * able)
        promises = [await honesty(callers, number) for number in range(HONESTY_ROUNDS)]
    callers.close()
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
