"""Targets meet the same requests by turns, and what is compared is compared within a round."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from rerankd.bench.flops import LayerShape
from rerankd.bench.measure import Cell, measure_cell
from rerankd.bench.requests import BenchRequest
from rerankd.bench.texts import ModelTexts, open_texts
from rerankd.errors import ServerUnreachable

LOG: list[str] = []


@dataclass
class FakeTarget:
    """Takes a while, gives scores in one order or the other; fails on the query "bad"."""

    name: str
    seconds: float
    sign: float = 1.0
    local: bool = True
    used: list[float] = field(default_factory=lambda: [0.0])

    async def rank(self, request: BenchRequest) -> Sequence[float]:
        LOG.append(f"{self.name} {request.query}")
        if request.query == "bad":
            raise ServerUnreachable("HTTP 500: no")
        await asyncio.sleep(self.seconds)
        self.used[0] += 0.5
        return [self.sign * len(document) for document in request.documents]

    def cpu_seconds(self) -> float | None:
        return self.used[0]


@pytest.fixture
def texts() -> ModelTexts:
    """The bundled model's."""
    LOG.clear()
    return open_texts("rerankd-zh-en")


def requests(*queries: str) -> list[BenchRequest]:
    return [BenchRequest(query, ("a", "a b", "a b c")) for query in queries]


def test_rounds_are_interleaved_with_the_same_requests_and_the_peak_between(texts: ModelTexts) -> None:
    def sample() -> float:
        LOG.append("peak")
        return 1e9

    rounds = [requests("q0", "q1"), requests("q2", "q3")]
    targets = [FakeTarget("a", 0.001), FakeTarget("b", 0.001)]
    asyncio.run(measure_cell(targets, Cell(3, 1), rounds, texts, sample))
    first = ["peak", "a q0", "a q1", "peak", "b q0", "b q1", "peak"]
    assert [*first, "a q2", "a q3", "peak", "b q2", "b q3", "peak"] == LOG


def test_figures_count_what_was_answered(texts: ModelTexts) -> None:
    rounds = [requests("q0", "bad", "q1")]
    found = asyncio.run(measure_cell([FakeTarget("a", 0.01)], Cell(3, 1), rounds, texts, lambda: 1e9))
    (figures,) = found.targets
    assert (figures.requests, figures.errors, figures.first_error) == (3, 1, "server_unreachable: HTTP 500: no")
    wall = 6 / figures.pairs_per_s
    tokens = sum(sum(texts.lengths(request)) for request in requests("q0", "q1"))
    assert figures.tokens_per_s * wall == pytest.approx(tokens)
    assert figures.cpu_cores
    assert figures.cpu_cores * wall == pytest.approx(1.0)
    lengths = [length for request in requests("q0", "q1") for length in texts.lengths(request)]
    flops = LayerShape(12, 384, 1536).flops(lengths)
    assert figures.gflops
    assert figures.gflops * wall == pytest.approx(flops / 1e9)
    assert figures.share_of_peak
    assert figures.share_of_peak.median * 1e9 * wall == pytest.approx(flops)
    assert figures.latency
    assert 0.01 <= figures.latency.p50_s <= figures.latency.max_s < wall


def test_another_machine_has_no_share_of_this_ones_peak(texts: ModelTexts) -> None:
    targets = [FakeTarget("ours", 0.001), FakeTarget("far", 0.001, local=False)]
    found = asyncio.run(measure_cell(targets, Cell(3, 1), [requests("q")], texts, lambda: 1e9))
    assert [figures.share_of_peak is not None for figures in found.targets] == [True, False]


def test_a_ratio_says_how_much_faster_the_first_is_and_whether_they_agree(texts: ModelTexts) -> None:
    targets = [FakeTarget("ours", 0.01), FakeTarget("same", 0.04), FakeTarget("other way round", 0.01, sign=-1)]
    rounds = [requests(f"q{i}", f"r{i}") for i in range(3)]
    found = asyncio.run(measure_cell(targets, Cell(3, 2), rounds, texts))
    same, other = found.comparisons
    assert same.ratio
    assert 1 < same.ratio.least <= same.ratio.median <= same.ratio.most
    assert (same.agreement, other.agreement) == (pytest.approx(1.0), pytest.approx(-1.0))


def test_a_server_that_never_answers_has_no_ratio(texts: ModelTexts) -> None:
    found = asyncio.run(
        measure_cell([FakeTarget("a", 0), FakeTarget("b", 0)], Cell(3, 1), [requests("bad")], texts, lambda: 1e9)
    )
    assert [(figures.errors, figures.latency, figures.pairs_per_s) for figures in found.targets] == [(1, None, 0)] * 2
    assert (found.comparisons[0].ratio, found.comparisons[0].agreement) == (None, None)
