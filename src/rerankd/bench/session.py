"""One sitting on one set of requests: which cells are measured, with how many requests, until the time is up."""

import asyncio
import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from rerankd.bench import capacity
from rerankd.bench.capacity import Capacity, Demand
from rerankd.bench.load import Target, closed_loop
from rerankd.bench.measure import Cell, CellFigures, left_out, measure_cell
from rerankd.bench.peak import MatrixPeak
from rerankd.bench.plan import Plan, plan_cell
from rerankd.bench.report import Peak
from rerankd.bench.requests import BenchRequest, RequestMaker
from rerankd.bench.targets import InProcess
from rerankd.bench.texts import ModelTexts
from rerankd.errors import ServerUnreachable
from rerankd.reranker import AsyncReranker

_WARM_DOCUMENTS = (2, 20)
_LEAST_CELL_S = 0.3
_CAPACITY_CLIENTS = 4
_INT8_SAMPLE_S = 0.6


@dataclass(frozen=True, slots=True)
class Found:
    """All cells, in the order asked for, and the peak over all samples."""

    cells: tuple[CellFigures, ...]
    peak: Peak


@dataclass(slots=True)
class Session:
    """What all cells share. `requests` are the user's own, None to make them; `deadline` is a `perf_counter` time,

    `sample_s` how long one sample of the peak takes. `shares`: the peak is sampled in every cell.
    """

    texts: ModelTexts
    maker: RequestMaker
    requests: Sequence[BenchRequest] | None
    deadline: float
    sample_s: float
    insist: bool
    shares: bool
    say: Callable[[str], None]
    _numbers: dict[int, "itertools.count[int]"] = field(default_factory=dict[int, "itertools.count[int]"])

    async def measure(
        self, targets: Sequence[Target], cells: Sequence[Cell], peak: MatrixPeak, *, asks_more: bool
    ) -> Found:
        """Measure the cells, cheap ones first; `asks_more` leaves time for a question after them.

        Raises:
            ServerUnreachable: a target answers not even the first requests.
        """
        self.say("warming up")
        speeds = [await self._speed(target) for target in targets]
        samples: list[float] = []

        def sample() -> float:
            samples.append(peak.sample(self.sample_s))
            return samples[-1]

        found: dict[Cell, CellFigures] = {}
        ordered = sorted(cells, key=lambda cell: ((cell.documents or 0) * cell.clients, cell.clients))
        for place, cell in enumerate(ordered):
            plan = self._plan(cell, speeds, len(ordered) - place + asks_more, insist=self.insist or not place)
            if not plan.rounds:
                found[cell] = left_out(cell, f"it would have taken about {plan.seconds:.0f} s")
                continue
            size = f"{cell.documents} documents" if cell.documents else "the file's requests"
            self.say(f"{size} x {cell.clients} clients, about {plan.seconds:.0f} s")
            rounds = await asyncio.to_thread(self._rounds, cell.documents, plan)
            found[cell] = await measure_cell(targets, cell, rounds, self.texts, sample if self.shares else None)
        middle = statistics.median(samples) if samples else peak.sample()
        best = max(samples, default=middle)
        of = Peak(peak.precision, peak.workers, middle / 1e9, best / 1e9, max(1, len(samples)))
        return Found(tuple(found[cell] for cell in cells), of)

    async def answer(
        self, demand: Demand, ours: Target, peak: MatrixPeak, workers: int, *, bundled: AsyncReranker | None
    ) -> Capacity:
        """Measure with the demand's own requests and say whether they can be carried; if not, what would help.

        Raises:
            ServerUnreachable: none of the requests was answered.
        """
        self.say(f"capacity: {demand.documents} documents of {demand.doc_tokens} tokens")
        found = await self._capacity(demand, ours, workers)
        if found.carried:
            return found
        fewer = math.floor(demand.documents * capacity.TARGET_UTILISATION / found.utilisation)
        remedies = [f"fewer requests: up to {found.highest_requests_per_s:.2g} a second here"]
        if fewer:
            remedies.append(f"fewer documents: up to {fewer} per request here at {demand.requests_per_s:g} requests/s")
        if peak.precision == "fp32":
            remedies.append(await asyncio.to_thread(_int8_remedy, peak))
        if bundled:
            self.say("capacity: the bundled model")
            async with bundled:
                other = await self._capacity(demand, InProcess(bundled, "bundled"), workers)
            verdict = "carries it" if other.carried else "does not carry it"
            remedies.append(f"the bundled model {verdict}: utilisation {other.utilisation:.0%}, measured")
        return replace(found, remedies=tuple(remedies))

    async def _capacity(self, demand: Demand, target: Target, workers: int) -> Capacity:
        maker = self.maker.with_length(demand.doc_tokens)
        clients = max(_CAPACITY_CLIENTS, workers)
        trial = await closed_loop(target, [maker.make(demand.documents, number) for number in range(2)], 2)
        speed = 2 * demand.documents / trial.wall_s
        plan = plan_cell(demand.documents, clients, [speed], self._left(), insist=True)
        numbers = itertools.count(2)
        rounds = [
            [maker.make(demand.documents, next(numbers)) for _ in range(plan.requests)] for _ in range(plan.rounds)
        ]
        done = await measure_cell([target], Cell(demand.documents, clients), rounds, self.texts)
        (figures,) = done.targets
        if not figures.pairs_per_s:
            raise ServerUnreachable(f"{target.name} answered none of the requests: {figures.first_error}")
        return capacity.answer(
            demand, pairs_per_s=figures.pairs_per_s, tokens_per_s=figures.tokens_per_s, workers=workers
        )

    async def _speed(self, target: Target) -> float:
        """Return pairs per second of one request after a smaller one, which was the first of its kind."""
        pairs = seconds = 0.0
        for documents in _WARM_DOCUMENTS:
            request = self._next(documents)
            done = await closed_loop(target, [request], 1)
            if not done.answered:
                raise ServerUnreachable(f"{target.name} fails on its first request: {done.samples[0].error}")
            pairs, seconds = len(request.documents), done.wall_s
        return pairs / seconds

    def _plan(self, cell: Cell, speeds: Sequence[float], cells_left: int, *, insist: bool) -> Plan:
        documents = float(cell.documents or 0) or statistics.mean(len(one.documents) for one in self.requests or ())
        return plan_cell(documents, cell.clients, speeds, self._left() / cells_left, insist=insist)

    def _left(self) -> float:
        return max(_LEAST_CELL_S, self.deadline - time.perf_counter())

    def _rounds(self, documents: int | None, plan: Plan) -> list[list[BenchRequest]]:
        return [[self._next(documents or 0) for _ in range(plan.requests)] for _ in range(plan.rounds)]

    def _next(self, documents: int) -> BenchRequest:
        """Return a request nobody has seen yet; the user's own come again when all have been sent."""
        number = next(self._numbers.setdefault(0 if self.requests else documents, itertools.count()))
        return self.requests[number % len(self.requests)] if self.requests else self.maker.make(documents, number)


def _int8_remedy(peak: MatrixPeak) -> str:
    with MatrixPeak(peak.workers, "int8") as whole:
        ratio = whole.sample(_INT8_SAMPLE_S) / peak.sample(_INT8_SAMPLE_S)
    return f"int8 weights: at most {ratio:.1f} times the speed, the ratio of this machine's matrix peaks, measured"
