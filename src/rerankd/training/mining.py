"""Hard negatives: documents that look relevant to BM25 or to the model itself, and are not among the relevant ones."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from rerankd.evaluation.bm25 import Bm25
from rerankd.evaluation.judged import JudgedQuery
from rerankd.training.lists import TrainingData, TrainingList

Score = Callable[[str, Sequence[str]], Sequence[float]]
"""Scores documents for a query; the greater, the more relevant. Probabilities where positives are compared."""

_DEPTH = 30
_CLOSE_TO_POSITIVE = 0.95
"""What the model finds this close to the worst relevant document may well be relevant and unjudged: it is passed over.

The share is that of NV-Retriever (Moreira et al. 2024, "TopK-PercPos")."""


Watch = Callable[[Iterable[TrainingList]], Iterable[TrainingList]]
"""Shows how far a loop over lists is."""


def mine(data: TrainingData, count: int, score: Score | None, *, seed: int, watch: Watch) -> tuple[TrainingList, ...]:
    """Fill every list up to `count` negatives: those given first, then the hardest of BM25's candidates.

    With `score` the candidates are put in its order, else in BM25's. Where too few share a word with the query, the
    rest is drawn at random.
    """
    index = Bm25.build(data.documents)
    return tuple(_filled(one, data.documents, index, count, score, seed=seed) for one in watch(data.lists))


def _filled(
    one: TrainingList, documents: Sequence[str], index: Bm25, count: int, score: Score | None, *, seed: int
) -> TrainingList:
    missing = count - len(one.negatives)
    if missing <= 0:
        return replace(one, negatives=one.negatives[:count])
    known = {*one.positives, *one.negatives}
    found = [text for text in (documents[place] for place in index.top(one.query, _DEPTH)) if text not in known]
    if score is not None and found:
        found = _hardest(one, found, score)
    rng = random.Random(f"{seed}:{one.query}")  # noqa: S311 - a draw that can be repeated, not a secret
    drawn = rng.sample(documents, min(len(documents), len(known) + count + len(found)))
    others = [text for text in drawn if text not in known and text not in found]
    return replace(one, negatives=(*one.negatives, *(found + others)[:missing]))


def _hardest(one: TrainingList, found: Sequence[str], score: Score) -> list[str]:
    scores = list(score(one.query, [*one.positives, *found]))
    limit = _CLOSE_TO_POSITIVE * min(scores[: len(one.positives)])
    ranked = sorted(zip(scores[len(one.positives) :], found, strict=True), key=lambda pair: -pair[0])
    return [text for value, text in ranked if value < limit]


def judged(held: Sequence[TrainingList], documents: Sequence[str], candidates: int) -> tuple[JudgedQuery, ...]:
    """Make the lists that held-out queries are judged on, of `candidates` documents or a few more.

    BM25's come first, then the negatives that were given, then random ones where there are too few, and last the
    relevant ones that BM25 missed: its own order is not flattered.
    """
    index = Bm25.build(documents)
    return tuple(_judged(place, one, documents, index, candidates) for place, one in enumerate(held))


def _judged(place: int, one: TrainingList, documents: Sequence[str], index: Bm25, candidates: int) -> JudgedQuery:
    found = [documents[found] for found in index.top(one.query, candidates)]
    known = dict.fromkeys((*found, *one.negatives))
    rng = random.Random(one.query)  # noqa: S311 - repeatable, not secret
    drawn = rng.sample(documents, min(len(documents), candidates + len(known) + len(one.positives)))
    others = [text for text in drawn if text not in known and text not in one.positives]
    texts = tuple(dict.fromkeys((*known, *others[: max(0, candidates - len(known))], *one.positives)))
    ids = tuple(f"{place}.{number}" for number in range(len(texts)))
    gains = {id_: float(text in one.positives) for id_, text in zip(ids, texts, strict=True)}
    return JudgedQuery(str(place), one.query, ids, texts, gains)
