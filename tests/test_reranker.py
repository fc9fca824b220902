"""The in-process library, with the model that ships."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rerankd import AsyncReranker, Document, Reranker
from rerankd.errors import ConfigError, EmptyDocuments, InvalidRequest, UnsupportedModel
from rerankd.settings import ModelsSettings, Settings
from tiny_causal import tiny_qwen3

DOCUMENTS = ["Bananas are yellow.", "Paris is the capital of France.", "France is a country."]
QUERY = "What is the capital of France?"


@pytest.fixture(scope="module")
def reranker() -> Iterator[Reranker]:
    with Reranker() as opened:
        yield opened


def test_the_best_document_comes_first(reranker: Reranker) -> None:
    ranking = reranker.rank(QUERY, DOCUMENTS)
    assert ranking[0].index == 1
    assert [ranked.score for ranked in ranking] == sorted((ranked.score for ranked in ranking), reverse=True)
    assert all(0 <= ranked.score <= 1 for ranked in ranking)
    assert ranking.model == "rerankd-zh-en"
    assert ranking.usage.tokens > 0


def test_chinese_ranks_as_a_person_would(reranker: Reranker) -> None:
    documents = ["Python是编程语言", "人工智能是计算机科学的分支", "机器学习通过数据训练模型"]
    assert next(ranked.index for ranked in reranker.rank("什么是人工智能?", documents, top_n=2)) == 1


def test_inputs_are_not_changed_and_documents_may_be_objects(reranker: Reranker) -> None:
    documents = [Document(text) for text in DOCUMENTS]
    before = list(documents)
    as_objects = reranker.rank(QUERY, documents)
    assert documents == before
    assert as_objects.items == reranker.rank(QUERY, DOCUMENTS).items


def test_scores_keep_the_order_of_the_pairs(reranker: Reranker) -> None:
    pairs = [(QUERY, DOCUMENTS[1]), ("Which fruit is yellow?", DOCUMENTS[0]), (QUERY, DOCUMENTS[0])]
    scores = reranker.score(pairs)
    assert scores[0] == reranker.rank(QUERY, [DOCUMENTS[1]])[0].score
    assert scores[0] > scores[2]
    assert scores[1] > scores[2]
    assert reranker.score([]) == []


def test_bad_input_is_an_exception_of_ours(reranker: Reranker) -> None:
    with pytest.raises(EmptyDocuments):
        reranker.rank(QUERY, [])
    with pytest.raises(InvalidRequest):
        reranker.rank(QUERY, DOCUMENTS, top_n=-1)


def test_threads_share_one_reranker(reranker: Reranker) -> None:
    alone = [reranker.rank(f"question {i}", DOCUMENTS).items for i in range(12)]
    together: dict[int, object] = {}
    threads = [
        threading.Thread(target=lambda i=i: together.update({i: reranker.rank(f"question {i}", DOCUMENTS).items}))
        for i in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [together[i] for i in range(12)] == alone


def test_a_closed_reranker_says_so_and_may_be_closed_again() -> None:
    reranker = Reranker()
    reranker.close()
    reranker.close()
    with pytest.raises(RuntimeError, match="closed"):
        reranker.rank(QUERY, DOCUMENTS)


def test_closing_stops_every_thread() -> None:
    before = set(threading.enumerate())
    with Reranker() as reranker:
        reranker.rank(QUERY, DOCUMENTS)
    assert set(threading.enumerate()) <= before


def test_an_unknown_model_is_refused_before_anything_runs(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(ConfigError, match="not known here"):
        Reranker("no-such-model")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UnsupportedModel):
        Reranker(str(tmp_path))
    assert set(threading.enumerate()) <= before


@pytest.mark.anyio
async def test_many_rankings_at_once_share_an_async_reranker() -> None:
    async with AsyncReranker() as reranker:
        rankings = await asyncio.gather(*(reranker.rank(QUERY, DOCUMENTS) for _ in range(20)))
        assert len({ranking.items for ranking in rankings}) == 1
        assert reranker.info.id == "rerankd-zh-en"
    with pytest.raises(RuntimeError, match="closed"):
        await reranker.rank(QUERY, DOCUMENTS)


def test_an_instruction_reaches_a_model_that_takes_one_and_is_part_of_what_is_remembered(tmp_path: Path) -> None:
    folder = tiny_qwen3(tmp_path / "Qwen3-Reranker-0.6B")
    settings = Settings(models=ModelsSettings(store=tmp_path / "store", max_tokens=400))
    documents = ["The lazy dog", "北京是中国的首都"]
    with Reranker(str(folder), settings=settings) as reranker:
        plain, asked, again = (
            reranker.rank("quick fox", documents, instruction=instruction)
            for instruction in ("", "Find foxes", "Find foxes")
        )
    assert {hit.index: hit.score for hit in plain} != {hit.index: hit.score for hit in asked}
    assert list(asked) == list(again)
    assert (asked.usage.cached_pairs, again.usage.cached_pairs) == (0, 2)
