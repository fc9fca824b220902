"""What scores promise: their calibration as probabilities, and thresholds for a wanted precision or recall."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

BINS = 10
PRECISIONS = (0.5, 0.7, 0.8, 0.9, 0.95)
RECALLS = (0.99, 0.95, 0.9, 0.8, 0.5)


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs whose scores lie in one tenth of 0..1: how many, their mean score, and the share that is relevant."""

    pairs: int
    score: float
    relevant: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected calibration error over judged pairs, and the bins it is made of (empty ones left out)."""

    error: float
    pairs: int
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Threshold:
    """Keep documents with a score of at least `score`: what that does to the judged pairs.

    `target` is what was asked for ("precision" or "recall" at `wanted`, or the best "f1"). `kept` is the mean number of
    documents kept per query, `empty` the share of queries that keep none.
    """

    target: Literal["precision", "recall", "f1"]
    wanted: float | None
    score: float
    precision: float
    recall: float
    kept: float
    empty: float


def calibration(probabilities: Floats, relevant: Flags) -> Calibration:
    """Measure expected calibration error (Guo et al. 2017) over ten equally wide bins; all pairs weigh the same."""
    places = np.clip((probabilities * BINS).astype(np.int64), 0, BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    promised = np.bincount(places, probabilities, BINS)
    kept = np.bincount(places, relevant, BINS)
    bins = tuple(
        Bin(int(count), float(score / count), float(share / count))
        for count, score, share in zip(counts, promised, kept, strict=True)
        if count
    )
    return Calibration(float(np.abs(promised - kept).sum() / max(1, len(places))), len(places), bins)


def thresholds(
    scores: Floats,
    relevant: Flags,
    queries: NDArray[np.int64],
    *,
    precisions: Sequence[float] = PRECISIONS,
    recalls: Sequence[float] = RECALLS,
) -> list[Threshold]:
    """Suggest thresholds from judged pairs; `queries` says which query each pair is of, by number.

    For a precision: the lowest score that reaches it, for then most is found; a precision that no score reaches is left
    out. For a recall: the highest score that reaches it. Last, the score with the best F1. Nothing is suggested where
    nothing is relevant.
    """
    if not relevant.any():
        return []
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    # Equal scores pass a threshold together: only the last of them is a place to cut.
    cuts = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    found = np.cumsum(relevant[order])[cuts]
    precision, recall = found / (cuts + 1), found / relevant.sum()
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)

    def at(target: Literal["precision", "recall", "f1"], wanted: float | None, place: int) -> Threshold:
        score = float(ranked[cuts[place]])
        keeping = queries[scores >= score]
        count = len(np.unique(queries))
        return Threshold(
            target, wanted, score, float(precision[place]), float(recall[place]),
            len(keeping) / count, 1 - len(np.unique(keeping)) / count,
        )  # fmt: skip

    suggested: list[Threshold] = []
    for wanted in precisions:
        reached = np.flatnonzero(precision >= wanted)
        if len(reached):
            suggested.append(at("precision", wanted, int(reached[-1])))
    suggested += [at("recall", wanted, int(np.flatnonzero(recall >= wanted)[0])) for wanted in recalls]
    return [*suggested, at("f1", None, int(np.argmax(f1)))]
