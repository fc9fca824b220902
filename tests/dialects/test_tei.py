"""TEI's API: bare arrays, pairs, headers, and errors by its statuses and types."""

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_service import rank
from rerankd import plugins
from rerankd.dialects.base import Answer, Dialect, Incoming, Stamp
from rerankd.errors import (
    DeadlineExceeded,
    DownloadFailed,
    EngineFailure,
    InvalidRequest,
    ModelNotFound,
    ModelNotReady,
    NotAllowed,
    NotAuthenticated,
    Overloaded,
    RateLimited,
    RequestTooLarge,
    RerankError,
)
from rerankd.types import JsonValue

TEI = cast("Dialect", plugins.load("dialects", "tei"))
BODY: dict[str, JsonValue] = {"query": "b", "texts": ["a", "b", "c"]}


def _answer(body: JsonValue, path: str = "/rerank") -> Answer:
    call = TEI.parse(Incoming(path, body))
    return TEI.answer(call, [rank(request) for request in call.requests], Stamp("abc", 7))


def _body(body: JsonValue, path: str = "/rerank") -> Any:
    return _answer(body, path).body


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/", "/invocations"])
def test_the_answer_is_a_bare_array(path: str) -> None:
    places = _body(BODY, path)
    assert [list(place) for place in places] == [["index", "score"]] * 3
    assert places[0]["index"] == 1


@pytest.mark.parametrize("key", ["return_text", "return_documents"])
def test_texts_come_back_when_asked_for(key: str) -> None:
    assert list(_body({**BODY, key: True})[0]) == ["index", "text", "score"]
    assert _body({**BODY, key: True})[0]["text"] == "b"


def test_documents_will_do_for_texts_but_not_beside_them() -> None:
    assert len(_body({"query": "b", "documents": ["a", "b"], "top_n": 1})) == 1
    with pytest.raises(InvalidRequest, match="send one of them"):
        TEI.parse(Incoming("/rerank", {**BODY, "documents": ["a"]}))
    with pytest.raises(InvalidRequest, match=r"`documents\[0\]` must be"):
        TEI.parse(Incoming("/rerank", {"query": "b", "documents": [7]}))


def test_cutting_can_be_forbidden_and_raw_scores_asked_for() -> None:
    (request,) = TEI.parse(Incoming("/rerank", {**BODY, "truncate": False, "raw_scores": "true"})).requests
    assert (request.truncate, request.raw_scores) == (False, True)
    (request,) = TEI.parse(Incoming("/rerank", {**BODY, "truncate": None, "truncation_direction": "Left"})).requests
    assert request.truncate


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("/rerank", {"query": "q", "texts": []}, "`texts` cannot be empty"),
        ("/rerank", {"query": "q", "documents": []}, "`documents` cannot be empty"),
        ("/predict", {"inputs": []}, "`inputs` cannot be empty"),
    ],
)
def test_nothing_to_score_is_said_in_teis_own_sentence(path: str, body: JsonValue, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        TEI.parse(Incoming(path, body))
    answer = TEI.refuse(caught.value)
    assert (answer.status, answer.body) == (400, {"error": sentence, "error_type": "Empty"})


def test_one_pair_is_a_list_of_one_and_pairs_are_a_list_of_lists() -> None:
    (alone,) = _body({"inputs": ["b", "b"]}, "/predict")
    assert list(alone) == ["score", "label"]
    assert _body({"inputs": [["b", "b"]]}, "/predict") == [[alone]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("qrs"), st.text(max_size=4)), min_size=1, max_size=12))
def test_predictions_keep_the_order_of_the_request(pairs: list[tuple[str, str]]) -> None:
    predicted = _body({"inputs": [[query, text] for query, text in pairs]}, "/predict")
    alone = [_body({"inputs": [query, text]}, "/predict") for query, text in pairs]
    assert predicted == alone


def test_neighbours_with_the_same_query_are_one_request() -> None:
    call = TEI.parse(Incoming("/predict", {"inputs": [["q", "a"], ["q", "b"], ["r", "c"]]}))
    assert [len(request.documents) for request in call.requests] == [2, 1]


@pytest.mark.parametrize(
    "inputs",
    ["text", ["text"], ["a", "b", "c"], [["a"]], [["a", "b"], "c"], [["a", 7]], [["a", "b", "c"]], {"a": 1}, 7],
)
def test_what_is_no_pair_is_refused_with_the_form_that_works(inputs: JsonValue) -> None:
    with pytest.raises(InvalidRequest, match=r'\["query", "text"\]') as caught:
        TEI.parse(Incoming("/predict", {"inputs": inputs}))
    assert TEI.refuse(caught.value).status == 422


def test_a_thousand_changes_of_query_are_the_most() -> None:
    with pytest.raises(RequestTooLarge, match="2000 times"):
        TEI.parse(Incoming("/predict", {"inputs": [[str(i), "a"] for i in range(2000)]}))


def test_the_headers_say_what_the_work_cost() -> None:
    headers = _answer(BODY).headers
    assert headers == {
        "x-compute-type": "unspecified", "x-compute-time": "2", "x-compute-characters": "6",
        "x-compute-tokens": "12", "x-total-time": "2", "x-tokenization-time": "1", "x-queue-time": "0",
        "x-inference-time": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (InvalidRequest("no"), 422, "Validation"),
        (RequestTooLarge("no", field="documents"), 422, "Validation"),
        (RequestTooLarge("no"), 413, "Validation"),
        (NotAuthenticated("no"), 401, "Unauthorized"),
        (NotAllowed("no"), 403, "Forbidden"),
        (ModelNotFound("x", ["y"]), 404, "Validation"),
        (Overloaded("no", retry_after_s=1), 429, "Overloaded"),
        (RateLimited("no", retry_after_s=1), 429, "Overloaded"),
        (ModelNotReady("no", retry_after_s=1), 503, "Unhealthy"),
        (DownloadFailed("no"), 503, "Unhealthy"),
        (DeadlineExceeded("no"), 504, "Backend"),
        (EngineFailure("no"), 424, "Backend"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, RerankError) else str(value),
)
def test_an_error_has_teis_status_and_type(error: RerankError, status: int, word: str) -> None:
    answer = TEI.refuse(error)
    assert (answer.status, answer.body) == (status, {"error": str(error), "error_type": word})
