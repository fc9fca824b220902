"""How far the scores of one graph agree with those of another: the figures, and what passes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from rerankd.types import JsonValue

MAX_ERROR = 0.05
MIN_SPEARMAN = 0.99
MIN_TOP1 = 0.9
MIN_TOP5 = 0.9
_DIGITS = 5

Scores = Sequence[NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Over some requests; raw scores throughout.

    `error` is the standard deviation of the differences, `largest` the largest of them; both over `spread`, the
    standard deviation of all reference scores. `spearman` and `lowest_spearman` are the mean and the lowest over the
    requests; `top1` is the share of requests with the same first document, `top5` the mean share of the first five
    that are the same.
    """

    requests: int
    pairs: int
    spread: float
    error: float
    largest: float
    spearman: float
    lowest_spearman: float
    top1: float
    top5: float

    @property
    def passes(self) -> bool:
        """Whether int8 may be taken without being asked for."""
        close = self.error < MAX_ERROR and self.spearman > MIN_SPEARMAN
        return close and self.top1 >= MIN_TOP1 and self.top5 >= MIN_TOP5

    def facts(self) -> dict[str, JsonValue]:
        """For a file or an answer."""
        return {name: round(value, _DIGITS) for name, value in asdict(self).items()}

    def sentence(self) -> str:
        """In words."""
        return (
            f"error {self.error:.1%} of the spread of scores, Spearman {self.spearman:.4f}, same first document "
            f"{self.top1:.0%}, same first five {self.top5:.0%}, over {self.pairs} pairs"
        )


def agreement(reference: Scores, scores: Scores) -> Agreement:
    """Compare the scores of some requests, one array each, shape `(documents,)`, at least two documents."""
    before = np.concatenate(reference).astype(np.float64)
    gaps = np.concatenate(scores).astype(np.float64) - before
    spread = float(before.std())
    unit = spread or 1.0
    pairs = list(zip(reference, scores, strict=True))
    correlations = [_correlation(_ranks(a), _ranks(b)) for a, b in pairs]
    return Agreement(
        requests=len(pairs),
        pairs=len(before),
        spread=spread,
        error=float(gaps.std()) / unit,
        largest=float(np.abs(gaps).max()) / unit,
        spearman=float(np.mean(correlations)),
        lowest_spearman=float(np.min(correlations)),
        top1=float(np.mean([_same_first(a, b, 1) for a, b in pairs])),
        top5=float(np.mean([_same_first(a, b, 5) for a, b in pairs])),
    )


def _same_first(a: NDArray[np.float32], b: NDArray[np.float32], depth: int) -> float:
    depth = min(depth, len(a))
    first = [set(np.argsort(-scores, kind="stable")[:depth].tolist()) for scores in (a, b)]
    return len(first[0] & first[1]) / depth


def _ranks(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Ranks from 0; equal scores share the mean of theirs."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts + ends - 1) / 2)[places]


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if not a.std() or not b.std():
        return float(a.std() == b.std())  # all equal: nothing can be out of order, unless only one side is
    return float(np.corrcoef(a, b)[0, 1])
