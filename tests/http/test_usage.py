"""Limits per key and per address, as a caller meets them."""

from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from fake_service import FakeService
from http_app import DOCUMENTS, QUERY, opened
from rerankd.errors import ConfigError
from rerankd.http.app import create_app
from rerankd.keys import file as keys_file
from rerankd.keys.record import new_key
from rerankd.settings import AuthSettings, LimitsSettings, ServerSettings, Settings
from rerankd.types import Scope

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
    assert 0 < int(answers[2].headers["retry-after"]) <= int(answers[2].headers["ratelimit-reset"]) <= 120
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


async def test_a_key_of_the_keys_file_has_limits_of_its_own(tmp_path: Path) -> None:
    file, keys = tmp_path / "keys", dict[str, str]()
    for name, own in (("large", ("3 requests/minute",)), ("usual", ())):
        keys[name], record = new_key(name, scopes=[Scope.RERANK], created=datetime.now(UTC), limits=own)
        keys_file.add(file, record)
    settings = Settings(auth=AuthSettings(keys_file=file), limits=LimitsSettings(per_key=("1 requests/minute",)))
    async with opened(FakeService(), settings) as http:
        for name, limit in (("large", 3), ("usual", 1)):
            answers = [await http.post("/v1/rerank", json=BODY, headers={"x-api-key": keys[name]}) for _ in range(4)]
            assert [answer.status_code for answer in answers] == [200] * limit + [429] * (4 - limit)
            assert {answer.headers["ratelimit-limit"] for answer in answers} == {str(limit)}


async def test_limits_of_keys_hold_where_there_are_none_for_all(tmp_path: Path) -> None:
    key, record = new_key("a", scopes=[Scope.RERANK], created=datetime.now(UTC), limits=("1 requests/minute",))
    keys_file.add(tmp_path / "keys", record)
    async with opened(FakeService(), Settings(auth=AuthSettings(keys_file=tmp_path / "keys"))) as http:
        answers = [await http.post("/v1/rerank", json=BODY, headers={"x-api-key": key}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]


def test_a_limit_of_a_key_that_is_none_is_said_at_the_start_with_its_key(tmp_path: Path) -> None:
    _, record = new_key("a", scopes=[Scope.RERANK], created=datetime.now(UTC), limits=("many",))
    keys_file.add(tmp_path / "keys", record)
    with pytest.raises(ConfigError, match=r"the API key 'a': limit 'many' is none"):
        create_app(FakeService(), Settings(auth=AuthSettings(keys_file=tmp_path / "keys")))


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
