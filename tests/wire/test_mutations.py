"""The deviations that are known to break clients: each is put into the server's answer, and a reader must see it.

The readers are those of the acceptance cases, so none of these deviations can be introduced without a case failing.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import anyio
import pytest

import wire_checks as reads
from fake_service import FakeService
from http_app import DOCUMENTS, QUERY, opened
from rerankd import plugins
from rerankd.dialects.base import Answer

Body = dict[str, Any]


@dataclass(frozen=True)
class Deviation:
    """What is done to the answer of a dialect, to which request, and whose reader fails then."""

    name: str
    dialect: str
    mutate: Callable[[Any], Any]
    reader: Callable[[bytes], None]
    request: Body | None = None
    path: str = "/rerank"


def _decoded(reader: reads.Reader) -> Callable[[bytes], None]:
    return lambda raw: reader(json.loads(raw), DOCUMENTS)


def _each(key: str, change: Callable[[Body], Body]) -> Callable[[Body], Body]:
    return lambda body: {**body, key: [change(place) for place in body[key]]}


def _without(*names: str) -> Callable[[Body], Body]:
    return lambda body: {key: value for key, value in body.items() if key not in names}


def _renamed(old: str, new: str) -> Callable[[Body], Body]:
    return lambda body: {new if key == old else key: value for key, value in body.items()}


def _usage_without_prompt_tokens(body: Body) -> Body:
    return {**body, "usage": {"total_tokens": body["usage"]["total_tokens"]}}


def _fractional_units(body: Body) -> Body:
    return {**body, "meta": {**body["meta"], "billed_units": {"search_units": 0.04}}}


def _object_first(body: Body) -> Body:
    return {"meta": body["meta"], **_without("meta")(body)}


def _null(place: Body) -> Body:
    return {**place, "document": None}


def _string(place: Body) -> Body:
    return {**place, "document": DOCUMENTS[place["index"]]}


def _object(place: Body) -> Body:
    return {**place, "document": {"text": DOCUMENTS[place["index"]]}}


def _integer(place: Body) -> Body:
    return {**place, "relevance_score": 1}


def _extra(place: Body) -> Body:
    return {**place, "score": place["relevance_score"]}


NAMED: Body = {"model": "tiny", "query": QUERY, "documents": DOCUMENTS}
PLAIN: Body = {"query": QUERY, "documents": DOCUMENTS}
TEXTS: Body = {"query": QUERY, "texts": DOCUMENTS, "return_text": True}
INFINITY: Body = {**PLAIN, "raw_scores": False, "return_documents": True}
STANDARD = [
    ("document is null", _each("results", _null), _decoded(reads.dify_localai)),
    ("document is a string", _each("results", _string), _decoded(reads.dify_localai)),
    ("document is a string (hosted_vllm)", _each("results", _string), _decoded(reads.litellm_hosted_vllm)),
    ("document is a string (cohere)", _each("results", _string), _decoded(reads.litellm_cohere)),
    ("document is missing", _each("results", _without("document")), _decoded(reads.dify_cohere)),
    ("document in data is an object", _each("data", _object), _decoded(reads.voyageai)),
    ("results only", _without("data"), _decoded(reads.voyageai)),
    ("score for relevance_score", _each("results", _renamed("relevance_score", "score")),
     _decoded(reads.dify_openai_api_compatible)),
    ("score for relevance_score in data", _each("data", _without("relevance_score")), _decoded(reads.voyageai)),
    ("data for results", _renamed("results", "rows"), _decoded(reads.dify_openai_api_compatible)),
    ("usage is missing", _without("usage"), _decoded(reads.voyageai)),
    ("prompt_tokens is missing", _usage_without_prompt_tokens, _decoded(reads.langchain4j)),
    ("billed units are fractional", _fractional_units, _decoded(reads.litellm_cohere)),
    ("model is missing", _without("model"), _decoded(reads.haystack_jina)),
    ("scores are integers", _each("results", _integer), reads.opensearch_cohere),
    ("results after an object", _object_first, reads.elasticsearch_cohere),
    ("one key more in results", _each("results", _extra), reads.elasticsearch_cohere),
]  # fmt: skip
DEVIATIONS = [
    *(Deviation(name, "standard", mutate, reader, NAMED, "/v1/rerank") for name, mutate, reader in STANDARD),
    Deviation("document is an object", "standard", _each("results", _object), _decoded(reads.dify_ollama), NAMED,
              "/api/rerank"),
    Deviation("object is list", "infinity", lambda body: {**body, "object": "list"}, _decoded(reads.infinity_client),
              INFINITY),
    Deviation("model is missing", "infinity", _without("model"), _decoded(reads.infinity_client), INFINITY),
    Deviation("prompt_tokens is missing", "infinity", _usage_without_prompt_tokens, _decoded(reads.infinity_client),
              INFINITY),
    Deviation("document is an object", "infinity", _each("results", _object), _decoded(reads.litellm_infinity),
              {**NAMED, "return_documents": True}, "/infinity/rerank"),
    Deviation("an object for the array", "tei", lambda body: {"results": body}, _decoded(reads.dify_tei), TEXTS),
    Deviation("no text", "tei", lambda body: [_without("text")(place) for place in body], _decoded(reads.dify_tei),
              TEXTS),
    Deviation("relevance_score for score", "tei", lambda body: [_renamed("score", "relevance_score")(p) for p in body],
              _decoded(reads.dify_tei), TEXTS),
    Deviation("worst first", "tei", lambda body: body[::-1], _decoded(reads.dify_tei), TEXTS),
    Deviation("document is an object", "simple", _each("results", _object), _decoded(reads.user_shape_d), PLAIN),
    Deviation("one document is missing", "simple", lambda body: {**body, "results": body["results"][1:]},
              _decoded(reads.milvus_vllm), PLAIN),
    Deviation("best first", "weaviate",
              lambda body: {**body, "scores": sorted(body["scores"], key=lambda place: -place["score"])},
              _decoded(reads.weaviate), {**PLAIN, "property": ""}),
]  # fmt: skip


async def _ask(path: str, request: object) -> bytes:
    async with opened(FakeService()) as http:
        response = await http.post(path, json=request)
        assert response.status_code == 200, response.text
        return response.content


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=[f"{one.dialect}: {one.name}" for one in DEVIATIONS])
def test_a_deviation_that_breaks_a_client_fails_its_case(deviation: Deviation, monkeypatch: pytest.MonkeyPatch) -> None:
    deviation.reader(anyio.run(_ask, deviation.path, deviation.request))
    dialect = type(plugins.load("dialects", deviation.dialect))
    right: Callable[..., Answer] = vars(dialect)["answer"]

    def wrong(*arguments: object) -> Answer:
        answer = right(*arguments)
        return replace(answer, body=deviation.mutate(answer.body))

    monkeypatch.setattr(dialect, "answer", wrong)
    mutated = anyio.run(_ask, deviation.path, deviation.request)
    with pytest.raises((AssertionError, LookupError)):
        deviation.reader(mutated)
