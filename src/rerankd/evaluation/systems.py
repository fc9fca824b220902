"""What is judged: a model in this process, a server, a run file, and the orders that cost nothing."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from rerankd.evaluation.bm25 import Bm25
from rerankd.evaluation.judged import JudgedQuery, JudgedSet
from rerankd.evaluation.trec import Run
from rerankd.types import Ranking, ScoreType

Kind: TypeAlias = Literal["model", "server", "run", "baseline"]

Rank = Callable[[str, tuple[str, ...]], Ranking]
"""Ranks documents for a query; all of them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A system's scores for one query, in the order of the candidates (of a run: its own documents, best first).

    `seconds` is wall time and `tokens` what was read; None where nothing was asked. `score_type` None: no known scale.
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    seconds: float | None = None
    tokens: int | None = None
    score_type: ScoreType | None = None


class System(Protocol):
    """Something that puts candidates in order."""

    @property
    def name(self) -> str:
        """What it is called in results."""
        ...

    @property
    def kind(self) -> Kind:
        """What sort of thing it is."""
        ...

    def answers(self, judged: JudgedSet) -> Iterator[Answer]:
        """Yield one answer per query, in the order of the set."""
        ...


@dataclass(frozen=True, slots=True)
class Ranker:
    """Whatever ranks texts: a model through `Reranker`, or a server through a client. The first query is not timed."""

    name: str
    kind: Kind
    rank: Rank

    def answers(self, judged: JudgedSet) -> Iterator[Answer]:
        """Rank one query after the other, after one unmeasured request that opens connections and pages."""
        first = next((query for query in judged.queries if query.documents), None)
        if first is not None:
            self.rank(first.query, (first.documents[-1],))
        for query in judged.queries:
            yield self._answer(query) if query.documents else Answer((), ())

    def _answer(self, query: JudgedQuery) -> Answer:
        started = time.perf_counter()
        ranking = self.rank(query.query, query.documents)
        seconds = time.perf_counter() - started
        scores = [0.0] * len(query.documents)
        for ranked in ranking:
            scores[ranked.index] = ranked.score
        return Answer(query.ids, tuple(scores), seconds, ranking.usage.tokens or None, ranking.score_type)


@dataclass(frozen=True, slots=True)
class GivenOrder:
    """The order that the candidates came in: what reranking must beat."""

    name: str = "given order"
    kind: Kind = "baseline"

    def answers(self, judged: JudgedSet) -> Iterator[Answer]:
        """Score by place."""
        for query in judged.queries:
            yield Answer(query.ids, tuple(-float(place) for place in range(len(query.ids))))


@dataclass(frozen=True, slots=True)
class Bm25Order:
    """BM25 over the candidates; how rare a word is it learns from all candidates of the set."""

    name: str = "BM25"
    kind: Kind = "baseline"

    def answers(self, judged: JudgedSet) -> Iterator[Answer]:
        """Index the set's documents, then score each query's candidates."""
        places: dict[str, int] = {}
        for query in judged.queries:
            for document in query.documents:
                places.setdefault(document, len(places))
        index = Bm25.build(places)
        for query in judged.queries:
            started = time.perf_counter()
            scores = index.scores_of(query.query, [places[document] for document in query.documents])
            yield Answer(query.ids, tuple(map(float, scores)), time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class RunFile:
    """A ranking that somebody else made; its documents need not be the candidates. What it leaves out has no place.

    `run` finds the run of a set by the set's name.
    """

    name: str
    run: Callable[[str], Run]
    kind: Kind = "run"

    def answers(self, judged: JudgedSet) -> Iterator[Answer]:
        """Look each query up."""
        run = self.run(judged.name)
        for query in judged.queries:
            ranking = run.get(query.id, ())
            scores = tuple(score for _, score in ranking)
            # A run does not say what its scores are; numbers from 0 to 1 are taken at their word.
            kind = ScoreType.PROBABILITY if all(0 <= score <= 1 for score in scores) else None
            yield Answer(tuple(id_ for id_, _ in ranking), scores, score_type=kind)
