"""The simple form, and Weaviate's: plain strings, both names of the score, the query repeated."""

from typing import Any, cast

import pytest

from fake_service import rank
from rerankd import plugins
from rerankd.dialects.base import Dialect, Incoming, Stamp
from rerankd.errors import Overloaded, RerankError
from rerankd.types import JsonValue

SIMPLE = cast("Dialect", plugins.load("dialects", "simple"))
WEAVIATE = cast("Dialect", plugins.load("dialects", "weaviate"))
BOTH = pytest.mark.parametrize("dialect", [SIMPLE, WEAVIATE], ids=["simple", "weaviate"])


def _answer(dialect: Dialect, body: JsonValue) -> dict[str, Any]:
    call = dialect.parse(Incoming("/rerank", body))
    rankings = [rank(request) for request in call.requests]
    return cast("dict[str, Any]", dialect.answer(call, rankings, Stamp("abc", 7)).body)


@BOTH
def test_the_query_comes_before_the_results(dialect: Dialect) -> None:
    body = _answer(dialect, {"query": "q", "documents": ["a"], "top_k": 1, "property": ""})
    assert list(body) == [
        "id", "object", "model", "created", "query", "results", "data", "ranked_results", "scores", "usage", "meta",
    ]  # fmt: skip
    assert body["query"] == "q"


@BOTH
def test_a_result_has_a_string_and_both_names_of_the_score(dialect: Dialect) -> None:
    (result,) = _answer(dialect, {"query": "q", "documents": [{"text": "a", "page": 1}]})["results"]
    assert list(result) == ["index", "document", "score", "relevance_score"]
    assert result["document"] == "a"
    assert result["score"] == result["relevance_score"]


@BOTH
def test_documents_are_left_out_where_they_are_not_wanted(dialect: Dialect) -> None:
    body = _answer(dialect, {"query": "q", "documents": ["a"], "return_documents": False, "top_k": 1})
    for places in (body["results"], body["data"], body["ranked_results"]):
        assert not places[0].keys() & {"document", "text"}


def test_property_adds_scores_in_input_order() -> None:
    body: JsonValue = {"query": "b c", "documents": ["a", "b c", "c"]}
    assert "scores" not in _answer(SIMPLE, body)
    for answer in (_answer(SIMPLE, {**body, "property": ""}), _answer(WEAVIATE, body)):
        assert [score["document"] for score in answer["scores"]] == ["a", "b c", "c"]
        assert answer["scores"][1]["score"] == answer["results"][0]["score"]


def test_top_k_counts_and_a_null_one_adds_its_block_only() -> None:
    body: JsonValue = {"query": "b", "documents": ["a", "b", "c"]}
    assert len(_answer(SIMPLE, {**body, "top_k": 2})["ranked_results"]) == 2
    assert len(_answer(SIMPLE, {**body, "top_k": None})["ranked_results"]) == 3


def test_weaviates_errors_are_strings_and_the_others_are_not() -> None:
    error: RerankError = Overloaded("come back", retry_after_s=1)
    written = cast("dict[str, Any]", WEAVIATE.refuse(error).body)
    assert (written["error"], written["detail"]) == ("come back", "come back")
    assert cast("dict[str, Any]", SIMPLE.refuse(error).body)["error"]["kind"] == "overloaded"
