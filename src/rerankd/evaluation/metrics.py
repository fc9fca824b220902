"""Measures of a ranking: nDCG, MRR, MAP, recall and precision, as trec_eval computes them.

`docs/reference/evaluation.md` has the formulas; tests compare them with trec_eval's own code.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rerankd.errors import InvalidRequest
from rerankd.evaluation.judged import JudgedQuery

Floats = NDArray[np.float64]
Ties: TypeAlias = Literal["given", "trec_eval"]

_KINDS = {"ndcg": "nDCG", "mrr": "MRR", "map": "MAP", "recall": "Recall", "precision": "P"}
_ALIASES = {"rr": "mrr", "ap": "map", "r": "recall", "p": "precision"}
_WRITTEN = re.compile(r"([a-z]+)(?:@([1-9][0-9]{0,5}))?")


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure, over the first `cutoff` places (None: all)."""

    kind: str
    cutoff: int | None = None

    def __str__(self) -> str:
        return _KINDS[self.kind] + (f"@{self.cutoff}" if self.cutoff else "")


NDCG_10 = Measure("ndcg", 10)
MRR_10 = Measure("mrr", 10)
STANDARD = (NDCG_10, MRR_10, Measure("map"), *(Measure("recall", k) for k in (1, 5, 10)), Measure("precision", 5))


def parse(text: str) -> Measure:
    """Read a measure as people write it: "ndcg@10", "MRR", "R@5", "P@1".

    Raises:
        InvalidRequest: there is none of that name.
    """
    match = _WRITTEN.fullmatch(text.strip().lower())
    kind = _ALIASES.get(match[1], match[1]) if match else ""
    if not match or kind not in _KINDS:
        raise InvalidRequest(f"{text!r} is no measure: write ndcg@10, mrr@10, map, recall@5 or precision@5")
    if kind == "precision" and not match[2]:
        raise InvalidRequest("precision needs a depth: write precision@5")
    return Measure(kind, int(match[2]) if match[2] else None)


def order(scores: Sequence[float] | Floats, ids: Sequence[str] = (), ties: Ties = "given") -> NDArray[np.int64]:
    """Return the places of the documents, best first.

    Equal scores keep the order given; with "trec_eval" the greater id comes first, and scores are equal when they are
    as 32-bit numbers, as in that program (it then needs `ids`). NaN comes last.
    """
    values = np.asarray(scores, np.float64)
    values = np.where(np.isnan(values), -np.inf, values)
    if ties == "given":
        return np.argsort(-values, kind="stable")
    single = values.astype(np.float32)
    # Code points sort as UTF-8 bytes do, which is what strcmp in trec_eval compares.
    by_id = sorted(range(len(ids)), key=lambda place: ids[place], reverse=True)
    return np.asarray(sorted(by_id, key=lambda place: -single[place]), np.int64)


def values(
    measures: Sequence[Measure], ranked: Sequence[float], judged: Sequence[float], *, relevant_from: float = 1.0
) -> list[float]:
    """Measure one ranking.

    `ranked` holds the gain at each place, best place first; `judged` the gains of all judged documents of the query,
    ranked or not. A gain of at least `relevant_from` is relevant, for the measures that know no grades. A query with
    nothing relevant measures 0.
    """
    gains = np.maximum(np.asarray(ranked, np.float64), 0.0)
    ideal = np.sort(np.maximum(np.asarray(judged, np.float64), 0.0))[::-1]
    hits = gains >= relevant_from
    relevant = int(np.count_nonzero(ideal >= relevant_from))
    return [_value(measure, gains, ideal, hits, relevant) for measure in measures]


def of_query(
    judged: JudgedQuery, scores: Sequence[float] | Floats, measures: Sequence[Measure] = (NDCG_10, MRR_10)
) -> list[float]:
    """Measure the order that scores give a query's candidates, ties in the order given."""
    gains = np.asarray(judged.gains, np.float64)[order(scores)]
    return values(measures, gains.tolist(), list(judged.judgements.values()))


def _value(measure: Measure, gains: Floats, ideal: Floats, hits: NDArray[np.bool_], relevant: int) -> float:
    k = measure.cutoff
    match measure.kind:
        case "ndcg":
            best = _dcg(ideal[:k])
            return _dcg(gains[:k]) / best if best else 0.0
        case "mrr":
            first = np.flatnonzero(hits[:k])
            return 1.0 / (int(first[0]) + 1) if len(first) else 0.0
        case "map":
            places = np.flatnonzero(hits[:k])
            return float(np.sum(np.arange(1, len(places) + 1) / (places + 1))) / relevant if relevant else 0.0
        case "recall":
            return float(np.count_nonzero(hits[:k])) / relevant if relevant else 0.0
        case _:
            return float(np.count_nonzero(hits[:k])) / (k or len(hits))


def _dcg(gains: Floats) -> float:
    return float(np.sum(gains / np.log2(np.arange(2, len(gains) + 2))))
