"""Limits per key and per address, as a caller meets them."""

import httpx2
import pytest
from pydantic import SecretStr

from fake_service import FakeService
from http_app import DOCUMENTS, QUERY, opened
from rerankd.http.app import create_app
from rerankd.settings import AuthSettings, LimitsSettings, ServerSettings, Settings

pytestmark = pytest.mark.anyio

BODY = {"query": QUERY, "documents": DOCUMENTS}


def limits(*per_key: str, per_address: tuple[str, ...] = ()) -> Settings:
    return Settings(
        auth=AuthSettings(keys=(SecretStr("one"), SecretStr("two"))) if per_key else AuthSettings(),
        limits=LimitsSettings(per_key=per_key, per_address=per_address),
    )


async def test_each_answer_tells_how_the_caller_stands_and_the_last_when_to_come_back() -> None:
    service = FakeService()
    async with opened(service, limits("2 requests/minute")) as http:
        answers = [await http.post("/v1/rerank", json=BODY, headers={"x-api-key": "one"}) for _ in range(3)]
        other = await http.post("/v1/rerank", json=BODY, headers={"x-api-key": "two"})
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    for name in ("ratelimit-remaining", "x-ratelimit-remaining"):
        assert [answer.headers[name] for answer in answers] == ["1", "0", "0"]
    assert {answer.headers["ratelimit-limit"] for answer in answers} == {"2"}
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'2;w=60;comment="requests"'}
    assert 0 < int(answers[2].headers["ratelimit-reset"]) <= int(answers[2].headers["retry-after"]) <= 60
    assert answers[2].json()["error"]["kind"] == "rate_limited"
    assert (other.status_code, other.headers["ratelimit-remaining"]) == (200, "1")
    assert len(service.asked) == 3


async def test_the_quota_of_which_least_is_left_is_told() -> None:
    async with opened(FakeService(), limits("10 requests/minute", "6 pairs/hour")) as http:
        answer = await http.post("/v1/rerank", json=BODY, headers={"x-api-key": "one"})
        assert (answer.headers["ratelimit-limit"], answer.headers["ratelimit-remaining"]) == ("6", "2")
        refused = await http.post("/v1/rerank", json=BODY, headers={"x-api-key": "one"})
        never = await http.post("/v1/rerank", json={**BODY, "documents": DOCUMENTS * 2}, headers={"x-api-key": "one"})
    assert (refused.status_code, never.status_code) == (429, 413)


async def test_tokens_that_were_read_are_charged_afterwards() -> None:
    async with opened(FakeService(), limits("50 tokens/minute")) as http:
        first, second = [await http.post("/v1/rerank", json=BODY, headers={"x-api-key": "one"}) for _ in range(2)]
    assert (first.status_code, first.headers["ratelimit-remaining"], second.status_code) == (200, "0", 429)


async def test_the_refusal_is_in_the_callers_dialect() -> None:
    async with opened(FakeService(), limits(per_address=("1 requests/minute",))) as http:
        assert (await http.post("/tei/rerank", json={"query": "q", "texts": ["t"]})).status_code == 200
        refused = await http.post("/tei/rerank", json={"query": "q", "texts": ["t"]})
        other_dialect = await http.post("/v2/rerank", json=BODY)
    assert (refused.status_code, other_dialect.status_code) == (429, 429)
    assert "error_type" in refused.json()


async def test_wrong_keys_use_up_their_address() -> None:
    settings = limits("9 requests/minute", per_address=("2 requests/minute",))
    async with opened(FakeService(), settings) as http:
        statuses = [
            (await http.post("/v1/rerank", json=BODY, headers={"x-api-key": "x"})).status_code for _ in range(3)
        ]
    assert statuses == [401, 401, 429]


async def test_addresses_are_told_apart_and_an_ipv6_network_is_one() -> None:
    app = create_app(FakeService(), limits(per_address=("1 requests/minute",)))
    statuses: list[int] = []
    for host in (
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.1",
        "::ffff:192.0.2.2",
        "2001:db8::1",
        "2001:db8::2",
        "2001:db8:1::1",
    ):
        transport = httpx2.ASGITransport(app=app, client=(host, 1234))
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as http:
            statuses.append((await http.post("/v1/rerank", json=BODY)).status_code)
    assert statuses == [200, 200, 429, 429, 200, 429, 200]


async def test_without_limits_no_header_speaks_of_them() -> None:
    async with opened(FakeService()) as http:
        answer = await http.post("/v1/rerank", json=BODY)
    assert not [name for name in answer.headers if "ratelimit" in name]


async def test_every_answer_carries_the_security_headers() -> None:
    async with opened(FakeService(), Settings(auth=AuthSettings(keys=(SecretStr("one"),)))) as http:
        for answer in (await http.get("/docs"), await http.get("/nowhere"), await http.post("/v1/rerank", json=BODY)):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"] == "no-store"
        assert "max-age" in (await http.get("/static/swagger-ui.css")).headers["cache-control"]


async def test_no_page_of_another_origin_may_call_unless_it_is_named() -> None:
    asks = {"origin": "https://app.example.org", "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type"}  # fmt: skip
    async with opened(FakeService()) as http:
        assert "access-control-allow-origin" not in (await http.post("/v1/rerank", json=BODY, headers=asks)).headers
        assert (await http.options("/v1/rerank", headers=asks)).status_code == 405
    named = Settings(server=ServerSettings(cors_origins=("https://app.example.org",)))
    async with opened(FakeService(), named) as http:
        preflight = await http.options("/v1/rerank", headers=asks)
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, asks["origin"])
        answer = await http.post("/v1/rerank", json=BODY, headers={"origin": "https://app.example.org"})
        assert answer.headers["access-control-allow-origin"] == "https://app.example.org"
        other = await http.options("/v1/rerank", headers={**asks, "origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
