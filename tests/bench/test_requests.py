"""Requests are the same for everybody, and like what people send."""

import json
from pathlib import Path

import numpy as np
import pytest

from rerankd.bench.requests import RequestMaker, read_requests
from rerankd.bench.texts import open_texts
from rerankd.errors import InvalidRequest


def test_the_same_seed_makes_the_same_requests_in_any_order() -> None:
    forwards = [RequestMaker(seed=7).make(3, number) for number in range(4)]
    maker = RequestMaker(seed=7)
    assert [maker.make(3, number) for number in reversed(range(4))][::-1] == forwards
    assert RequestMaker(seed=8).make(3, 0) != forwards[0]


def test_no_text_comes_twice() -> None:
    requests = RequestMaker().batch(20, 0, 20)
    texts = [text for request in requests for text in (request.query, *request.documents)]
    assert len(set(texts)) == len(texts)


def test_english_and_chinese_take_turns() -> None:
    english, chinese = RequestMaker().batch(5, 0, 2)
    assert all(text.isascii() for text in (english.query, *english.documents))
    assert all("\u4e00" <= text[0] <= "\u9fff" for text in (chinese.query, *chinese.documents))


def test_some_documents_speak_of_their_query_and_some_do_not() -> None:
    request = RequestMaker().make(60, 0)
    asked = set(request.query.rstrip(".").split())
    shares = [np.mean([word.rstrip(".") in asked for word in text.split()]) for text in request.documents]
    assert max(shares) > 1.3 * np.median(shares)


def test_lengths_are_those_asked_for_in_the_models_tokens() -> None:
    texts = open_texts("rerankd-zh-en")
    bare = texts.count("")
    maker = RequestMaker(doc_tokens=200, count=texts.count)
    for request in maker.batch(20, 0, 2):
        lengths = [texts.count(document) - bare for document in request.documents]
        assert np.mean(lengths) == pytest.approx(200, rel=0.1)


def test_without_a_length_documents_are_long_and_short() -> None:
    texts = open_texts("rerankd-zh-en")
    bare = texts.count("")
    requests = RequestMaker(count=texts.count).batch(50, 0, 4)
    lengths = [texts.count(document) - bare for request in requests for document in request.documents]
    assert np.median(lengths) == pytest.approx(150, rel=0.15)
    assert np.quantile(lengths, 0.05) < 80
    assert np.quantile(lengths, 0.95) > 300


def test_a_late_interaction_model_reads_the_query_once() -> None:
    texts = open_texts("rerankd-zh-en")
    request = RequestMaker().make(4, 0)
    assert len(texts.lengths(request)) == 5


def test_a_users_file_is_read(tmp_path: Path) -> None:
    lines = [{"query": "q", "documents": ["a", {"text": "b"}]}, {"query": "", "documents": [""]}]
    (tmp_path / "own.jsonl").write_text("\n\n".join(map(json.dumps, lines)) + "\n")
    assert [(r.query, r.documents) for r in read_requests(tmp_path / "own.jsonl")] == [("q", ("a", "b")), ("", ("",))]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no request"),
        ("{}", "line 1 is no request"),
        ('{"query": "q", "documents": []}', "line 1 is no request"),
        ('{"query": "q", "documents": ["a"]}\n{"query": "q", "documents": [1]}', "line 2 is no request"),
        ("query", "line 1 is not JSON"),
    ],
)
def test_a_line_that_is_no_request_is_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "own.jsonl").write_text(text)
    with pytest.raises(InvalidRequest, match=told):
        read_requests(tmp_path / "own.jsonl")
