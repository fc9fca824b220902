"""Many queries in one call: each item its own ranking or its own error."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_service import FakeService, rank
from http_app import DOCUMENTS, QUERY, opened
from rerankd import plugins
from rerankd.dialects.base import Call, Dialect, Incoming, Stamp
from rerankd.errors import InvalidRequest, RequestTooLarge, RerankError
from rerankd.types import JsonValue, Ranking

BATCH: Any = plugins.load("dialects", "batch")
GOOD: dict[str, JsonValue] = {"query": QUERY, "documents": DOCUMENTS}
BAD: Sequence[JsonValue] = [{"query": "q"}, {"documents": ["a"]}, 7, "q", None, {"query": "q", "documents": [7]}]


def _parse(body: JsonValue) -> Call:
    return cast("Dialect", BATCH).parse(Incoming("/v1/rerank/batch", body))


def _responses(call: Call, outcomes: Sequence[Ranking | RerankError] | None = None) -> list[dict[str, Any]]:
    answered = [rank(request) for request in call.requests] if outcomes is None else outcomes
    return BATCH.answer_each(call, answered, Stamp("x", 7)).body["responses"]


def test_the_items_share_model_and_options() -> None:
    body: JsonValue = {
        "requests": [
            {"query": "a"},
            {"query": "b", "documents": [{"t": "own"}], "top_n": 1},
            {"query": "c", "top_k": 0},
        ],
        "documents": [{"t": "shared"}],
        "rank_fields": ["t"],
        "model": "m",
        "top_n": 5,
        "raw_scores": True,
        "truncation": False,
    }
    requests = _parse(body).requests
    assert [request.query for request in requests] == ["a", "b", "c"]
    assert [request.documents[0].text for request in requests] == ["shared", "own", "shared"]
    assert [request.top_n for request in requests] == [5, 1, None]
    assert {(request.model, request.raw_scores, request.truncate) for request in requests} == {("m", True, False)}


def test_queries_may_be_strings_over_shared_documents() -> None:
    call = _parse({"queries": ["a", "b"], "documents": "one"})
    assert [(request.query, request.documents[0].text) for request in call.requests] == [("a", "one"), ("b", "one")]


@settings(max_examples=60, deadline=None)
@given(good=st.lists(st.booleans(), min_size=1, max_size=8).filter(any), which=st.integers(0, len(BAD) - 1))
def test_every_item_has_its_answer_in_its_place(good: Sequence[bool], which: int) -> None:
    call = _parse({"requests": [GOOD if fine else BAD[which] for fine in good]})
    assert call.partial
    responses = _responses(call)
    assert [each["index"] for each in responses] == list(range(len(good)))
    assert ["results" in each for each in responses] == list(good)
    for place, each in enumerate(responses):
        if not good[place]:
            assert each["error"]["message"].startswith(f"requests[{place}]: ")
            assert each["error"]["code"] == 400


def test_an_error_of_the_service_stands_in_the_items_place() -> None:
    call = _parse({"requests": [BAD[0], GOOD, GOOD]})
    responses = _responses(call, [RequestTooLarge("too many", field="documents"), rank(call.requests[1])])
    assert [each.get("error", {}).get("kind") for each in responses] == ["invalid_request", "request_too_large", None]


@pytest.mark.parametrize("bad", BAD)
def test_fail_fast_makes_a_bad_item_the_calls_error(bad: JsonValue) -> None:
    with pytest.raises(InvalidRequest, match=r"^requests\[1\]: ") as raised:
        _parse({"requests": [GOOD, bad], "fail_fast": True})
    assert raised.value.field.startswith("requests[1]")
    assert not _parse({"requests": [GOOD], "fail_fast": "true"}).partial


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"requests": []}, "`requests` must be a list of objects with `query` and `documents`, at least one"),
        ({"requests": [GOOD], "queries": [GOOD]}, "both sent"),
        ({"requests": [{"query": "q"}]}, r"requests\[0\]: `documents` cannot be empty"),
        ({"requests": [7] * 4097}, "`requests` has 4097 items, and 4096 are the most: send fewer"),
        ({"requests": [GOOD], "top_n": -1}, "`top_n` must be 0 or more"),
        ({"requests": "q"}, '^`requests` must be a list of objects with `query` and `documents`, got "q"$'),
    ],
)
def test_what_is_no_batch_is_refused_as_a_whole(body: JsonValue, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        _parse(body)


def test_usage_is_the_sum() -> None:
    call = _parse({"requests": [GOOD, GOOD, 7]})
    body: Any = BATCH.answer(call, [rank(request) for request in call.requests], Stamp("x", 7)).body
    single = rank(call.requests[0]).usage.tokens
    assert body["usage"] == {"prompt_tokens": 2 * single, "total_tokens": 2 * single}
    assert body["failed"] == 1


def test_documents_that_were_cut_are_named_in_their_item() -> None:
    first, second = _responses(_parse({"requests": [GOOD, {"query": "q", "documents": ["a", "x" * 20_000]}]}))
    assert "truncated_documents" not in first
    assert second["truncated_documents"] == [1]


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/v1/rerank/batch", "/batch_rerank", "/v1/v1/rerank/batch", "/batch/batch_rerank"])
async def test_an_items_results_are_those_of_a_request_of_its_own(path: str) -> None:
    async with opened(FakeService()) as http:
        batch = (await http.post(path, json={"requests": [GOOD, {"query": "q"}], "top_n": 2})).json()
        alone = (await http.post("/v1/rerank", json={**GOOD, "top_n": 2})).json()
    assert batch["responses"][0]["results"] == alone["results"]
    assert batch["responses"][0]["usage"] == alone["usage"]
    assert batch["failed"] == 1
