"""The providers' native dialects: under a prefix the answer is that API's own, to the key."""

import json
from typing import Any, cast

import httpx2
import pytest

from fake_service import FakeService, rank
from http_app import DOCUMENTS, QUERY, opened
from rerankd import plugins
from rerankd.dialects.base import Dialect, Incoming, Stamp
from rerankd.dialects.detect import load_all
from rerankd.errors import EngineFailure, InvalidRequest, ModelNotFound, NotAuthenticated, Overloaded, RerankError
from rerankd.http.docs import ErrorBody, document
from rerankd.types import JsonValue

PREFIXES = ["cohere", "jina", "voyage", "xinference", "localai", "siliconflow", "llamacpp", "vllm"]
NAMES = [*PREFIXES, "nim", "mixedbread"]
KEYS = {
    "cohere": ["id", "results", "meta"],
    "jina": ["model", "object", "usage", "results"],
    "voyage": ["object", "data", "model", "usage"],
    "xinference": ["id", "results", "meta"],
    "localai": ["model", "usage", "results"],
    "siliconflow": ["id", "results", "tokens", "meta"],
    "llamacpp": ["model", "object", "usage", "results"],
    "vllm": ["id", "model", "usage", "results"],
}
BY_DEFAULT = {
    "cohere": None,
    "jina": {"document": {"text": "a"}},
    "voyage": None,
    "xinference": {"document": None},
    "localai": {"document": {"text": "a"}},
    "siliconflow": None,
    "llamacpp": None,
    "vllm": {"document": {"text": "a", "multi_modal": None}},
}
ASKED = {
    "cohere": {"document": {"text": "a"}},
    "jina": {"document": {"text": "a"}},
    "voyage": {"document": "a"},
    "xinference": {"document": {"text": "a"}},
    "localai": {"document": {"text": "a"}},
    "siliconflow": {"document": {"text": "a"}},
    "llamacpp": None,
    "vllm": {"document": {"text": "a", "multi_modal": None}},
}
ERRORS: list[RerankError] = [
    InvalidRequest("no", field="query"),
    NotAuthenticated("no"),
    ModelNotFound("x", ["y"]),
    Overloaded("no", retry_after_s=1),
    EngineFailure("no"),
]


def _load(name: str) -> Dialect:
    return cast("Dialect", plugins.load("dialects", name))


def _answer(name: str, body: JsonValue, path: str = "/v1/rerank") -> Any:
    call = _load(name).parse(Incoming(path, body))
    return _load(name).answer(call, [rank(request) for request in call.requests], Stamp("id", 7)).body


def _first(body: Any) -> dict[str, Any]:
    return (body.get("results") or body["data"])[0]


@pytest.mark.parametrize("name", PREFIXES)
def test_the_answer_has_the_providers_keys_and_no_other(name: str) -> None:
    # `top_k`, `property` and `raw_scores: false` change the standard answer, and no other.
    body: JsonValue = {"query": "q", "documents": ["a"], "top_k": 1, "property": "", "raw_scores": False}
    assert list(_answer(name, body)) == KEYS[name]


@pytest.mark.parametrize("name", PREFIXES)
@pytest.mark.parametrize(
    ("asked", "expected"),
    [({}, BY_DEFAULT), ({"return_documents": None}, BY_DEFAULT), ({"return_documents": "true"}, ASKED)],
)
def test_documents_come_back_as_the_provider_gives_them(
    name: str, asked: dict[str, JsonValue], expected: dict[str, Any]
) -> None:
    first = _first(_answer(name, {"query": "q", "documents": ["a"], **asked}))
    shown = {key: value for key, value in first.items() if key not in {"index", "relevance_score"}}
    assert shown == (expected[name] or {})


@pytest.mark.parametrize("name", ["cohere", "jina", "voyage", "siliconflow"])
def test_documents_stay_away_where_asked(name: str) -> None:
    first = _first(_answer(name, {"query": "q", "documents": ["a"], "return_documents": False}))
    assert set(first) == {"index", "relevance_score"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_as_documented(name: str, error: RerankError) -> None:
    for route in _load(name).routes:
        written = json.loads(json.dumps(_load(name).refuse(error).body))
        if route.error is not None:
            assert route.error.model_validate(written).model_dump(mode="json") == written


@pytest.mark.parametrize("name", ["localai", "llamacpp"])
def test_scores_are_probabilities_unless_raw_ones_are_asked_for(name: str) -> None:
    body: dict[str, JsonValue] = {"query": QUERY, "documents": DOCUMENTS}
    plain = _first(_answer(name, body))["relevance_score"]
    raw = _first(_answer(name, {**body, "raw_scores": True}))["relevance_score"]
    assert 0 <= plain <= 1
    assert raw == 10 * plain


def test_cohere_v2_never_gives_documents_back_and_names_its_version() -> None:
    body: JsonValue = {"query": "q", "documents": ["a"] * 101, "return_documents": True}
    answer = _answer("cohere", body, "/v2/rerank")
    assert "document" not in answer["results"][0]
    assert answer["meta"] == {"api_version": {"version": "2"}, "billed_units": {"search_units": 2}}


def test_cohere_keeps_the_other_fields_of_a_document() -> None:
    body: JsonValue = {"query": "q", "documents": [{"page": 3, "text": "a"}], "return_documents": True}
    assert _first(_answer("cohere", body))["document"] == {"page": 3, "text": "a"}


def test_voyage_can_forbid_cutting() -> None:
    body: JsonValue = {"query": "q", "documents": ["a"], "truncation": False}
    assert not _load("voyage").parse(Incoming("/v1/rerank", body)).requests[0].truncate


def test_llamacpp_answers_texts_with_a_bare_list() -> None:
    body: dict[str, JsonValue] = {"query": "q", "texts": ["a"]}
    (hit,) = _answer("llamacpp", body)
    assert list(hit) == ["index", "score"]
    (hit,) = _answer("llamacpp", {**body, "return_text": True})
    assert hit["text"] == "a"
    with pytest.raises(InvalidRequest, match="send one of them"):
        _answer("llamacpp", {**body, "documents": ["a"]})


@pytest.mark.anyio
@pytest.mark.parametrize("name", PREFIXES)
@pytest.mark.parametrize("path", ["v1/rerank", "rerank", "v1/v1/rerank", "/v1//rerank/"])
async def test_each_prefix_takes_the_paths_that_clients_build(name: str, path: str) -> None:
    async with opened(FakeService()) as http:
        response = await http.post(f"http://test/{name}/{path}", json={"query": QUERY, "documents": DOCUMENTS})
    assert response.status_code == 200, response.text
    assert list(response.json()) == KEYS[name]
    assert _first(response.json())["index"] == 1


@pytest.mark.anyio
@pytest.mark.parametrize("name", PREFIXES)
async def test_under_a_prefix_nothing_is_detected(name: str) -> None:
    bodies: list[dict[str, Any]] = [
        {"query": "q", "documents": ["a"], "raw_scores": False},
        {"query": "q", "documents": ["a"], "input": ["b"], "passages": ["c"]},
    ]
    async with opened(FakeService()) as http:
        for body in bodies:
            assert list((await http.post(f"/{name}/rerank", json=body)).json()) == KEYS[name]
        refused: httpx2.Response = await http.post(f"/{name}/rerank", json={"query": "q", "passages": ["a"]})
    assert refused.status_code == 400


@pytest.mark.parametrize("name", NAMES)
def test_the_openapi_document_shows_the_dialect_where_it_answers(name: str) -> None:
    paths: Any = document(load_all(), secured=False)["paths"]
    for route in _load(name).routes:
        shown = paths[f"/{name}{route.path}" if route.prefixed else route.path]["post"]
        examples = shown["requestBody"]["content"]["application/json"]["examples"]
        assert [example["value"] for example in examples.values()] == list(route.examples.values())
        schema = shown["responses"]["400"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{(route.error or ErrorBody).__name__}"}


def test_paths_without_a_prefix_stay_with_the_standard_dialect() -> None:
    directory = load_all()
    for path in ("/v1/rerank", "/rerank", "/v2/rerank", "/v3/rerank", "/reranking", "/v1/reranking", "/api/rerank"):
        assert directory.place(path).dialect is None
        assert path in directory.paths
    assert "/cohere/v2/rerank" in directory.paths
