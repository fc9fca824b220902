"""Scores to an order."""

from collections.abc import Sequence

from rerankd.types import GIVEN_ORDER, Ranked, Ranking, ScoreType, Timing


def rank(indexes: Sequence[int], scores: Sequence[float], top_n: int | None) -> tuple[Ranked, ...]:
    """Order documents best first, ties by index; keep the first `top_n` (None or 0: all).

    `indexes` are the documents' places in the request, one per score.
    """
    ordered = sorted(zip(indexes, scores, strict=True), key=lambda one: (-one[1], one[0]))
    return tuple(Ranked(index, score) for index, score in ordered[: top_n or None])


def given_order(count: int, top_n: int | None, total_s: float) -> Ranking:
    """Leave documents as they came. The numbers fall from 1 with the place, so that nobody's sorting changes it."""
    items = rank(range(count), [1 - i / count for i in range(count)], top_n)
    return Ranking(items, GIVEN_ORDER, ScoreType.POSITION, timing=Timing(total_s))
