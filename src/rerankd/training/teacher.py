"""Who scores documents during training: the model itself for mining, or a teacher whose opinion is learnt."""

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from rerankd.client import Client
from rerankd.reranker import Reranker
from rerankd.settings import Settings
from rerankd.training.lists import TrainingList
from rerankd.training.mining import Score
from rerankd.types import Ranking

_SMALLEST = 1e-6


@contextmanager
def local(model: str, settings: Settings, *, raw: bool) -> Generator[Score]:
    """Score with a model in this process: raw scores (logits), or scores as served.

    Raises:
        ConfigError, ModelLoadError: it cannot be loaded.
    """
    with Reranker(model, settings=settings) as reranker:

        def score(query: str, documents: Sequence[str]) -> Sequence[float]:
            return _in_order(reranker.rank(query, documents, raw_scores=raw))

        yield score


@contextmanager
def remote(url: str, api_key: str | None, model: str = "") -> Generator[Score]:
    """Score with a server; its probabilities become logits."""
    with Client(url, api_key=api_key, model=model) as client:

        def score(query: str, documents: Sequence[str]) -> Sequence[float]:
            return [_logit(one) for one in _in_order(client.rank(query, documents))]

        yield score


def ask(lists: Iterable[TrainingList], score: Score) -> tuple[TrainingList, ...]:
    """Let a teacher score the documents of every list."""
    return tuple(replace(one, soft=tuple(score(one.query, (*one.positives, *one.negatives)))) for one in lists)


def _in_order(ranking: Ranking) -> list[float]:
    found: Mapping[int, float] = {ranked.index: ranked.score for ranked in ranking}
    return [found[index] for index in range(len(found))]


def _logit(probability: float) -> float:
    """Invert the sigmoid; a server that answers with other numbers than probabilities is taken at its word."""
    if not 0 <= probability <= 1:
        return probability
    kept = min(max(probability, _SMALLEST), 1 - _SMALLEST)
    return math.log(kept / (1 - kept))
