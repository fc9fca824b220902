"""Latency of small requests beside large ones: p99 of 5 documents while four clients send 200 all the time.

python benchmarks/small_beside_large.py
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from comparison import shapes, work
from comparison.processes import Failed
from comparison.results import Entry, Goal
from comparison.running import Options, command, interleave, record
from comparison.servers import RERANKD, Running, serving
from rerankd.bench.load import closed_loop
from rerankd.bench.requests import BenchRequest
from rerankd.bench.statistics import latency
from rerankd.bench.targets import HttpTarget

NAME = "small-beside-large"
GOAL = 4.0
SMALL, LARGE, LARGE_CLIENTS = 5, 200, 4
_ALONE, _BESIDE = "alone", "beside four clients with 200 documents"
_REQUESTS = {"minilm-l6": 100, shapes.BUNDLED: 100}
_QUICK_REQUESTS = 15
_SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class _Loads:
    small: Sequence[BenchRequest]
    large: Sequence[BenchRequest]


def run(options: Options) -> None:
    """Measure every chosen model."""
    for model in options.chosen(*_REQUESTS):
        record(options, _measure(model, options))


def _measure(model: str, options: Options) -> Entry:
    count = _QUICK_REQUESTS if options.quick else _REQUESTS[model]
    loads = _Loads(
        work.make(model, documents=SMALL, count=count).requests,
        work.make(model, documents=LARGE, count=8, first=1000).requests,
    )
    with serving([RERANKD], model) as (server,):

        def measure(phase: str, _number: int) -> dict[str, float]:
            told = latency(asyncio.run(_small(server, loads, beside=phase == _BESIDE)))
            return {"p50_s": told.p50_s, "p99_s": told.p99_s} if told else {}

        samples = interleave([_ALONE, _BESIDE], measure, rounds=options.repeats(3), called=str)
    entry = Entry(NAME, model, f"{count} requests of {SMALL} documents a round, 1 client", samples)
    ratio = entry.ratio(_BESIDE, _ALONE, "p99_s")
    goal = f"{model}: p99 of small requests beside large ones, by alone"
    return replace(entry, goals=[Goal(goal, "<=", GOAL, ratio.median)] if ratio else [])


async def _small(server: Running, loads: _Loads, *, beside: bool) -> list[float]:
    async with (
        HttpTarget(server.url, dialect="infinity") as target,
        HttpTarget(server.url, dialect="infinity") as other,
        _sending(other, loads.large if beside else ()),
    ):
        done = await closed_loop(target, loads.small, 1)
    errors = [sample.error for sample in done.samples if sample.error]
    if errors:
        raise Failed(f"{len(errors)} small requests failed: {errors[0]}")
    return [sample.seconds for sample in done.samples]


@contextlib.asynccontextmanager
async def _sending(target: HttpTarget, requests: Sequence[BenchRequest]) -> AsyncGenerator[None]:
    """Keep four clients busy with large requests while the block runs.

    Raises:
        Failed: one of them was not answered, so that the small requests were alone for a part of the time.
    """

    async def client(first: int) -> None:
        for request in itertools.cycle([*requests[first:], *requests[:first]]):
            await target.rank(request)

    tasks = [asyncio.create_task(client(number)) for number in range(LARGE_CLIENTS if requests else 0)]
    try:
        await asyncio.sleep(_SETTLE_S if tasks else 0)
        yield
        ended = [task.exception() for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if ended:
        raise Failed(f"a large request failed: {ended[0]}")


main = command(run, "Print the latency of small requests alone and beside large ones, and write it to the results.")

if __name__ == "__main__":
    main()
