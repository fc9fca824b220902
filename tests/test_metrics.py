"""The metrics as a scraper sees them."""

import asyncio
import sys
from types import SimpleNamespace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from letters import CountingEngine, LetterReader
from rerankd.engines._torch_devices import devices
from rerankd.metrics import Metrics
from rerankd.scheduler.scheduler import Scheduler


def test_openmetrics_is_answered_to_those_who_read_it_with_the_trace_of_a_slow_call() -> None:
    metrics = Metrics()
    metrics.request_seconds.labels("standard", "m").observe(0.7, {"trace_id": "ab" * 16})
    text, kind = metrics.exposition("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert kind.startswith("application/openmetrics-text")
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    exemplars = [sample.exemplar for sample in families["rerankd_request_seconds"].samples if sample.exemplar]
    assert [exemplar.labels for exemplar in exemplars] == [{"trace_id": "ab" * 16}]
    plain, kind = metrics.exposition("text/plain")
    assert kind.startswith("text/plain")
    assert b"trace_id" not in plain


def test_what_this_process_may_use_is_told() -> None:
    families = Metrics().text().decode().splitlines()
    numbers = dict(line.rsplit(" ", 1) for line in families if not line.startswith("#"))
    assert float(numbers["rerankd_usable_cores"]) >= 1
    assert float(numbers["rerankd_usable_memory_bytes"]) > 1e6
    assert float(numbers["process_resident_memory_bytes"]) > 1e6


def test_without_a_gpu_in_use_there_are_no_gpu_samples() -> None:
    metrics = Metrics()
    metrics.watch_devices(devices)
    assert b"rerankd_gpu_memory_total_bytes{" not in metrics.text()


def test_a_stand_in_for_torch_with_a_gpu_is_shown_and_a_driver_that_does_not_tell_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def utilization(_: int) -> int:
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")

    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 1,
        mem_get_info=lambda _: (60_000, 80_000),
        memory_reserved=lambda _: 15_000,
        utilization=utilization,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    metrics = Metrics()
    metrics.watch_devices(devices)
    text = metrics.text().decode()
    assert 'rerankd_gpu_memory_total_bytes{device="cuda:0"} 80000.0' in text
    assert 'rerankd_gpu_memory_free_bytes{device="cuda:0"} 60000.0' in text
    assert 'rerankd_gpu_memory_held_bytes{device="cuda:0"} 15000.0' in text
    assert "rerankd_gpu_busy_ratio{" not in text
    cuda.utilization = lambda _: 42
    assert 'rerankd_gpu_busy_ratio{device="cuda:0"} 0.42' in metrics.text().decode()


@pytest.mark.anyio
async def test_batches_tell_how_full_they_were_and_when_the_first_turn_came() -> None:
    metrics, engine, turns = Metrics(), CountingEngine(max_batch_tokens=20), list[float]()
    scheduler = Scheduler(workers=1, queue_tokens=500, metrics=metrics)
    engine.gate.clear()
    work = LetterReader().read("a", ["aaaa"] * 6)
    running = [
        asyncio.ensure_future(scheduler.run(engine, work.encodings, model="m", keep=work.keep, on_start=turns.append))
        for _ in range(2)
    ]
    await asyncio.sleep(0.01)
    engine.gate.set()
    await asyncio.gather(*running)
    scheduler.close()
    text = metrics.text().decode()
    assert len(turns) == 2
    assert 'rerankd_tokens_total{model="m"} 60.0' in text
    assert 'rerankd_batch_sequences_sum{model="m"} 12.0' in text
    assert 'rerankd_batch_fill_ratio_count{model="m"} 3.0' in text
    assert 'rerankd_batch_fill_ratio_sum{model="m"} 3.0' in text
    assert "rerankd_queue_limit_tokens 500.0" in text
    assert "rerankd_workers 1.0" in text
