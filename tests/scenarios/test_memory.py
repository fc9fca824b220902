"""Memory does not grow with requests served."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest

from live import Server, serving
from long_runs import FULL, told
from tiny import tiny_bert

EARLY, LATE = 300, 3000 if FULL else 1500
CLIENTS = 4


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    model = tiny_bert(tmp_path / "tiny-reranker")
    with serving(str(model), "--scheduling.workers", "2", cwd=tmp_path) as running:
        yield running


def bodies(seed: int, count: int) -> Iterator[dict[str, object]]:
    """Mixed requests: 1 to 40 documents of 1 to 400 words, Chinese and English, all different, some malformed."""
    dice = random.Random(seed)
    words = ["rerank", "人工智能", "query", "文档", "a", "the", "模型", "memory", "数据", "growth"]
    for i in range(count):
        if i % 50 == 7:
            yield {"query": "no documents"}
            continue
        sizes = [int(min(400, dice.lognormvariate(3.5, 1.0))) + 1 for _ in range(dice.choice([1, 2, 5, 10, 40]))]
        documents = [" ".join(dice.choices(words, k=size)) + f" {dice.random()}" for size in sizes]
        yield {"query": f"{dice.choice(words)} {i}", "documents": documents}


def send(url: str, seed: int, count: int) -> None:
    statuses: set[int] = set()

    def client(number: int) -> None:
        with httpx2.Client(timeout=60) as http:
            for body in bodies(seed + number, count // CLIENTS):
                statuses.add(http.post(f"{url}/v1/rerank", json=body).status_code)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {200, 400}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_memory_after_thousands_of_mixed_requests_is_that_after_300(server: Server) -> None:
    process = psutil.Process(server.process.pid)
    send(server.url, seed=1, count=EARLY)
    early = process.memory_info().rss
    send(server.url, seed=1000, count=LATE - EARLY)
    late = process.memory_info().rss
    told(f"RSS after {EARLY}: {early / 2**20:.1f} MiB, after {LATE}: {late / 2**20:.1f} MiB, {late / early - 1:+.1%}")
    assert late <= early * 1.05
