"""A closed loop of clients: each sends its next request as soon as it has read the last answer.

Every request counts in the percentiles. A closed loop sends less while a server is slow (coordinated omission): it
tells what so many callers who wait for their answers see, not what arrivals that do not wait would see.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rerankd.bench.requests import BenchRequest
from rerankd.errors import RerankError


class Target(Protocol):
    """Something that ranks: a server, or a model in this process."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def local(self) -> bool:
        """Whether it computes on this machine, so that this machine's matrix peak is its own."""
        ...

    async def rank(self, request: BenchRequest) -> Sequence[float]:
        """Return a score per document, in the order of the request.

        Raises:
            RerankError: there was no good answer; counted as an error, with its first message reported.
        """
        ...

    def cpu_seconds(self) -> float | None:
        """CPU time that it has used so far; None where that cannot be seen (another machine)."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: its place in the list, when it was sent (seconds since the round began), how long it took.

    `scores` are in document order; `error` is "" for an answered request.
    """

    index: int
    sent_s: float
    seconds: float
    scores: tuple[float, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """All requests of a list, sent to one target. `cpu_s` is the target's CPU time meanwhile."""

    samples: tuple[Sample, ...]
    wall_s: float
    cpu_s: float | None

    @property
    def answered(self) -> tuple[Sample, ...]:
        """The samples without an error."""
        return tuple(sample for sample in self.samples if not sample.error)


async def closed_loop(target: Target, requests: Iterable[BenchRequest], clients: int) -> Round:
    """Send all requests with so many clients at once and wait for all answers."""
    waiting = enumerate(requests)
    samples: list[Sample] = []
    started = time.perf_counter()
    cpu = target.cpu_seconds()

    async def client() -> None:
        for index, request in waiting:
            sent = time.perf_counter()
            scores: Sequence[float] = ()
            error = ""
            try:
                scores = await target.rank(request)
            except RerankError as failure:
                error = f"{failure.kind}: {failure}"
            samples.append(Sample(index, sent - started, time.perf_counter() - sent, tuple(scores), error))

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    wall = time.perf_counter() - started
    used = target.cpu_seconds()
    ordered = sorted(samples, key=lambda sample: sample.index)
    return Round(tuple(ordered), wall, used - cpu if used is not None and cpu is not None else None)
