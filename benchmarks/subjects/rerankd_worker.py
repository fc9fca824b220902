"""rerankd in process: the Reranker of its library. Nothing is remembered, so that every pair is computed."""

import sys
from pathlib import Path

from loop import answer_all

from rerankd import Reranker
from rerankd.settings import CacheSettings, ModelsSettings, Settings

settings = Settings(
    models=ModelsSettings(default=sys.argv[1], store=Path(sys.argv[2]), precision=sys.argv[3], document_cache_mb=0),
    cache=CacheSettings(url="off://"),
)
reranker = Reranker(settings=settings)


def score(query, documents):
    """Raw scores: what the network says, before any activation."""
    scores = [0.0] * len(documents)
    for hit in reranker.rank(query, documents, raw_scores=True):
        scores[hit.index] = hit.score
    return scores


answer_all(score)
reranker.close()
