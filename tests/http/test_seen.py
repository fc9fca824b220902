"""What a request leaves behind: numbers, one line of log, no text, and no label that its sender made up."""

import json
import logging
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from fake_service import FakeService
from http_app import DOCUMENTS, QUERY, opened
from letters import CountingEngine, pool
from rerankd import phases
from rerankd.assembly import open_cache
from rerankd.dialects.detect import load_all
from rerankd.errors import Overloaded
from rerankd.log import JsonFormatter, TextFormatter
from rerankd.metrics import Metrics
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service.limits import Limits
from rerankd.service.service import RerankService

pytestmark = pytest.mark.anyio

BODY: dict[str, Any] = {"query": QUERY, "documents": DOCUMENTS}
SENTINEL = "XyzzySentinel"

names = st.text(st.characters(codec="utf-8"), max_size=20)
values = st.one_of(names, st.integers(), st.none(), st.lists(names, max_size=2))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    model=values,
    extra=st.dictionaries(names, values, max_size=3),
    path=st.sampled_from(["/v1/rerank", "/rerank", "/tei/rerank", "/v2/rerank", "/jina/v1/rerank", "/score", "/v1/x"]),
    tail=st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=8),
)
async def test_no_caller_makes_a_new_label_value(
    http: httpx2.AsyncClient, model: object, extra: dict[str, object], path: str, tail: str
) -> None:
    for body in ({**BODY, "model": model, **extra}, {**extra, "texts": DOCUMENTS, "query": QUERY}, extra):
        await http.post(path, json=body, headers={"x-request-id": tail or "x"})
        await http.post(path + tail, content=json.dumps(body))
    text = (await http.get("/metrics")).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    seen = {(name, value) for sample in samples for name, value in sample.labels.items() if name != "le"}
    assert {name for name, _ in seen} <= {"dialect", "model", "outcome", "phase", "version"}
    assert {value for name, value in seen if name == "dialect"} <= set(load_all().dialects)
    assert {value for name, value in seen if name == "model"} <= {"", "tiny-reranker"}
    assert {value for name, value in seen if name == "phase"} <= set(phases.NAMES)
    assert {value for name, value in seen if name == "outcome"} <= {
        "ok", "invalid_request", "model_not_found", "request_too_large",
    }  # fmt: skip


async def test_the_access_line_in_json_has_the_numbers_and_where_the_time_went(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = Metrics()
    service = RerankService(
        pool=pool(CountingEngine()), scheduler=Scheduler(workers=1, metrics=metrics), limits=Limits(),
        cache=open_cache("memory://", 1 << 20), metrics=metrics,
    )  # fmt: skip
    async with opened(service) as http:
        await service.start()
        await service.wait_ready()
        with caplog.at_level("INFO", "rerankd.access"):
            for _ in range(2):
                body = {"query": SENTINEL, "documents": [SENTINEL, f"{SENTINEL} two"]}
                response = await http.post("/v1/rerank", json=body, headers={"x-request-id": "mine-1"})
                assert response.status_code == 200
        await service.close()
        text = (await http.get("/metrics")).text
    first, second = (json.loads(line) for line in _lines([r for r in caplog.records if r.name == "rerankd.access"]))
    expected = {
        "level": "info", "logger": "rerankd.access", "method": "POST", "path": "/v1/rerank", "status": 200,
        "dialect": "standard", "model": "letters", "outcome": "ok", "documents": 2, "pairs": 2, "cached_pairs": 0,
        "caller": "anonymous",
    }  # fmt: skip
    assert {name: first[name] for name in expected} == expected
    assert second["cached_pairs"] == 2
    assert first["tokens"] == second["tokens"] > 0
    assert {"read_ms", "load_ms", "tokenise_ms", "cache_ms", "queue_ms", "score_ms", "write_ms"} <= set(first)
    spent = sum(value for name, value in first.items() if name.endswith("_ms"))
    assert 0 <= spent <= first["ms"] + 0.5, "the parts of one call are no more than the whole"
    assert SENTINEL not in json.dumps([first, second])
    assert SENTINEL not in text
    by = 'dialect="standard",model="letters"'
    assert f"rerankd_request_pairs_sum{{{by}}} 4.0" in text
    assert f"rerankd_request_seconds_count{{{by}}} 2.0" in text
    assert f'rerankd_phase_seconds_count{{{by},phase="score"}} 1.0' in text, "the second call was known"


async def test_a_refused_call_is_counted_with_its_kind_and_holds_no_texts(
    http: httpx2.AsyncClient, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.failure = Overloaded("the queue is full: try again later", retry_after_s=3)
    with caplog.at_level("DEBUG"):
        await http.post("/v1/rerank", json={**BODY, "query": SENTINEL})
        await http.post("/v1/rerank", json={**BODY, "query": [SENTINEL]})
        await http.post("/v1/rerank", content=f'{{"query": "{SENTINEL}"'.encode())
    lines = _lines([record for record in caplog.records if record.name == "rerankd.access"])
    told = [(line["status"], line["outcome"]) for line in map(json.loads, lines)]
    assert told == [(429, "overloaded"), (400, "invalid_request"), (400, "invalid_request")]
    assert SENTINEL not in caplog.text


async def test_a_terminal_does_not_read_method_path_and_status_twice(
    http: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "rerankd.access"):
        await http.post("/v1/rerank", json=BODY)
    (record,) = caplog.records
    line = TextFormatter().format(record)
    assert line.count("/v1/rerank") == 1
    assert "status=" not in line
    assert "pairs=4" in line


def _lines(records: list[logging.LogRecord]) -> list[str]:
    return [JsonFormatter().format(record) for record in records]
