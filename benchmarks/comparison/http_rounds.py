"""One round over HTTP: a closed loop of clients on one server, everything else idle."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from comparison.processes import Failed
from comparison.servers import Running
from comparison.work import Work
from rerankd.bench.load import Round, closed_loop
from rerankd.bench.requests import BenchRequest
from rerankd.bench.statistics import latency
from rerankd.bench.targets import HttpTarget

LIMIT_S = 240.0


@dataclass(frozen=True, slots=True)
class Measured:
    """A round's figures by unit, and the scores it got."""

    figures: Mapping[str, float]
    scores: Sequence[Sequence[float]]


def measure(server: Running, work: Work, clients: int, *, limit_s: float = LIMIT_S) -> Measured:
    """Send all requests with so many clients.

    Raises:
        Failed: a request was not answered, or the round took too long.
    """
    done = asyncio.run(_send(server, work.requests, clients, limit_s))
    failed = [sample.error for sample in done.samples if sample.error]
    if failed:
        raise Failed(f"{len(failed)} of {len(done.samples)} requests failed: {failed[0]}")
    told = latency([sample.seconds for sample in done.samples])
    figures = {
        "tokens_per_s": work.tokens / done.wall_s,
        "pairs_per_s": work.pairs / done.wall_s,
        "p50_s": told.p50_s if told else 0.0,
        "rss_mb": server.memory().now / 1e6,
    }
    return Measured(figures, [sample.scores for sample in done.samples])


async def _send(server: Running, requests: Sequence[BenchRequest], clients: int, limit_s: float) -> Round:
    async with HttpTarget(server.url, name=server.name, dialect="infinity", pid=server.pid) as target:
        try:
            return await asyncio.wait_for(closed_loop(target, requests, clients), limit_s)
        except TimeoutError as error:
            raise Failed(f"the round took longer than {limit_s:g} s") from error
