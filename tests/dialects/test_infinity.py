"""Infinity's API: what infinity_client and LiteLLM's infinity/ need."""

from typing import Any, cast

import pytest

from fake_service import rank
from rerankd import plugins
from rerankd.dialects.base import Dialect, Incoming, Stamp
from rerankd.errors import InvalidRequest, ModelNotFound, Overloaded, RequestTooLarge
from rerankd.types import JsonValue

INFINITY = cast("Dialect", plugins.load("dialects", "infinity"))
BODY: dict[str, JsonValue] = {"query": "b", "documents": ["a", "b"], "raw_scores": False}


def _answer(body: JsonValue) -> dict[str, Any]:
    call = INFINITY.parse(Incoming("/rerank", body))
    rankings = [rank(request) for request in call.requests]
    return cast("dict[str, Any]", INFINITY.answer(call, rankings, Stamp("abc", 7)).body)


def test_the_keys_come_as_infinity_writes_them() -> None:
    body = _answer(BODY)
    assert list(body) == ["object", "results", "model", "usage", "id", "created"]
    assert (body["object"], body["id"], body["created"]) == ("rerank", "infinity-abc", 7)
    assert list(body["results"][0]) == ["relevance_score", "index", "document"]


@pytest.mark.parametrize(("wanted", "document"), [(None, None), (False, None), ("false", None), (True, "b")])
def test_a_document_is_a_string_or_null(wanted: JsonValue, document: str | None) -> None:
    assert _answer({**BODY, "return_documents": wanted})["results"][0]["document"] == document


@pytest.mark.parametrize(("sent", "model"), [("default/not-specified", ""), (None, ""), ("tiny", "tiny")])
def test_the_clients_default_name_is_our_default(sent: JsonValue, model: str) -> None:
    assert INFINITY.parse(Incoming("/rerank", {**BODY, "model": sent})).requests[0].model == model


def test_raw_scores_are_asked_for() -> None:
    assert INFINITY.parse(Incoming("/rerank", {**BODY, "raw_scores": True})).requests[0].raw_scores


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({**BODY, "documents": []}, ["body", "documents"]),
        ({**BODY, "documents": ["a", 7]}, ["body", "documents", 1]),
        ({**BODY, "top_n": -1}, ["body", "top_n"]),
        ([], ["body"]),
    ],
)
def test_a_bad_body_is_a_list_that_says_where(body: JsonValue, where: list[str | int]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        INFINITY.parse(Incoming("/rerank", body))
    answer = INFINITY.refuse(caught.value)
    assert answer.status == 422
    (problem,) = cast("dict[str, Any]", answer.body)["detail"]
    assert problem == {"loc": where, "msg": str(caught.value), "type": caught.value.kind}


def test_too_many_documents_are_a_bad_body_and_too_many_bytes_are_not() -> None:
    assert INFINITY.refuse(RequestTooLarge("too many", field="documents")).status == 422
    too_long = INFINITY.refuse(RequestTooLarge("too long"))
    assert (too_long.status, cast("dict[str, Any]", too_long.body)["detail"]) == (413, "too long")


def test_other_errors_have_the_common_form() -> None:
    assert INFINITY.refuse(ModelNotFound("x", ["y"])).status == 404
    answer = INFINITY.refuse(Overloaded("later", retry_after_s=1))
    assert (answer.status, cast("dict[str, Any]", answer.body)["error"]["message"]) == (429, "later")
