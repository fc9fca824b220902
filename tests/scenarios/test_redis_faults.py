"""A server whose cache and counters are in a Valkey that is frozen, killed and restarted: no wrong score, no wait.

SCENARIOS=full asks five hundred times in each state, `RERANKD_REDIS_REQUESTS` says how often otherwise.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx2
import pytest

from live import serving
from long_runs import FULL, told
from rerankd import Reranker
from valkey_server import valkey

REQUESTS = int(os.environ.get("RERANKD_REDIS_REQUESTS", "500" if FULL else "10"))
QUERY = "Which animals purr?"
DOCUMENTS = 5


@pytest.mark.timeout(600)
def test_a_valkey_that_fails_changes_no_score_and_holds_up_nobody(tmp_path: Path) -> None:
    with valkey(tmp_path) as server, Reranker() as reference:
        storage = ("--cache.url", server.url, "--limits.storage", server.url)
        arguments = (*storage, "--limits.per_address", "1000000 requests/day")
        with serving(*arguments, cwd=tmp_path) as ours, httpx2.Client(base_url=ours.url, timeout=30) as http:
            slowest: dict[str, float] = {}
            for phase, change in _phases(server.freeze, server.thaw, server.kill, server.start):
                change()
                took: list[float] = []
                for i in range(REQUESTS):
                    # Half of them are asked again in each phase, so that they come from a cache, if from anywhere.
                    documents = _documents(phase if i % 2 else "again", i)
                    began = time.perf_counter()
                    answer = http.post("/v1/rerank", json={"query": QUERY, "documents": documents})
                    took.append(time.perf_counter() - began)
                    assert answer.status_code == 200, answer.text
                    assert answer.headers["ratelimit-limit"] == "1000000"
                    assert _scores(answer) == pytest.approx(_expected(reference, documents), abs=1e-6)
                slowest[phase] = max(took)
    told("Redis, the slowest of " + f"{REQUESTS} requests in each state: "
         + ", ".join(f"{phase} {seconds * 1000:.0f} ms" for phase, seconds in slowest.items()))  # fmt: skip


def _phases(
    freeze: Callable[[], None], thaw: Callable[[], None], kill: Callable[[], None], start: Callable[[], None]
) -> Sequence[tuple[str, Callable[[], None]]]:
    def nothing() -> None:
        return

    return [("well", nothing), ("frozen", freeze), ("thawed", thaw), ("killed", kill), ("restarted", start)]


def _documents(phase: str, i: int) -> list[str]:
    return [f"Number {i} {phase}: {animal} make a sound." for animal in ("cats", "dogs", "tigers", "birds", "owls")]


def _scores(answer: httpx2.Response) -> list[float]:
    by_place = {result["index"]: result["relevance_score"] for result in answer.json()["results"]}
    return [by_place[i] for i in range(DOCUMENTS)]


def _expected(reference: Reranker, documents: Sequence[str]) -> list[float]:
    return list(reference.score([(QUERY, document) for document in documents]))
