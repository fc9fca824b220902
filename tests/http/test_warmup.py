"""Frequent queries are scored when the server starts."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fake_service import FakeService
from rerankd.errors import EngineFailure, ModelNotReady
from rerankd.http.warmup import warming_up
from rerankd.types import Lane

pytestmark = pytest.mark.anyio


async def _until(true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if true():
            return
        await asyncio.sleep(0.005)
    pytest.fail("not within 15 s")


def _write(file: Path, count: int) -> Path:
    lines = [json.dumps({"query": f"问题 {i}", "documents": ["a", "b"]}) for i in range(count)]
    file.write_text("\n\n".join(lines), "utf-8")
    return file


async def test_every_query_is_asked_in_the_background_lane(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    service = FakeService()
    async with warming_up(service, _write(tmp_path / "queries.jsonl", 150)):
        await _until(lambda: "the cache is warm" in caplog.text)
    assert [request.query for request, _ in service.asked] == [f"问题 {i}" for i in range(150)]
    assert {request.lane for request, _ in service.asked} == {Lane.BACKGROUND}


async def test_it_waits_while_the_model_loads_and_goes_on_after_a_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    service = FakeService()
    service.failure = ModelNotReady("it loads", retry_after_s=0.01)
    async with warming_up(service, _write(tmp_path / "queries.jsonl", 3)):
        await _until(lambda: len(service.asked) >= 2)
        service.failure = EngineFailure("broken")
        await _until(lambda: "engine_failure" in caplog.text)
        service.failure = None
        await _until(lambda: "the cache is warm" in caplog.text)
    assert service.asked[-1][0].query == "问题 2"


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"query": "q"}', '{"query": "q", "documents": [1]}', '{"query": 1, "documents": []}']
)
async def test_a_damaged_line_is_named_and_ends_it(tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str) -> None:
    service = FakeService()
    file = _write(tmp_path / "queries.jsonl", 1)
    file.write_text(file.read_text("utf-8") + "\n" + line, "utf-8")
    async with warming_up(service, file):
        await _until(lambda: "line 2 is no request" in caplog.text)


async def test_a_file_that_is_not_there_is_said_without_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with warming_up(FakeService(), tmp_path / "gone"):
        await _until(lambda: "cache.warmup stopped: FileNotFoundError" in caplog.text)
    assert str(tmp_path) not in caplog.text
