"""The closed loop keeps as many requests under way as there are clients, and loses none."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from rerankd.bench.load import closed_loop
from rerankd.bench.requests import BenchRequest
from rerankd.errors import Overloaded

REQUESTS = [BenchRequest(str(number), ("a", "b")) for number in range(10)]


@dataclass
class FakeTarget:
    """Answers when everybody else has had a turn; refuses some queries; remembers how many waited at once."""

    refused: frozenset[str] = frozenset()
    name: str = "fake"
    local: bool = True
    waiting: int = 0
    most: int = 0
    asked: list[str] = field(default_factory=list[str])

    async def rank(self, request: BenchRequest) -> Sequence[float]:
        self.asked.append(request.query)
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        for _ in range(3):
            await asyncio.sleep(0)
        self.waiting -= 1
        if request.query in self.refused:
            raise Overloaded("the queue is full", retry_after_s=1)
        return [float(request.query), 0.5]

    def cpu_seconds(self) -> float | None:
        return len(self.asked) / 10


@pytest.mark.parametrize(("clients", "most"), [(1, 1), (4, 4), (30, 10)])
def test_every_request_is_sent_once_by_so_many_clients(clients: int, most: int) -> None:
    target = FakeTarget()
    done = asyncio.run(closed_loop(target, REQUESTS, clients))
    assert target.most == most
    assert sorted(target.asked) == [str(number) for number in range(10)]
    assert [sample.index for sample in done.samples] == list(range(10))
    assert [sample.scores for sample in done.answered] == [(float(i), 0.5) for i in range(10)]
    assert done.cpu_s == 1.0
    assert all(s.sent_s >= 0 and s.seconds > 0 and s.sent_s + s.seconds <= done.wall_s for s in done.samples)


def test_a_refusal_is_counted_and_stops_nobody() -> None:
    done = asyncio.run(closed_loop(FakeTarget(frozenset({"3"})), REQUESTS, 2))
    assert [(s.index, s.error) for s in done.samples if s.error] == [(3, "overloaded: the queue is full")]
    assert len(done.answered) == 9
