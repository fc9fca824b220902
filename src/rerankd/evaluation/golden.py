"""A user's own judged queries as one number: the mean nDCG@10 of a model that is not served yet."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rerankd.errors import ConfigError, InvalidRequest
from rerankd.evaluation import sets
from rerankd.evaluation.judging import Rules, judge, judgeable
from rerankd.evaluation.metrics import NDCG_10
from rerankd.evaluation.systems import Ranker
from rerankd.types import Ranked, Ranking, ScoreType

Scores = Callable[[str, Sequence[str]], Sequence[float]]


def measure(path: Path) -> Callable[[Scores], float]:
    """Read the queries; return what measures a model on them, given what scores documents in their order.

    Raises:
        ConfigError: there are none, or they cannot be read.
    """
    try:
        judged = judgeable(sets.load(path))
    except InvalidRequest as error:
        raise ConfigError(f"models.golden_set cannot be used: {error}") from error

    def ndcg(score: Scores) -> float:
        def rank(query: str, documents: tuple[str, ...]) -> Ranking:
            items = tuple(Ranked(i, value) for i, value in enumerate(score(query, documents)))
            return Ranking(tuple(sorted(items, key=lambda hit: -hit.score)), "", ScoreType.LOGIT)

        verdict = judge(Ranker("model", "model", rank), [judged], Rules(measures=(NDCG_10,)))
        return float(verdict.values[:, 0].mean())

    return ndcg
