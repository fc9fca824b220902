"""A relevant passage is found at any depth of a long document, among twenty, with a model of 512 tokens.

LONG_DOCUMENTS=full, or SCENARIOS=full, takes twenty documents of 20,000 tokens each and ten depths (some minutes);
otherwise one of 4,000 among short ones.
"""

import os
import random

import pytest

import long_runs
from rerankd import Reranker
from rerankd.settings import LimitsSettings, Settings
from rerankd.types import Ranking

QUERY = "How long does the warranty of the coffee machine last?"
ANSWER = "The coffee machine comes with a warranty of thirty months from the day of purchase."
_SUBJECTS = ("The harbour", "A violin maker", "The committee", "Our railway", "An old glacier", "The printing press")
_VERBS = ("described", "replaced", "measured", "painted", "discovered", "rebuilt", "questioned")
_OBJECTS = ("the northern bridge", "a row of lanterns", "every map of the valley", "the winter timetable", "two clocks")
_TIMES = ("in spring.", "before the war.", "with great care.", "for the third time.", "at the end of the season.")
FULL = long_runs.FULL or os.environ.get("LONG_DOCUMENTS") == "full"
TOKENS_PER_SENTENCE = 12


def filler(sentences: int, seed: int) -> list[str]:
    chosen = random.Random(seed)
    return [" ".join(map(chosen.choice, (_SUBJECTS, _VERBS, _OBJECTS, _TIMES))) for _ in range(sentences)]


def documents(depth: float) -> list[str]:
    long = (20_000 if FULL else 4_000) // TOKENS_PER_SENTENCE
    sentences = filler(long, seed=0)
    sentences.insert(round(depth * len(sentences)), ANSWER)
    others = [filler(long if FULL else 20, seed=i) for i in range(1, 20)]
    return [" ".join(text) for text in (*others[:10], sentences, *others[10:])]


def rank_of_it(ranking: Ranking) -> int:
    return [hit.index for hit in ranking].index(10) + 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_passage_is_found_at_any_depth_and_cutting_says_that_it_cut() -> None:
    depths = [i / 9 for i in range(10)] if FULL else [0.0, 0.5, 1.0]
    patient = Settings(limits=LimitsSettings(deadline_s=1500))  # 400,000 tokens, on however busy a machine
    with Reranker(settings=patient) as reranker:
        rankings = [reranker.rank(QUERY, documents(depth)) for depth in depths]
    for depth, ranking in zip(depths, rankings, strict=True):
        long_runs.told(
            f"long documents, depth {depth:.2f}: rank {rank_of_it(ranking)} of {len(ranking)}, "
            f"{ranking.usage.tokens} tokens"
        )
    assert all(ranking[0].index == 10 for ranking in rankings)
    assert all(10 in ranking.chunked and not ranking.truncated for ranking in rankings)
    with Reranker(settings=Settings(limits=LimitsSettings(long_documents="truncate"))) as reranker:
        cut = reranker.rank(QUERY, documents(1.0))
    long_runs.told(
        f"long documents, cut off: what stands at the end is rank {rank_of_it(cut)} of {len(cut)}, and "
        f"{len(cut.truncated)} are named as cut"
    )
    assert 10 in cut.truncated
    assert not cut.chunked
