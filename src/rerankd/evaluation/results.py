"""What an evaluation found, in numbers: estimates, comparisons, calibration, speed and cost, per group of queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from rerankd.evaluation.calibration import Calibration, Threshold, calibration, thresholds
from rerankd.evaluation.judging import Evaluation, Verdict, judged_pairs
from rerankd.evaluation.metrics import Measure
from rerankd.evaluation.statistics import Difference, Estimate, differences, estimates

ALL = "all sets"
"""The group of everything: the mean of the sets' means."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What answers took: milliseconds per query, pairs per second, tokens; cost per 1,000 queries if there is a price.

    A server's time includes the way there and back. None: it was not asked, or did not say.
    """

    queries: int
    p50_ms: float
    p95_ms: float
    pairs_per_s: float
    tokens: int | None
    cost_per_1000: float | None


@dataclass(frozen=True, slots=True)
class Standing:
    """One system in one group."""

    system: str
    kind: str
    estimates: Mapping[Measure, Estimate]
    speed: Speed | None
    calibration: Calibration | None


@dataclass(frozen=True, slots=True)
class Duel:
    """`first` minus `second`, per measure."""

    first: str
    second: str
    differences: Mapping[Measure, Difference]


@dataclass(frozen=True, slots=True)
class Group:
    """A set, a subset of one, or everything. `rows` are the numbers of its queries."""

    name: str
    set: str
    subset: str
    rows: tuple[int, ...]
    candidates: float
    standings: tuple[Standing, ...]
    duels: tuple[Duel, ...]


def groups(evaluation: Evaluation, *, price_per_hour: float | None = None) -> list[Group]:
    """Sum up: everything first where there are several sets, then each set, and its subsets where it has several."""
    return [
        Group(
            name, set_, subset, tuple(rows), _candidates(evaluation, rows),
            tuple(_standing(evaluation, verdict, rows, price_per_hour) for verdict in evaluation.verdicts),
            _duels(evaluation, rows),
        )
        for name, set_, subset, rows in _parts(evaluation)
    ]  # fmt: skip


def suggestions(evaluation: Evaluation, verdict: Verdict) -> list[Threshold]:
    """Suggest score thresholds for a system, over the judged pairs of all sets; none for a system without scores."""
    if verdict.kind == "baseline":
        return []
    return thresholds(*judged_pairs(evaluation, verdict, range(len(verdict.answers))))


def worst(verdict: Verdict, count: int) -> list[int]:
    """Return the numbers of the queries that a system did worst on by the first measure, worst first."""
    order = np.argsort(verdict.values[:, 0], kind="stable")
    return [int(number) for number in order[:count] if verdict.values[number, 0] < 1]


def _parts(evaluation: Evaluation) -> list[tuple[str, str, str, Sequence[int]]]:
    parts: list[tuple[str, str, str, Sequence[int]]] = []
    if len(evaluation.sets) > 1:
        parts.append((ALL, "", "", range(len(evaluation.queries))))
    start = 0
    for judged in evaluation.sets:
        rows = range(start, start + len(judged.queries))
        parts.append((judged.name, judged.name, "", rows))
        subsets = dict.fromkeys(query.subset for query in judged.queries)
        if len(subsets) > 1:
            for subset in subsets:
                inside = [start + i for i, query in enumerate(judged.queries) if query.subset == subset]
                parts.append((f"{judged.name} [{subset or '-'}]", judged.name, subset, inside))
        start += len(judged.queries)
    return parts


def _candidates(evaluation: Evaluation, rows: Sequence[int]) -> float:
    queries = evaluation.queries
    return float(np.mean([len(queries[row].ids) for row in rows]))


def _standing(evaluation: Evaluation, verdict: Verdict, rows: Sequence[int], price_per_hour: float | None) -> Standing:
    rules = evaluation.rules
    found = estimates(
        verdict.values[list(rows)], evaluation.strata[list(rows)], resamples=rules.resamples, seed=rules.seed
    )
    measured = None
    if verdict.probabilities:
        scores, relevant, _ = judged_pairs(evaluation, verdict, rows)
        measured = calibration(scores, relevant)
    return Standing(
        verdict.system, verdict.kind, dict(zip(rules.measures, found, strict=True)),
        _speed(verdict, rows, price_per_hour), measured,
    )  # fmt: skip


def _speed(verdict: Verdict, rows: Sequence[int], price_per_hour: float | None) -> Speed | None:
    timed = [answer for answer in (verdict.answers[row] for row in rows) if answer.seconds is not None]
    if not timed:
        return None
    seconds = np.array([answer.seconds for answer in timed], np.float64)
    total = float(seconds.sum())
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    tokens = [answer.tokens for answer in timed if answer.tokens is not None]
    cost = None if price_per_hour is None else price_per_hour / 3600 * total / len(timed) * 1000
    pairs = sum(len(answer.ids) for answer in timed)
    return Speed(len(timed), float(p50), float(p95), pairs / max(total, 1e-9), sum(tokens) if tokens else None, cost)


def _duels(evaluation: Evaluation, rows: Sequence[int]) -> tuple[Duel, ...]:
    rules = evaluation.rules
    duelling = list(combinations(evaluation.verdicts, 2))
    if not duelling:
        return ()
    strata = evaluation.strata[list(rows)]
    per_measure: list[list[Difference]] = []
    for column in range(len(rules.measures)):
        gaps = np.stack([a.values[list(rows), column] - b.values[list(rows), column] for a, b in duelling], axis=1)
        per_measure.append(differences(gaps, strata, resamples=rules.resamples, seed=rules.seed))
    return tuple(
        Duel(a.system, b.system, {measure: per_measure[j][i] for j, measure in enumerate(rules.measures)})
        for i, (a, b) in enumerate(duelling)
    )
