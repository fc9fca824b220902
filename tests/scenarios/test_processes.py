"""Several processes behind one address: they share the work, one that dies is replaced, and the numbers add up."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx2
import psutil
import pytest

from live import serving, workers

DOCUMENTS = ["bananas are yellow", "Paris is the capital of France"]


def rank(url: str, number: int) -> None:
    """Rank over a connection of its own."""
    answer = httpx2.post(f"{url}/v1/rerank", json={"query": f"capital of France {number}", "documents": DOCUMENTS})
    assert answer.json()["results"][0]["index"] == 1


def numbers(url: str) -> dict[str, float]:
    answer = httpx2.get(f"{url}/metrics")
    assert answer.status_code == 200, answer.text
    lines = answer.text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def answered(url: str) -> float:
    return numbers(url).get('rerankd_requests_total{dialect="standard",model="rerankd-zh-en",outcome="ok"}', 0.0)


def ready(url: str) -> float:
    return numbers(url).get('rerankd_model_state{model="rerankd-zh-en",state="ready"}', 0.0)


def gone(process: psutil.Process) -> bool:
    """Whether it has ended; whoever should bury it may be slow."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def eventually(statement: str, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        with suppress(httpx2.TransportError):  # the process that was asked has just been killed
            if true():
                return
        time.sleep(0.1)
    pytest.fail(f"not within 40 s: {statement}")


def test_two_processes_answer_one_dies_and_is_replaced_and_no_count_is_lost(tmp_path: Path) -> None:
    with serving("--workers", "2", "--scheduling.workers", "3", cwd=tmp_path) as server:
        eventually("both are ready", lambda: ready(server.url) == 2)
        assert numbers(server.url)["rerankd_workers"] == 3, "the threads are divided"
        for number in range(20):
            rank(server.url, number)
        for _ in range(5):  # whichever process is scraped
            assert answered(server.url) == 20
        rss = {name: value for name, value in numbers(server.url).items() if name.startswith("process_resident")}
        assert set(rss) == {f'process_resident_memory_bytes{{process="{name}"}}' for name in ("0", "1", "main")}

        before = workers(server)
        began = time.monotonic()
        before[0].kill()
        eventually("it is replaced", lambda: set(workers(server)) != set(before) and len(workers(server)) == 2)
        eventually("both are ready again", lambda: ready(server.url) == 2)
        print(f"killed, and two are ready again after {time.monotonic() - began:.1f} s")
        for number in range(20):
            rank(server.url, 100 + number)
        assert answered(server.url) == 40
        left = workers(server)
        assert server.stop() == 0
        assert all(map(gone, left))


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="there are no process groups here")
def test_when_the_first_process_is_killed_the_others_end_by_themselves(tmp_path: Path) -> None:
    with serving("--workers", "2", cwd=tmp_path) as server:
        left = workers(server)
        assert len(left) == 2
        server.stop(signal.SIGKILL)
        eventually("nobody is left", lambda: all(map(gone, left)))


def test_a_setting_that_no_process_can_start_with_ends_the_server_with_its_reason(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rerankd", "serve", "--workers", "2", "--port", "0", "--cache.url", "nonsense://"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "cache.url 'nonsense://' means no cache here" in done.stderr
    assert "Traceback" not in done.stderr
