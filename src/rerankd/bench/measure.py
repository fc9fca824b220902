"""One cell of the bench: so many documents, so many clients, every target by turns, the matrix peak in between.

A round sends the same requests to each target, one target after another, so that the drift of a shared machine meets
all of them; what is compared is compared within a round.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rerankd.bench.load import Round, Target, closed_loop
from rerankd.bench.requests import BenchRequest
from rerankd.bench.statistics import Latency, Spread, latency, spearman, spread
from rerankd.bench.texts import ModelTexts

_LEAST_DOCUMENTS_OF_AN_ORDER = 3


@dataclass(frozen=True, slots=True)
class TargetFigures:
    """One target in one cell, over all rounds. Rates count answered requests only, per second of wall clock.

    `tokens_per_s` and `gflops` count what *our* model's network would read, whoever answered. `cpu_cores` is CPU time
    over wall clock. `share_of_peak` is floating-point operations per second over the matrix peak measured just before
    and after, per round. None: not known here.
    """

    target: str
    requests: int
    errors: int
    first_error: str
    pairs_per_s: float
    tokens_per_s: float
    gflops: float | None
    latency: Latency | None
    cpu_cores: float | None
    share_of_peak: Spread | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The first target against another: ratio of tokens per second by round, and whether they order documents alike.

    `ratio` above 1 means that the first is faster; None where a round of either had no answers. `agreement` is the
    median over requests of Spearman's rank correlation of the scores.
    """

    target: str
    ratio: Spread | None
    agreement: float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """What was asked for. `documents` None means: as many as the user's own requests have."""

    documents: int | None
    clients: int


@dataclass(frozen=True, slots=True)
class CellFigures:
    """What was found; `left_out` says why nothing was measured, "" where it was. `peak_gflops` is the median."""

    documents: int | None
    clients: int
    left_out: str
    rounds: int
    peak_gflops: float | None
    targets: tuple[TargetFigures, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class _Turn:
    """One target's round, with the work its requests hold and the peak around it (operations per second)."""

    done: Round
    requests: Sequence[BenchRequest]
    lengths: Sequence[Sequence[int]]
    peak: float | None

    @property
    def pairs(self) -> int:
        return sum(len(self.requests[sample.index].documents) for sample in self.done.answered)

    @property
    def tokens(self) -> int:
        return sum(sum(self.lengths[sample.index]) for sample in self.done.answered)

    def flops(self, texts: ModelTexts) -> int | None:
        lengths = [length for sample in self.done.answered for length in self.lengths[sample.index]]
        return texts.shape.flops(lengths) if texts.shape else None


async def measure_cell(
    targets: Sequence[Target],
    cell: Cell,
    rounds: Sequence[Sequence[BenchRequest]],
    texts: ModelTexts,
    sample_peak: Callable[[], float] | None = None,
) -> CellFigures:
    """Send each round's requests to each target by turns.

    `sample_peak` returns operations per second of the machine, while nothing else runs; it may block.
    """
    turns: dict[str, list[_Turn]] = {target.name: [] for target in targets}
    before = await _sample(sample_peak)
    peaks = [before]
    for requests in rounds:
        lengths = await asyncio.to_thread(_lengths, texts, requests)
        for target in targets:
            done = await closed_loop(target, requests, cell.clients)
            after = await _sample(sample_peak)
            peak = (before + after) / 2 if before and after and target.local else None
            turns[target.name].append(_Turn(done, requests, lengths, peak))
            peaks.append(after)
            before = after
    middle = spread([peak for peak in peaks if peak])
    first = turns[targets[0].name]
    return CellFigures(
        documents=cell.documents,
        clients=cell.clients,
        left_out="",
        rounds=len(rounds),
        peak_gflops=middle.median / 1e9 if middle else None,
        targets=tuple(_figures(name, of, texts) for name, of in turns.items()),
        comparisons=tuple(_compare(target.name, first, turns[target.name]) for target in targets[1:]),
    )


def left_out(cell: Cell, why: str) -> CellFigures:
    """Note that a cell was not measured."""
    return CellFigures(cell.documents, cell.clients, why, 0, None, (), ())


def _lengths(texts: ModelTexts, requests: Sequence[BenchRequest]) -> list[Sequence[int]]:
    return [texts.lengths(request) for request in requests]


async def _sample(sample_peak: Callable[[], float] | None) -> float | None:
    return await asyncio.to_thread(sample_peak) if sample_peak else None


def _figures(name: str, turns: Sequence[_Turn], texts: ModelTexts) -> TargetFigures:
    wall = sum(turn.done.wall_s for turn in turns)
    samples = [sample for turn in turns for sample in turn.done.samples]
    errors = [sample.error for sample in samples if sample.error]
    cpu = [turn.done.cpu_s for turn in turns if turn.done.cpu_s is not None]
    flops = [turn.flops(texts) for turn in turns]
    known = [count for count in flops if count is not None]
    shares = [
        count / turn.done.wall_s / turn.peak for count, turn in zip(flops, turns, strict=True) if count and turn.peak
    ]
    return TargetFigures(
        target=name,
        requests=len(samples),
        errors=len(errors),
        first_error=errors[0] if errors else "",
        pairs_per_s=sum(turn.pairs for turn in turns) / wall,
        tokens_per_s=sum(turn.tokens for turn in turns) / wall,
        gflops=sum(known) / wall / 1e9 if len(known) == len(turns) else None,
        latency=latency([sample.seconds for sample in samples if not sample.error]),
        cpu_cores=sum(cpu) / wall if len(cpu) == len(turns) else None,
        share_of_peak=spread(shares),
    )


def _compare(name: str, ours: Sequence[_Turn], theirs: Sequence[_Turn]) -> Comparison:
    ratios = [
        (a.tokens / a.done.wall_s) / (b.tokens / b.done.wall_s)
        for a, b in zip(ours, theirs, strict=True)
        if a.tokens and b.tokens
    ]
    orders = [
        found
        for a, b in zip(ours, theirs, strict=True)
        for mine, other in zip(a.done.samples, b.done.samples, strict=True)
        if not mine.error and not other.error and len(mine.scores) >= _LEAST_DOCUMENTS_OF_AN_ORDER
        if (found := spearman(mine.scores, other.scores)) is not None
    ]
    agreement = spread(orders)
    return Comparison(name, spread(ratios), agreement.median if agreement else None)
