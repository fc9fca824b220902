"""Traces as a real OTLP collector receives them."""

import json
import logging
import socket
import threading
import time
from collections.abc import Generator

import httpx2
import pytest

from fake_service import FakeService
from http_app import DOCUMENTS, QUERY
from letters import CountingEngine, pool
from live_server import running
from otlp import Collector, attributes, collecting
from rerankd.assembly import open_cache
from rerankd.errors import ConfigError, EngineFailure
from rerankd.http.app import create_app
from rerankd.http.ports import Service
from rerankd.metrics import Metrics
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service.limits import Limits
from rerankd.service.service import RerankService
from rerankd.settings import Settings, TracingSettings
from rerankd.tracing import open_tracer

BODY = {"query": QUERY, "documents": DOCUMENTS}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Generator[Collector]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")  # milliseconds; five seconds otherwise
    with collecting() as collector:
        yield collector


def traced(collector: Collector, **tracing: object) -> Settings:
    return Settings(tracing=TracingSettings.model_validate({"otlp_endpoint": collector.url, **tracing}))


def letters_service() -> Service:
    metrics = Metrics()
    return RerankService(
        pool=pool(CountingEngine()), scheduler=Scheduler(workers=1, metrics=metrics), limits=Limits(),
        cache=open_cache("memory://", 1 << 20), metrics=metrics,
    )  # fmt: skip


def test_a_call_is_one_span_of_the_callers_trace_with_its_phases_inside(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO, "rerankd.access"),
        running(create_app(letters_service(), traced(collector, service_name="rerank-a"))) as url,
    ):
        while httpx2.get(f"{url}/readyz").status_code != 200:
            time.sleep(0.01)
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "mine-7"}
        httpx2.post(f"{url}/v1/rerank", json=BODY, headers=headers)
        spans = {span.name: span for span in collector.wait_for(8)}
        metrics = httpx2.get(f"{url}/metrics", headers={"accept": "application/openmetrics-text"}).text
    assert collector.services == {"rerank-a"}
    outer = spans.pop("rerank standard")
    assert (outer.trace_id.hex(), outer.parent_span_id.hex()) == (TRACE, PARENT)
    assert set(spans) == {"read", "load", "tokenise", "cache", "queue", "score", "write"}
    for span in spans.values():
        assert (span.trace_id, span.parent_span_id) == (outer.trace_id, outer.span_id)
        assert outer.start_time_unix_nano <= span.start_time_unix_nano + 2000  # floats of seconds are coarse
        assert span.end_time_unix_nano <= outer.end_time_unix_nano + 2000
    assert spans["queue"].start_time_unix_nano <= spans["score"].start_time_unix_nano
    told = attributes(outer)
    assert told["rerankd.request_id"] == "mine-7"
    assert (told["rerankd.pairs"], told["http.response.status_code"]) == (4, 200)
    assert "Paris" not in json.dumps(told)
    assert "capital" not in json.dumps(told)
    (line,) = [record for record in caplog.records if record.getMessage() == "POST /v1/rerank 200"]
    assert vars(line)["trace_id"] == TRACE
    assert f'# {{trace_id="{TRACE}"}}' in metrics, "an exemplar leads from the histogram to the trace"


def test_the_callers_word_not_to_trace_is_kept_and_so_is_the_share_of_the_others(collector: Collector) -> None:
    with running(create_app(FakeService(), traced(collector, sample_ratio=0))) as url:
        httpx2.post(f"{url}/v1/rerank", json=BODY)
        httpx2.post(f"{url}/v1/rerank", json=BODY, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
        httpx2.post(f"{url}/v1/rerank", json=BODY, headers={"traceparent": "garbage"})
        assert httpx2.get(f"{url}/v1/models").status_code == 200
        httpx2.post(f"{url}/v1/rerank", json=BODY, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        collector.wait_for(1)
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert [span.name for span in collector.spans if span.parent_span_id.hex() == PARENT] == ["rerank standard"]


def test_a_failure_of_the_server_is_an_error_in_the_trace_and_what_is_left_is_sent_at_the_end(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    service = FakeService()
    service.failure = EngineFailure("the model failed")
    with running(create_app(service, traced(collector))) as url:
        httpx2.post(f"{url}/v1/rerank", json=BODY)
        assert not collector.spans
    (outer,) = [span for span in collector.spans if span.name == "rerank standard"]
    assert outer.status.code == 2
    assert attributes(outer)["rerankd.outcome"] == "engine_failure"


def test_a_collector_that_is_gone_delays_no_answer_and_hardly_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections and never answers
        endpoint = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with running(create_app(FakeService(), Settings(tracing=TracingSettings(otlp_endpoint=endpoint)))) as url:
            for _ in range(20):
                assert httpx2.post(f"{url}/v1/rerank", json=BODY, timeout=2).status_code == 200
            stopping = time.monotonic()
        assert time.monotonic() - stopping < 7
    for thread in threading.enumerate():  # what it says of its failure is nothing for the next test's log
        if thread.name == "rerankd-traces":
            thread.join(30)
            assert not thread.is_alive()


def test_without_the_extra_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match=r"pip install 'rerankd\[otel\]'"):
        open_tracer("http://localhost:4318", service_name="x", sample_ratio=1)
