"""The standard dialect's answer: the rules that decide whether clients work."""

import json
import math
from collections.abc import Sequence
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from fake_service import rank
from rerankd import plugins
from rerankd.dialects.base import Dialect, Incoming, Stamp
from rerankd.types import JsonValue

STANDARD = cast("Dialect", plugins.load("dialects", "standard"))
STAMP = Stamp("abc", 1_795_248_395)


def _answer(body: JsonValue, path: str = "/v1/rerank") -> dict[str, Any]:
    call = STANDARD.parse(Incoming(path, body))
    return cast("dict[str, Any]", STANDARD.answer(call, [rank(request) for request in call.requests], STAMP).body)


def test_results_come_before_any_other_object_or_list() -> None:
    body = _answer({"query": "q", "documents": ["a"], "top_k": 1, "property": ""})
    assert list(body) == [
        "id", "object", "model", "created", "results", "data", "ranked_results", "scores", "usage", "meta",
    ]  # fmt: skip


def test_a_result_holds_nothing_but_what_elasticsearch_allows() -> None:
    for body in ({"query": "q", "documents": ["a"]}, {"query": "q", "documents": [{"text": "a", "page": 1}]}):
        (result,) = _answer(cast("JsonValue", body))["results"]
        assert list(result) == ["index", "relevance_score", "document"]
    (result,) = _answer({"query": "q", "documents": ["a"], "return_documents": False})["results"]
    assert list(result) == ["index", "relevance_score"]


def test_objects_keep_their_other_fields() -> None:
    (result,) = _answer({"query": "q", "documents": [{"page": 3, "text": "a"}]})["results"]
    assert result["document"] == {"page": 3, "text": "a"}


def test_rank_fields_are_joined_in_the_order_named() -> None:
    documents: JsonValue = [{"b": "second", "a": "first", "n": 7}]
    call = STANDARD.parse(
        Incoming("/v1/rerank", {"query": "q", "documents": documents, "rank_fields": ["a", "b", "n"]})
    )
    assert call.requests[0].documents[0].text == "first\nsecond\n7"


def test_documents_that_were_cut_are_named_in_meta() -> None:
    assert "truncated_documents" not in _answer({"query": "q", "documents": ["a"]})["meta"]
    body = _answer({"query": "q", "documents": ["a", "x" * 20_000]})
    assert body["meta"]["truncated_documents"] == [1]


def test_billed_units_are_whole_hundreds() -> None:
    for count, units in ((1, 1), (100, 1), (101, 2)):
        body = _answer({"query": "q", "documents": ["a"] * count})
        assert body["meta"]["billed_units"] == {"search_units": units}


@settings(max_examples=60, deadline=None)
@given(
    query=st.text(max_size=10),
    documents=st.lists(st.text(max_size=10), min_size=1, max_size=12),
    top_n=st.none() | st.integers(0, 15),
)
def test_an_answer_is_the_head_of_a_permutation_best_first(
    query: str, documents: Sequence[str], top_n: int | None
) -> None:
    body = _answer({"query": query, "documents": documents, "top_n": top_n})
    results: list[dict[str, Any]] = body["results"]
    indexes = [hit["index"] for hit in results]
    assert len(set(indexes)) == len(indexes) == min(top_n or len(documents), len(documents))
    order = [(-hit["relevance_score"], hit["index"]) for hit in results]
    assert order == sorted(order)
    assert [hit["index"] for hit in body["data"]] == indexes
    assert all(hit["document"] == {"text": documents[hit["index"]]} for hit in results)
    for hit in results:
        assert math.isfinite(hit["relevance_score"])
        assert {".", "e"} & set(json.dumps(hit["relevance_score"]))
    assert body["usage"]["total_tokens"] > 0


def test_an_instruction_is_read_under_either_name_and_is_never_an_error() -> None:
    def instruction(**extra: JsonValue) -> str:
        body: JsonValue = {"query": "q", "documents": ["a"], **extra}
        return STANDARD.parse(Incoming("/v1/rerank", body)).requests[0].instruction

    assert instruction(instruction="Find foxes") == "Find foxes"
    assert instruction(instruct="Find foxes") == "Find foxes"
    assert instruction(instruction=None) == instruction() == ""
    for name in ("siliconflow", "vllm"):
        dialect = cast("Dialect", plugins.load("dialects", name))
        body: JsonValue = {"query": "q", "documents": ["a"], "instruction": "Find foxes"}
        assert dialect.parse(Incoming("/v1/rerank", body)).requests[0].instruction == "Find foxes"
