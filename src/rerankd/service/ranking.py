"""Scores to an order."""

from collections.abc import Sequence

from rerankd.types import Ranked


def rank(scores: Sequence[float], top_n: int | None) -> tuple[Ranked, ...]:
    """Order documents best first, ties by index; keep the first `top_n` (None or 0: all)."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    return tuple(Ranked(i, scores[i]) for i in order[: top_n or None])
