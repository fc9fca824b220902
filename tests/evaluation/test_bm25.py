"""BM25 in Chinese and English, against its formula written out."""

import math
from collections import Counter

import pytest

from rerankd.evaluation.bm25 import K1, B, Bm25
from rerankd.evaluation.words import words

DOCUMENTS = (
    "苹果公司发布了最新的iOS 17操作系统",
    "苹果是一种常见的水果,富含维生素C",
    "The quick brown fox jumps over the lazy dog",
    "the dog barks, the fox runs, the fox hides",
    "",
    "!!!",
)


def by_the_formula(query: str, document: str) -> float:
    bags = [Counter(words(text)) for text in DOCUMENTS]
    bag = Counter(words(document))
    mean = sum(bag_.total() for bag_ in bags) / len(bags)
    total = 0.0
    for word in words(query):
        containing = sum(word in bag_ for bag_ in bags)
        idf = math.log(1 + (len(bags) - containing + 0.5) / (containing + 0.5))
        total += idf * bag[word] / (bag[word] + K1 * (1 - B + B * bag.total() / mean)) if containing else 0.0
    return total


@pytest.mark.parametrize("query", ["苹果手机操作系统", "the FOX", "Fox, dog!", "iOS 17", "unheard of"])
def test_scores_are_the_formulas(query: str) -> None:
    expected = [by_the_formula(query, document) for document in DOCUMENTS]
    assert Bm25.build(DOCUMENTS).scores(query).tolist() == pytest.approx(expected, abs=1e-5)


def test_chinese_is_cut_into_pairs_and_the_rest_into_lower_cased_words() -> None:
    assert list(words("苹果公司的iPhone 15 Pro")) == ["苹果", "果公", "公司", "司的", "iphone", "15", "pro"]
    assert list(words("我 FULL-width ,。")) == ["我", "full", "width"]


def test_the_best_come_first_and_ties_keep_their_places() -> None:
    index = Bm25.build(["x", "fox", "y", "fox", "fox fox", "z"])
    assert index.top("fox", 10) == [4, 1, 3]
    assert index.top("fox", 2) == [4, 1]
    assert index.top("nothing", 3) == []


@pytest.mark.parametrize("documents", [(), ("", ""), ("?!",)])
def test_documents_without_words_score_nothing(documents: tuple[str, ...]) -> None:
    index = Bm25.build(documents)
    assert len(index) == len(documents)
    assert index.scores("fox").tolist() == [0.0] * len(documents)
    assert index.top("fox", 3) == []


def test_some_places_can_be_scored_alone() -> None:
    index = Bm25.build(DOCUMENTS)
    assert index.scores_of("fox", [3, 0]).tolist() == index.scores("fox")[[3, 0]].tolist()
