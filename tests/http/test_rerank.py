"""The rerank endpoint: bodies as clients really send them, answers, errors, limits."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from fake_service import FakeService
from http_app import DOCUMENTS, QUERY, opened
from rerankd.errors import (
    EngineFailure,
    ModelLoadError,
    ModelNotReady,
    NotAllowed,
    Overloaded,
    RateLimited,
    RerankError,
)
from rerankd.settings import AuthSettings, LimitsSettings, ServerSettings, Settings
from rerankd.types import Lane, OnDeadline, Stage

pytestmark = pytest.mark.anyio

BODY: dict[str, Any] = {"query": QUERY, "documents": DOCUMENTS}
PATHS = [
    "/v1/rerank", "/rerank", "/v2/rerank", "/v3/rerank", "/reranking", "/v1/reranking", "/api/rerank",
    "/v1/v1/rerank", "/v1/v2/rerank", "/v1//rerank", "//rerank", "/v1/rerank/", "/standard/v1/rerank",
    "/standard/v1/v2/rerank",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_that_clients_build_ranks(http: httpx2.AsyncClient, path: str) -> None:
    response = await http.post(f"http://test{path}", json={**BODY, "model": "tiny-reranker"})
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["results"][0]["index"] == 1
    assert sorted(hit["index"] for hit in body["results"]) == [0, 1, 2, 3]
    assert body["meta"]["api_version"]["version"] == ("2" if "v2" in path else "1")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_content_type_does_not_matter(http: httpx2.AsyncClient, content_type: str) -> None:
    headers = {"content-type": content_type} if content_type else {}
    response = await http.post("/v1/rerank", content=json.dumps(BODY), headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize(("top_n", "count"), [(0, 4), (None, 4), (100, 4), ("2", 2), (3.0, 3), ("3.0", 3), (1, 1)])
async def test_top_n_is_read_leniently(http: httpx2.AsyncClient, top_n: object, count: int) -> None:
    response = await http.post("/v1/rerank", json={**BODY, "top_n": top_n})
    assert len(response.json()["results"]) == count


@pytest.mark.parametrize(
    ("change", "field", "sentence"),
    [
        ({"top_n": -1}, "top_n", "`top_n` must be 0 or more, got -1"),
        ({"top_n": 1.5}, "top_n", "`top_n` must be a whole number of 0 or more, got 1.5"),
        ({"top_n": True}, "top_n", "`top_n` must be a whole number of 0 or more, got true"),
        ({"top_n": "many"}, "top_n", '`top_n` must be a whole number of 0 or more, got "many"'),
        ({"top_n": 2, "top_k": 3}, "top_n", "`top_n` = 2 and `top_k` = 3 contradict each other: send one of them"),
        ({"query": None}, "query", "`query` is required"),
        ({"query": 7}, "query", "`query` must be a string, got 7"),
        ({"documents": None}, "documents", "`documents` is required"),
        ({"documents": []}, "documents", "`documents` cannot be empty: send at least one document"),
        ({"documents": 7}, "documents", "`documents` must be a list of strings, got 7"),
        ({"documents": ["a", 7]}, "documents[1]", "`documents[1]` must be a string or an object with `text`, got 7"),
        (
            {"documents": [{"title": "x"}]},
            "documents[0]",
            "`documents[0]` must be a string or an object with `text`, got an object with the keys title",
        ),
        ({"documents": [{"text": "x"}], "rank_fields": ["t"]}, "documents[0]", None),
        ({"documents": [{"content": [{"type": "image_url"}]}]}, "documents[0].content[0]", None),
        ({"return_documents": "maybe"}, "return_documents", '`return_documents` must be true or false, got "maybe"'),
        ({"model": 3}, "model", "`model` must be a string, got 3"),
        ({"texts": ["x"]}, "texts", "`texts` and `documents` were both sent: send one of them"),
    ],
)
async def test_a_wrong_field_is_named_with_its_value(
    http: httpx2.AsyncClient, change: dict[str, object], field: str, sentence: str | None
) -> None:
    response = await http.post("/v1/rerank", json=BODY | change)
    body = response.json()
    assert response.status_code == 400
    assert body["error"]["param"] == field
    assert body["error"] | {"message": "", "param": ""} == {
        "message": "", "type": "invalid_request_error", "param": "", "code": 400, "kind": "invalid_request",
    }  # fmt: skip
    assert body["detail"] == body["message"] == body["error"]["message"]
    assert f"`{field}`" in body["detail"]
    if sentence is not None:
        assert body["detail"] == sentence


async def test_a_long_value_is_cut_in_the_message(http: httpx2.AsyncClient) -> None:
    response = await http.post("/v1/rerank", json={**BODY, "top_n": "x" * 100_000})
    assert len(response.json()["detail"]) < 200


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"   ", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"query": "\xff"}', b"[" * 100_000, b"1" * 5000,
        b'{"query": NaN, "documents": ["a"]}', b'{"query": "q", "documents": ["a"], "top_n": 1e400}',
        b'{"query": "q", "documents": ["a"], "top_n": ' + b"9" * 4000 + b".5}",
        b'{"query": "q", "documents": [{"text": "a", "n": 1e400}]}',
        b'{"query": "q", "documents": [' + b'{"text":' * 150 + b'"a"' + b"}" * 150 + b"]}",
        b'{"query": "\\ud83d", "documents": ' + b"[" * 50_000,
    ],
)  # fmt: skip
async def test_what_is_no_request_is_refused_in_json(http: httpx2.AsyncClient, raw: bytes) -> None:
    response = await http.post("/v1/rerank", content=raw)
    assert response.status_code == 400, response.text
    assert isinstance(response.json()["detail"], str)


@pytest.mark.parametrize(
    "raw",
    [
        b'\xef\xbb\xbf{"query": "q", "documents": ["a"]}',
        b'{"query": "q", "query": "q2", "documents": ["a"]}',
        b'{"query": "half an emoji \\ud83d", "documents": ["\\udc00", "a\\u0000b"]}',
        b'{"query": "q", "documents": ["a"], "top_n": 123456789012345678901234567890}',
        b'{"query": "q", "documents": "alone"}',
        b'{"query": {"text": "q"}, "documents": {"content": [{"type": "text", "text": "a"}]}}',
        b'{"query": "", "documents": [""]}',
    ],
)
async def test_odd_but_readable_bodies_are_answered(http: httpx2.AsyncClient, raw: bytes) -> None:
    response = await http.post("/v1/rerank", content=raw)
    assert response.status_code == 200, response.text


async def test_half_an_emoji_becomes_a_replacement_character(http: httpx2.AsyncClient, service: FakeService) -> None:
    await http.post("/v1/rerank", content=b'{"query": "a\\ud83d\\"\\\\", "documents": ["\\ud83d\\ude00"]}')
    request = service.asked[0][0]
    assert request.query == 'a\ufffd"\\'
    assert request.documents[0].text == "😀"


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (RateLimited("slow down", retry_after_s=0.2), 429, "1"),
        (Overloaded("full", retry_after_s=3.1), 429, "4"),
        (ModelNotReady("loading", retry_after_s=float("inf")), 503, "3600"),
        (ModelLoadError("broken"), 503, None),
        (NotAllowed("no"), 403, None),
        (EngineFailure("no"), 500, None),
    ],
)
async def test_errors_of_the_service_keep_their_kind(
    http: httpx2.AsyncClient, service: FakeService, error: RerankError, status: int, retry_after: str | None
) -> None:
    service.failure = error
    response = await http.post("/v1/rerank", json=BODY)
    assert (response.status_code, response.headers.get("retry-after")) == (status, retry_after)
    assert response.json()["error"]["kind"] == error.kind
    assert response.json()["detail"] == str(error)


async def test_an_unforeseen_failure_tells_the_log_and_not_the_caller(
    http: httpx2.AsyncClient, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.failure = RuntimeError("secret detail in /home/somebody")
    response = await http.post("/v1/rerank", json=BODY)
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.json()["error"]["kind"] == "engine_failure"
    assert "secret detail" in caplog.text
    text = (await http.get("/metrics")).text
    assert 'rerankd_requests_total{dialect="standard",model="tiny-reranker",outcome="engine_failure"} 1.0' in text


async def test_unknown_models_are_404_and_one_metric_label(http: httpx2.AsyncClient) -> None:
    for name in ("gpt-1", "gpt-2"):
        response = await http.post("/v1/rerank", json={**BODY, "model": name})
        assert response.status_code == 404
        assert name in response.json()["detail"]
        assert "tiny-reranker" in response.json()["detail"]
    text = (await http.get("/metrics")).text
    assert 'rerankd_requests_total{dialect="standard",model="",outcome="model_not_found"} 2.0' in text
    assert "gpt" not in text


async def test_a_body_over_the_limit_is_413(service: FakeService) -> None:
    settings = Settings(server=ServerSettings(max_body_mb=0.001))
    async with opened(service, settings) as http:
        response = await http.post("/v1/rerank", json={**BODY, "query": "x" * 2000})
    assert response.status_code == 413
    assert response.json()["error"]["kind"] == "request_too_large"
    assert service.asked == []


async def test_an_answer_that_takes_too_long_is_504(service: FakeService) -> None:
    service.hold = asyncio.Event()
    async with opened(service, Settings(limits=LimitsSettings(deadline_s=0.05))) as http:
        response = await http.post("/v1/rerank", json=BODY)
    assert response.status_code == 504
    assert response.json()["error"]["kind"] == "deadline_exceeded"
    assert service.waiting == 0


async def test_keys_open_the_door_and_name_the_caller(service: FakeService) -> None:
    settings = Settings(auth=AuthSettings(keys=(SecretStr("sesame"), SecretStr("open"))))
    async with opened(service, settings) as http:
        for headers in ({"authorization": "Bearer sesame"}, {"authorization": "bearer  open "}, {"api-key": "open"},
                        {"x-api-key": "sesame"}, {"authorization": "Bearer None", "x-api-key": "sesame"}):  # fmt: skip
            assert (await http.post("/v1/rerank", json=BODY, headers=headers)).status_code == 200
        for headers in ({}, {"authorization": "Bearer None"}, {"authorization": "sesame"}, {"x-api-key": "ses"}):
            response = await http.post("/v1/rerank", content=b"not even JSON", headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.json()["error"]["kind"] == "not_authenticated"
    assert [caller.name for _, caller in service.asked] == ["key-1", "key-2", "key-2", "key-1", "key-1"]


async def test_without_keys_an_authorization_header_is_ignored(http: httpx2.AsyncClient) -> None:
    response = await http.post("/v1/rerank", json=BODY, headers={"authorization": "Bearer None"})
    assert response.status_code == 200


async def test_a_sane_request_id_comes_back_and_another_is_replaced(http: httpx2.AsyncClient) -> None:
    sane = await http.post("/v1/rerank", json=BODY, headers={"x-request-id": "trace-1.2:3"})
    assert sane.headers["x-request-id"] == "trace-1.2:3"
    for odd in ("a b", "x" * 500, "<script>"):
        replaced = await http.post("/v1/rerank", json=BODY, headers={"x-request-id": odd})
        assert len(replaced.headers["x-request-id"]) == 32
    assert len((await http.get("/nowhere")).headers["x-request-id"]) == 32


async def test_the_access_line_counts_and_holds_no_texts(
    http: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "rerankd.access"):
        await http.post("/v1/rerank", json=BODY)
    (line,) = caplog.records
    assert line.getMessage() == "POST /v1/rerank 200"
    fields = vars(line)
    expected = {"dialect": "standard", "model": "tiny-reranker", "outcome": "ok", "documents": 4, "caller": "anonymous"}
    assert {name: fields[name] for name in expected} == expected
    assert fields["tokens"] > 0
    assert not any("Paris" in str(value) or "capital" in str(value) for value in fields.values())


async def test_the_same_raw_scores_whichever_word_asks_for_them(http: httpx2.AsyncClient) -> None:
    plain = (await http.post("/v1/rerank", json=BODY)).json()
    assert plain["meta"]["score_type"] == "probability"
    raw = (await http.post("/v1/rerank", json={**BODY, "use_activation": False})).json()
    assert raw["meta"]["score_type"] == "logit"
    assert raw["results"][0]["relevance_score"] == pytest.approx(10 * plain["results"][0]["relevance_score"])


HEADERS = {"X-Request-Timeout": "2.5", "X-Rerankd-On-Deadline": "Partial", "X-Rerankd-Priority": "background"}


@pytest.mark.parametrize("path", ["/v1/rerank", "/jina/v1/rerank", "/infinity/rerank", "/tei/rerank"])
async def test_headers_say_how_long_a_caller_of_any_api_waits(
    http: httpx2.AsyncClient, service: FakeService, path: str
) -> None:
    body = {"query": QUERY, "texts" if "tei" in path else "documents": DOCUMENTS}
    assert (await http.post(path, json=body, headers=HEADERS)).status_code == 200
    ((asked, _),) = service.asked
    assert 2 < (asked.deadline_s or 0) <= 2.5
    assert (asked.on_deadline, asked.lane) == (OnDeadline.PARTIAL, Lane.BACKGROUND)


async def test_the_body_can_say_it_too_and_headers_win(http: httpx2.AsyncClient, service: FakeService) -> None:
    body = {**BODY, "deadline_s": "1.5", "on_deadline": "partial", "priority": 1}
    await http.post("/v1/rerank", json=body)
    await http.post("/v1/rerank", json=body, headers={"x-request-timeout": "0.5", "x-rerankd-priority": "interactive"})
    (first, _), (second, _) = service.asked
    assert (first.deadline_s, first.on_deadline, first.lane) == (1.5, OnDeadline.PARTIAL, Lane.BACKGROUND)
    assert 0 < (second.deadline_s or 0) <= 0.5
    assert second.lane is Lane.INTERACTIVE


async def test_where_nobody_says_how_long_it_waits_it_stays_unsaid_so_that_a_cascade_takes_its_own_time(
    http: httpx2.AsyncClient, service: FakeService
) -> None:
    await http.post("/v1/rerank", json=BODY)
    ((asked, _),) = service.asked
    assert asked.deadline_s is None
    assert 299 < (asked.left_s or 0) <= 300


async def test_nobody_waits_longer_than_the_server_allows(service: FakeService) -> None:
    async with opened(service, Settings(limits=LimitsSettings(deadline_s=3))) as http:
        await http.post("/v1/rerank", json={**BODY, "deadline_s": 60}, headers={"x-request-timeout": "600"})
    assert 2 < (service.asked[0][0].deadline_s or 0) <= 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("x-request-timeout", "soon"), ("x-request-timeout", "0"), ("x-request-timeout", "nan"),
     ("x-rerankd-on-deadline", "panic"), ("x-rerankd-priority", "high")],
)  # fmt: skip
async def test_a_header_that_says_nothing_known_is_refused(http: httpx2.AsyncClient, name: str, value: str) -> None:
    response = await http.post("/v1/rerank", json=BODY, headers={name: value})
    assert response.status_code == 400
    assert name in response.text
    assert value in response.text


@pytest.mark.parametrize("change", [{"deadline_s": 0}, {"deadline_s": "x"}, {"on_deadline": "x"}, {"priority": "x"}])
async def test_a_field_that_says_nothing_known_is_refused(http: httpx2.AsyncClient, change: dict[str, Any]) -> None:
    response = await http.post("/v1/rerank", json=BODY | change)
    assert response.status_code == 400
    assert next(iter(change)) in response.text


async def test_an_answer_in_parts_says_so_in_body_and_header(http: httpx2.AsyncClient, service: FakeService) -> None:
    service.change = lambda ranking: replace(
        ranking, items=ranking.items[:2], unscored=(0, 3), stages=(Stage("large", (1,)), Stage("small", (2,)))
    )
    response = await http.post("/v1/rerank", json=BODY)
    assert response.headers["x-rerankd-unscored-documents"] == "2"
    meta = response.json()["meta"]
    assert meta["unscored_documents"] == [0, 3]
    assert meta["stages"] == [{"model": "large", "documents": [1]}, {"model": "small", "documents": [2]}]


async def test_health_says_what_a_server_waits_for(http: httpx2.AsyncClient, service: FakeService) -> None:
    assert (await http.get("/readyz")).json() == {"status": "ready"}
    service.drain()
    response = await http.get("/readyz")
    assert (response.status_code, response.json()) == (503, {"status": "draining"})
    assert (await http.get("/health")).status_code == 503
    assert (await http.get("/livez")).status_code == 200
    service.beyond_help = True
    assert (await http.get("/livez")).status_code == 503


@pytest.mark.parametrize("path", ["/v1/rerank", "/cohere/v2/rerank", "/voyage/v1/rerank", "/simple/rerank"])
async def test_an_answer_of_another_model_says_so_in_a_header_and_in_meta(path: str, service: FakeService) -> None:
    service.change = lambda ranking: replace(ranking, fallback="rerankd-zh-en")
    async with opened(service) as http:
        answer = await http.post(path, json=BODY)
        service.change = lambda ranking: ranking
        own = await http.post(path, json=BODY)
    assert answer.headers["x-rerankd-fallback"] == "rerankd-zh-en"
    assert "x-rerankd-fallback" not in own.headers
    if "meta" in answer.json() and path in {"/v1/rerank", "/simple/rerank"}:
        assert answer.json()["meta"]["fallback"] == "rerankd-zh-en"
        assert "fallback" not in own.json()["meta"]


async def test_texts_alone_are_answered_with_the_header_where_the_body_has_no_room(service: FakeService) -> None:
    service.change = lambda ranking: replace(ranking, fallback="given-order")
    async with opened(service) as http:
        answer = await http.post("/rerank", json={"query": QUERY, "texts": DOCUMENTS})
        batch = await http.post("/v1/rerank/batch", json={"requests": [{**BODY, "model": "tiny-reranker"}]})
    assert isinstance(answer.json(), list), "TEI's answer is a list"
    assert answer.headers["x-rerankd-fallback"] == "given-order"
    assert batch.json()["responses"][0]["fallback"] == "given-order"
