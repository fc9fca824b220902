"""Scores to an order."""

from collections.abc import Sequence

from rerankd.types import Ranked


def rank(indexes: Sequence[int], scores: Sequence[float], top_n: int | None) -> tuple[Ranked, ...]:
    """Order documents best first, ties by index; keep the first `top_n` (None or 0: all).

    `indexes` are the documents' places in the request, one per score.
    """
    ordered = sorted(zip(indexes, scores, strict=True), key=lambda one: (-one[1], one[0]))
    return tuple(Ranked(index, score) for index, score in ordered[: top_n or None])
