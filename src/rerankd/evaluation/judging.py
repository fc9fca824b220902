"""Putting systems to the test: every system answers every query, and each answer is measured."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rerankd.errors import InvalidRequest
from rerankd.evaluation import metrics
from rerankd.evaluation.judged import JudgedQuery, JudgedSet
from rerankd.evaluation.metrics import MRR_10, NDCG_10, Floats, Measure, Ties
from rerankd.evaluation.statistics import RESAMPLES
from rerankd.evaluation.systems import Answer, Kind, System
from rerankd.types import ScoreType

MEASURES = (NDCG_10, MRR_10, Measure("map"), Measure("recall", 1), Measure("recall", 5))


@dataclass(frozen=True, slots=True)
class Rules:
    """How answers are measured; the first measure is the one that systems are compared by."""

    measures: tuple[Measure, ...] = MEASURES
    ties: Ties = "given"
    relevant_from: float = 1.0
    resamples: int = RESAMPLES
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One system's answers to all queries, and their measures: shape `(queries, measures)`."""

    system: str
    kind: Kind
    answers: tuple[Answer, ...]
    values: Floats

    @property
    def probabilities(self) -> bool:
        """Whether every score is a probability."""
        asked = [answer for answer in self.answers if answer.ids]
        return bool(asked) and all(answer.score_type is ScoreType.PROBABILITY for answer in asked)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Every system's verdict over the queries of all sets, one set after the other."""

    sets: tuple[JudgedSet, ...]
    rules: Rules
    verdicts: tuple[Verdict, ...]

    @property
    def queries(self) -> tuple[JudgedQuery, ...]:
        """The queries of all sets, in the order of each verdict's answers."""
        return tuple(query for judged in self.sets for query in judged.queries)

    @property
    def strata(self) -> NDArray[np.int64]:
        """The number of the set that each query is from."""
        return np.repeat(np.arange(len(self.sets)), [len(judged.queries) for judged in self.sets])


Watch = Callable[[Iterator[Answer], str, int], Iterable[Answer]]
"""Shows progress: called with the answers, what is being done, and how many there will be."""


def unwatched(answers: Iterator[Answer], what: str, total: int) -> Iterable[Answer]:
    """Show nothing."""
    del what, total
    return answers


def judgeable(judged: JudgedSet, *, relevant_from: float = 1.0) -> JudgedSet:
    """Leave out the queries that nothing is relevant to: every system measures 0 there, which tells nothing.

    Raises:
        InvalidRequest: no query is left.
    """
    kept = [query for query in judged.queries if any(gain >= relevant_from for gain in query.judgements.values())]
    if not kept:
        raise InvalidRequest(
            f"{judged.name} has no query with a relevant document (a gain of {relevant_from:g} or more): "
            "lower --relevant-from, or look at the judgements"
        )
    return replace(judged, queries=tuple(kept))


def judge(system: System, sets: Sequence[JudgedSet], rules: Rules, watch: Watch = unwatched) -> Verdict:
    """Let one system answer every query, and measure it; memory holds ids and scores.

    Raises:
        RerankError: the system failed.
    """
    answers: list[Answer] = []
    values: list[list[float]] = []
    for judged in sets:
        watched = watch(system.answers(judged), f"{system.name}: {judged.name}", len(judged.queries))
        for query, answer in zip(judged.queries, watched, strict=True):
            gains = [query.judgements.get(id_, 0.0) for id_, _ in ranking(answer, rules.ties)]
            given = list(query.judgements.values())
            values.append(metrics.values(rules.measures, gains, given, relevant_from=rules.relevant_from))
            answers.append(answer)
    return Verdict(system.name, system.kind, tuple(answers), np.asarray(values, np.float64))


def ranking(answer: Answer, ties: Ties = "given") -> list[tuple[str, float]]:
    """Return (id, score), best first."""
    return [(answer.ids[place], answer.scores[place]) for place in metrics.order(answer.scores, answer.ids, ties)]


def judged_pairs(
    evaluation: Evaluation, verdict: Verdict, rows: Sequence[int]
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
    """Return the score of each judged pair, whether it is relevant, and the number of its query.

    Where a set holds no judgement of an irrelevant document (as BEIR's do), unjudged candidates count as irrelevant.
    """
    queries = evaluation.queries
    wanted = set(rows)
    complete = _complete(evaluation)
    scores: list[float] = []
    relevant: list[bool] = []
    numbers: list[int] = []
    for number, stratum in enumerate(evaluation.strata):
        if number not in wanted:
            continue
        answer, judgements = verdict.answers[number], queries[number].judgements
        for id_, score in zip(answer.ids, answer.scores, strict=True):
            if id_ in judgements or not complete[stratum]:
                scores.append(score)
                relevant.append(judgements.get(id_, 0.0) >= evaluation.rules.relevant_from)
                numbers.append(number)
    return np.asarray(scores, np.float64), np.asarray(relevant, np.bool_), np.asarray(numbers, np.int64)


def _complete(evaluation: Evaluation) -> list[bool]:
    return [
        any(gain < evaluation.rules.relevant_from for query in judged.queries for gain in query.judgements.values())
        for judged in evaluation.sets
    ]
